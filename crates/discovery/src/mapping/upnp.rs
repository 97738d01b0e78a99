//! Asking by UPnP IGD, through `igd-next`.
//!
//! What answers a search is anybody on the local network, and what it answers is hostile until shown otherwise (SSRF): only a
//! device at the default gateway's own address is used, its URLs must lead to that same address (the library's rule, which
//! follows no redirects), bodies are bounded by the library (1 MiB) and all of it by [`WITHIN`].

use super::mapper::{LIFETIME, Ports, UpnpGrant};
use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{AddPortError, GatewayIpVersion, PortMappingProtocol, SearchOptions};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// For a search. Chosen: devices answer at random within 2 s (UPnP 1.1, MX).
const SEARCH_WITHIN: Duration = Duration::from_secs(3);
/// For a search and all that follows it. Chosen.
const WITHIN: Duration = Duration::from_secs(10);
/// Where a device is searched (UPnP 1.1, 1.3.2).
const SSDP_PORT: u16 = 1900;
/// What the router's table says of us.
const DESCRIPTION: &str = "shoal";

/// The gateway's UPnP service, once it was found.
#[derive(Debug, Default)]
pub(super) struct Upnp {
    found: Option<Gateway<Tokio>>,
}

impl Upnp {
    /// Maps the ports. An empty error: nobody answers.
    pub(super) async fn add(&mut self, ports: Ports, local: IpAddr, gateway: IpAddr) -> Result<UpnpGrant, String> {
        let asked = tokio::time::timeout(WITHIN, self.ask(ports, local, gateway)).await;
        asked.unwrap_or_else(|_| Err("the router is too slow".to_owned()))
    }

    async fn ask(&mut self, ports: Ports, local: IpAddr, gateway: IpAddr) -> Result<UpnpGrant, String> {
        let device = match self.found.take().filter(|found| found.addr.ip() == gateway) {
            Some(found) => found,
            None => search(local, gateway).await?,
        };
        let device = self.found.insert(device);
        let (tcp, lifetime) = add_port(device, PortMappingProtocol::TCP, SocketAddr::new(local, ports.tcp)).await?;
        let udp = match ports.udp {
            Some(port) => add_port(device, PortMappingProtocol::UDP, SocketAddr::new(local, port)).await.ok(),
            None => None,
        };
        let address = device.get_external_ip().await.ok();
        Ok(UpnpGrant { address, tcp, udp: udp.map(|(port, _)| port), lifetime })
    }

    /// Gives back what was granted; the caller limits the time.
    pub(super) async fn remove(&self, tcp: u16, udp: Option<u16>) {
        let Some(device) = &self.found else { return };
        // A router that has forgotten them is as good.
        let _ = device.remove_port(PortMappingProtocol::TCP, tcp).await;
        if let Some(udp) = udp {
            let _ = device.remove_port(PortMappingProtocol::UDP, udp).await;
        }
    }
}

/// Looks for the gateway's service: asking all, and if another device was first, the gateway alone.
async fn search(local: IpAddr, gateway: IpAddr) -> Result<Gateway<Tokio>, String> {
    let mut options = SearchOptions::default();
    options.bind_addr = SocketAddr::new(local, 0);
    options.timeout = Some(SEARCH_WITHIN);
    options.single_search_timeout = Some(SEARCH_WITHIN);
    options.gateway_ip_version = GatewayIpVersion::V4;
    let found = search_gateway(options).await;
    match found {
        Ok(found) if found.addr.ip() == gateway => return Ok(found),
        Ok(other) => tracing::debug!(addr = %other.addr, "a UPnP device that is not the default gateway is not used"),
        Err(error) => {
            tracing::debug!(%error, "no UPnP device");
            return Err(String::new());
        }
    }
    let mut options = SearchOptions::default();
    options.bind_addr = SocketAddr::new(local, 0);
    options.broadcast_address = SocketAddr::new(gateway, SSDP_PORT);
    options.timeout = Some(SEARCH_WITHIN);
    options.gateway_ip_version = GatewayIpVersion::V4;
    match search_gateway(options).await {
        Ok(found) if found.addr.ip() == gateway => Ok(found),
        _ => Err("a device answers that is not the default gateway".to_owned()),
    }
}

/// The same port as ours if it is free, else any.
async fn add_port(
    device: &Gateway<Tokio>,
    protocol: PortMappingProtocol,
    local: SocketAddr,
) -> Result<(u16, Duration), String> {
    let lifetime_s = u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX);
    match device.add_port(protocol, local.port(), local, lifetime_s, DESCRIPTION).await {
        Ok(()) => Ok((local.port(), LIFETIME)),
        Err(AddPortError::OnlyPermanentLeasesSupported) => {
            let added = device.add_port(protocol, local.port(), local, 0, DESCRIPTION).await;
            // Renewed all the same: the router may restart.
            added.map(|()| (local.port(), LIFETIME)).map_err(|error| one_line(&error))
        }
        Err(AddPortError::PortInUse) => {
            let added = device.add_any_port(protocol, local, lifetime_s, DESCRIPTION).await;
            added.map(|port| (port, LIFETIME)).map_err(|error| one_line(&error))
        }
        Err(error) => Err(one_line(&error)),
    }
}

/// A router's words on one line, bounded; not escaped.
fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
