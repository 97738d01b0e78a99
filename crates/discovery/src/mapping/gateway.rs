//! Which router leads out of here: the default gateway from `/proc/net/route`, and our own address on the way to it.
//!
//! Linux only; elsewhere there is none, and then no port is asked for.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

/// Where the kernel lists its IPv4 routes.
const ROUTES: &str = "/proc/net/route";
/// Flags of a route (linux/route.h): usable, and through a gateway.
const UP_AND_GATEWAY: u32 = 0x1 | 0x2;

/// The default gateway, the one with the lowest metric; `None` if there is none.
pub fn default_gateway() -> Option<Ipv4Addr> {
    parse(&std::fs::read_to_string(ROUTES).ok()?)
}

fn parse(routes: &str) -> Option<Ipv4Addr> {
    let gateway = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().take(8).collect();
        let [_, destination, gateway, flags, _, _, metric, mask] = fields[..] else { return None };
        let hex = |text: &str| u32::from_str_radix(text, 16).ok();
        let is_default = hex(destination)? == 0 && hex(mask)? == 0;
        let is_usable = hex(flags)? & UP_AND_GATEWAY == UP_AND_GATEWAY;
        // As it lies in memory.
        let gateway = Ipv4Addr::from(hex(gateway)?.to_ne_bytes());
        (is_default && is_usable && !gateway.is_unspecified()).then_some((metric.parse::<u32>().ok()?, gateway))
    };
    routes.lines().skip(1).filter_map(gateway).min().map(|(_, gateway)| gateway)
}

/// The address that this machine uses on the way to `remote`; nothing is sent.
pub fn local_address_towards(remote: SocketAddr) -> io::Result<SocketAddr> {
    let any: SocketAddr = if remote.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(remote)?;
    socket.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    #[test]
    fn the_default_route_with_the_lowest_metric_counts() {
        // 192.168.1.1 and 10.0.0.1, as a little-endian machine prints them.
        let hex = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        let line = |iface: &str, to: &str, via: [u8; 4], flags: &str, metric: u32, mask: &str| {
            format!("{iface}\t{to}\t{}\t{flags}\t0\t0\t{metric}\t{mask}\t0\t0\t0\n", hex(via))
        };
        let text = [
            HEAD.to_owned(),
            line("wlan0", "00000000", [10, 0, 0, 1], "0003", 600, "00000000"),
            line("eth0", "00000000", [192, 168, 1, 1], "0003", 100, "00000000"),
            line("eth0", "0001A8C0", [0, 0, 0, 0], "0001", 0, "00FFFFFF"),
            line("tun0", "00000000", [0, 0, 0, 0], "0001", 0, "00000000"),
        ]
        .concat();
        assert_eq!(parse(&text), Some(Ipv4Addr::new(192, 168, 1, 1)));
        assert_eq!(parse(HEAD), None);
        assert_eq!(parse("garbage\nmore garbage\n"), None);
    }
}
