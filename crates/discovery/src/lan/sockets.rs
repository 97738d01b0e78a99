//! The groups and the sockets of local service discovery, one to hear with a family and one to speak with an interface.
//!
//! Datagrams do not leave the link (they may pass no router), and come back to programs on this machine.

use if_addrs::{IfAddr, Interface};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use tokio::net::UdpSocket;

/// The IPv4 group that announces go to (BEP 14, "Protocol").
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 192, 152, 143);
/// The IPv6 one.
pub(super) const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f);
pub(super) const PORT: u16 = 6771;
/// Interfaces used, at most; a machine with many containers has more. Chosen.
const MAX_INTERFACES: usize = 32;
/// How many routers a datagram may pass. Chosen: none; an address that is believed because it is near must be near.
const HOPS: u32 = 1;

/// One interface in one family.
pub(super) struct Speaker {
    pub(super) socket: UdpSocket,
    pub(super) to: SocketAddr,
}

/// All sockets, and what they were made for.
pub(super) struct Sockets {
    pub(super) hear_v4: Option<UdpSocket>,
    pub(super) hear_v6: Option<UdpSocket>,
    pub(super) speakers: Vec<Speaker>,
    pub(super) interfaces: Vec<Interface>,
}

/// The interfaces of this machine that are used: those of `bind`, or all. One
/// that is down, or seems so for a moment after it came up, refuses by itself. Loopback only if there is no other or
/// `bind` says so.
pub(super) fn interfaces(bind: &[IpAddr], v4: bool, v6: bool) -> Vec<Interface> {
    let mut found = if_addrs::get_if_addrs().unwrap_or_default();
    found.retain(|interface| {
        let ip = interface.ip();
        let family = if ip.is_ipv4() { v4 } else { v6 };
        family && !interface.is_p2p() && (bind.is_empty() || bind.contains(&ip))
    });
    if bind.is_empty() && found.iter().any(|interface| !interface.is_loopback()) {
        found.retain(|interface| !interface.is_loopback());
    }
    // One of each family and interface says all there is to say.
    let mut seen = BTreeSet::new();
    found.retain(|interface| {
        let of = if interface.ip().is_ipv4() { Some(interface.ip()) } else { None };
        seen.insert((interface.index, of))
    });
    found.truncate(MAX_INTERFACES);
    found
}

impl Sockets {
    /// Joins the groups on these interfaces; what one of them refuses is left out.
    pub(super) fn open(interfaces: Vec<Interface>) -> Sockets {
        let hear = |v4: bool| {
            let of: Vec<&Interface> = interfaces.iter().filter(|interface| interface.ip().is_ipv4() == v4).collect();
            if of.is_empty() {
                return None;
            }
            hear(v4, &of).inspect_err(|error| tracing::debug!(v4, %error, "cannot hear the local network")).ok()
        };
        let (hear_v4, hear_v6) = (hear(true), hear(false));
        let mut speakers = Vec::new();
        for interface in &interfaces {
            match speaker(interface) {
                Ok(speaker) => {
                    tracing::debug!(interface = interface.name, ip = %interface.ip(), "heard on the local network");
                    speakers.push(speaker);
                }
                Err(error) => tracing::debug!(interface = interface.name, %error, "cannot speak there"),
            }
        }
        Sockets { hear_v4, hear_v6, speakers, interfaces }
    }

    /// Whether an address belongs to a network that an interface is on.
    pub(super) fn is_on_link(&self, ip: IpAddr) -> bool {
        let in_net = |interface: &Interface| match (&interface.addr, ip) {
            (IfAddr::V4(own), IpAddr::V4(ip)) => {
                let mask = own.netmask.to_bits();
                mask != 0 && own.ip.to_bits() & mask == ip.to_bits() & mask
            }
            (IfAddr::V6(own), IpAddr::V6(ip)) => {
                let mask = own.netmask.to_bits();
                mask != 0 && own.ip.to_bits() & mask == ip.to_bits() & mask
            }
            _ => false,
        };
        self.interfaces.iter().any(in_net)
    }
}

fn new_socket(v4: bool) -> io::Result<Socket> {
    let domain = if v4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if !v4 {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Bound to the group's own address, so that nothing else comes in.
fn hear(v4: bool, interfaces: &[&Interface]) -> io::Result<UdpSocket> {
    let socket = new_socket(v4)?;
    // Several programs on one machine each get every datagram.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    let group: SocketAddr = if v4 { (GROUP_V4, PORT).into() } else { (GROUP_V6, PORT).into() };
    socket.bind(&group.into())?;
    let mut joined = Err(io::ErrorKind::AddrNotAvailable.into());
    for interface in interfaces {
        let result = match interface.ip() {
            IpAddr::V4(ip) => socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Address(ip)),
            IpAddr::V6(_) => socket.join_multicast_v6(&GROUP_V6, interface.index.unwrap_or(0)),
        };
        // Two addresses of one interface join it once.
        let again = result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
        if again || result.is_ok() {
            joined = Ok(());
        } else if joined.is_err() {
            joined = result;
        }
    }
    joined?;
    UdpSocket::from_std(socket.into())
}

fn speaker(interface: &Interface) -> io::Result<Speaker> {
    let socket = new_socket(interface.ip().is_ipv4())?;
    let to = match interface.ip() {
        IpAddr::V4(ip) => {
            socket.set_multicast_if_v4(&ip)?;
            socket.set_multicast_ttl_v4(HOPS)?;
            socket.set_multicast_loop_v4(true)?;
            socket.bind(&SocketAddr::from((ip, 0)).into())?;
            SocketAddr::from((GROUP_V4, PORT))
        }
        IpAddr::V6(ip) => {
            let index = interface.index.unwrap_or(0);
            socket.set_multicast_if_v6(index)?;
            socket.set_multicast_hops_v6(HOPS)?;
            socket.set_multicast_loop_v6(true)?;
            socket.bind(&SocketAddr::from(SocketAddrV6::new(ip, 0, 0, index)).into())?;
            SocketAddr::from(SocketAddrV6::new(GROUP_V6, PORT, 0, index))
        }
    };
    Ok(Speaker { socket: UdpSocket::from_std(socket.into())?, to })
}
