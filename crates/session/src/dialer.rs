//! Connections that we open.

use crate::config::SessionConfig;
use crate::listener::prepare;
use crate::peer::{Opened, PeerStream, open};
use shoal_swarm::DialFailure;
use shoal_wire::Handshake;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// Until the other side's system answers. Chosen: three tries of the kernel (at 0, 1, 3 and 7 s) fit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Dials a peer and exchanges handshakes.
pub(crate) async fn dial(
    addr: SocketAddr,
    config: &SessionConfig,
    mine: Handshake,
    ours: &[[u8; 20]],
) -> Result<Opened, DialError> {
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, connect(addr, &config.bind));
    let tcp = connecting.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(unreachable)?;
    prepare(&tcp);
    let opening = tokio::time::timeout(config.handshake_timeout, open(PeerStream::Tcp(tcp), addr, mine, ours));
    let opened = opening.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    opened.map_err(|error| DialError { failure: DialFailure::Broke, error })
}

/// A dial that came to nothing.
#[derive(Debug)]
pub(crate) struct DialError {
    pub(crate) failure: DialFailure,
    pub(crate) error: io::Error,
}

/// `bind`: addresses to dial from; empty: the system chooses.
async fn connect(addr: SocketAddr, bind: &[IpAddr]) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !bind.is_empty() {
        let from = bind.iter().find(|ip| ip.is_ipv4() == addr.is_ipv4()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        socket.bind(SocketAddr::new(*from, 0))?;
    }
    socket.connect(addr).await
}

/// There was no connection.
fn unreachable(error: io::Error) -> DialError {
    let failure = match error.kind() {
        io::ErrorKind::TimedOut => DialFailure::Silent,
        io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => DialFailure::NoRoute,
        _ => DialFailure::Refused,
    };
    DialError { failure, error }
}
