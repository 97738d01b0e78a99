//! What the mapper is told, what it orders, and how mapping stands.

use shoal_machine::Wake;
use std::net::IpAddr;
use std::time::Duration;

/// How a port was mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// PCP (RFC 6887).
    Pcp,
    /// NAT-PMP (RFC 6886).
    NatPmp,
    /// UPnP IGD.
    Upnp,
}

impl Method {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Method::Pcp => "PCP",
            Method::NatPmp => "NAT-PMP",
            Method::Upnp => "UPnP",
        }
    }
}

/// What was mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// How.
    pub method: Method,
    /// The router's address on its far side, if it said; it is public only if no other NAT follows.
    pub address: Option<IpAddr>,
    /// The TCP port there.
    pub tcp: u16,
    /// The UDP port there, if one was asked for and given.
    pub udp: Option<u16>,
}

/// How port mapping stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum MappingStatus {
    /// It is not used: `--no-port-mapping`, a local network only, or listening on loopback only.
    #[default]
    Off,
    /// The router is being asked.
    Trying,
    /// The port is open.
    Mapped(Mapped),
    /// It is not, and why: one line, not escaped. Tried again by itself.
    Failed(String),
}

/// The ports to map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mapping) struct Ports {
    pub(in crate::mapping) tcp: u16,
    pub(in crate::mapping) udp: Option<u16>,
}

/// What UPnP gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mapping) struct UpnpGrant {
    pub(in crate::mapping) address: Option<IpAddr>,
    pub(in crate::mapping) tcp: u16,
    pub(in crate::mapping) udp: Option<u16>,
    pub(in crate::mapping) lifetime: Duration,
}

#[derive(Debug)]
pub(in crate::mapping) enum Event {
    Wake,
    /// The answer to `FindGateway`: our address on the way to it.
    Gateway(Option<IpAddr>),
    /// From the gateway's port 5351.
    Datagram(Vec<u8>),
    /// The gateway's system says that nothing listens on port 5351.
    Refused,
    /// The answer to `UpnpAdd`.
    Upnp(Result<UpnpGrant, String>),
    /// The answer to `UpnpRemove`.
    UpnpRemoved,
    Stop,
}

impl From<Wake> for Event {
    fn from(_: Wake) -> Event {
        Event::Wake
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::mapping) enum Effect {
    /// Find the default gateway and open a socket to its port 5351.
    FindGateway,
    /// To the gateway's port 5351.
    Send(Vec<u8>),
    /// Ask by UPnP for these ports.
    UpnpAdd(Ports),
    /// Give what was granted back.
    UpnpRemove {
        tcp: u16,
        udp: Option<u16>,
    },
    Status(MappingStatus),
    /// Nothing follows.
    Done,
}
