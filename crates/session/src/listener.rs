//! The sockets on which peers reach us, for all torrents.
//!
//! One socket for each address, IPv4 and IPv6 apart, all with the same port. A connection that comes in is read for its
//! handshake within a time limit, then handed to the torrent that it names.
//!
//! Bounds: [`MAX_HALF_OPEN`] connections without a handshake (reliability.md B3); one more closes the one that has been
//! silent for longest, so that a flood of them keeps nobody out who speaks at once. When descriptors run out, accepting
//! pauses rather than spins (F13).

use crate::config::PortChoice;
use crate::error::SessionError;
use crate::peer::{PeerStream, accept};
use crate::registry::Registry;
use shoal_discovery::networks::{Scope, scope};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};

/// Incoming connections whose handshake is not read or not taken over yet (rain has the same).
pub(crate) const MAX_HALF_OPEN: usize = 256;
/// Connections that the system keeps for us. Chosen.
const BACKLOG: i32 = 1024;
/// Before accepting again when the system has no descriptors. Chosen.
const PAUSE: Duration = Duration::from_millis(200);
/// Ports tried from the first one upwards. Chosen.
const PORTS_TRIED: u16 = 1000;
/// Times that the system is asked for a port that is free for all addresses. Chosen.
const ANY_PORT_TRIED: u16 = 20;

/// Binds a listener for each address; empty: every address of the machine. An IPv6 that this machine does not have is left
/// out if all addresses were asked for.
pub(crate) fn bind(addrs: &[IpAddr], port: PortChoice) -> Result<Vec<TcpListener>, SessionError> {
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let wanted = if addrs.is_empty() { &everywhere[..] } else { addrs };
    let lenient = addrs.is_empty();
    let (first, tries, step) = match port {
        PortChoice::Any => (0, ANY_PORT_TRIED, 0),
        PortChoice::Exactly(port) => (port, 1, 0),
        PortChoice::FirstFreeFrom(port) => (port, PORTS_TRIED.min(u16::MAX - port).max(1), 1),
    };
    let mut tried = 0;
    loop {
        match bind_all(wanted, first + tried * step, lenient) {
            Err(SessionError::Listen { source, .. })
                if source.kind() == io::ErrorKind::AddrInUse && tried + 1 < tries => {}
            other => return other,
        }
        tried += 1;
    }
}

fn bind_all(addrs: &[IpAddr], port: u16, lenient: bool) -> Result<Vec<TcpListener>, SessionError> {
    let mut listeners = Vec::new();
    let mut port = port;
    let mut missing = None;
    for &addr in addrs {
        match bind_one(SocketAddr::new(addr, port)) {
            Ok(listener) => {
                // The others take the port that the system gave the first.
                port = listener.local_addr().map_or(port, |bound| bound.port());
                listeners.push(listener);
            }
            Err(source) if lenient && is_absent(&source) => missing = Some(SessionError::Listen { addr, port, source }),
            Err(source) => return Err(SessionError::Listen { addr, port, source }),
        }
    }
    match missing {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

/// Whether the machine does not have this address family.
fn is_absent(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    error.kind() == io::ErrorKind::AddrNotAvailable || errno == Some(rustix::io::Errno::AFNOSUPPORT)
}

fn bind_one(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of the last run that wait for their end do not keep the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// When a listener may accept.
#[derive(Clone)]
pub(crate) struct Gate {
    /// A permit for each connection without a handshake.
    pub(crate) half_open: Arc<Semaphore>,
    /// Whether the host has room for another connection.
    pub(crate) accepting: watch::Receiver<bool>,
    /// Handshakes that are under way on all listeners, oldest first.
    pub(crate) handshakes: Arc<Mutex<VecDeque<AbortHandle>>>,
    /// Connections from public addresses are closed (`--lan-only`).
    pub(crate) near_only: bool,
    /// For one handshake.
    pub(crate) timeout: Duration,
}

impl Gate {
    /// Waits until the host has room for another connection; `None` when the session ends. Cancel safe.
    async fn open(&mut self) -> Option<()> {
        self.accepting.wait_for(|accepting| *accepting).await.ok().map(|_| ())
    }

    /// A permit for a connection that came in, if need be that of the oldest without a handshake.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.half_open.clone().try_acquire_owned() {
            return Some(permit);
        }
        if let Some(oldest) = self.lock().pop_front() {
            oldest.abort();
        }
        self.half_open.clone().acquire_owned().await.ok()
    }

    fn entered(&self, handshake: AbortHandle) {
        let mut handshakes = self.lock();
        handshakes.retain(|handshake| !handshake.is_finished());
        handshakes.push_back(handshake);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<AbortHandle>> {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts until `stop` changes, then ends every handshake that is under way.
pub(crate) async fn run(listener: TcpListener, registry: Registry, mut gate: Gate, mut stop: watch::Receiver<bool>) {
    let mut handshakes = JoinSet::new();
    loop {
        let accepted = async {
            gate.open().await?;
            Some(listener.accept().await)
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            Some(_) = handshakes.join_next(), if !handshakes.is_empty() => continue,
            _ = stop.changed() => break,
        };
        let Some(accepted) = accepted else { break };
        match accepted {
            Ok((_, addr)) if gate.near_only && !is_near(addr.ip()) => {
                tracing::debug!(%addr, "not of the local network");
            }
            Ok((tcp, addr)) => {
                let Some(permit) = gate.permit().await else { break };
                let (registry, timeout) = (registry.clone(), gate.timeout);
                let handshake = handshakes.spawn(async move {
                    prepare(&tcp);
                    let opened = tokio::time::timeout(timeout, accept(PeerStream::Tcp(tcp), addr));
                    match opened.await {
                        Ok(Ok(opened)) => registry.deliver(opened, permit),
                        Ok(Err(error)) => tracing::debug!(%addr, %error, "no handshake"),
                        Err(_) => tracing::debug!(%addr, "no handshake in time"),
                    }
                });
                gate.entered(handshake);
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for now");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    _ = stop.changed() => break,
                }
            }
        }
    }
    handshakes.shutdown().await;
}

/// Whether only this one connection failed.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// Whether an address is one of a local network or of this machine.
fn is_near(ip: IpAddr) -> bool {
    matches!(scope(ip), Some(Scope::Private | Scope::Local))
}

/// What every connection is set to: small messages leave at once.
pub(crate) fn prepare(tcp: &TcpStream) {
    // A socket that cannot be set so still works.
    let _ = SockRef::from(tcp).set_tcp_nodelay(true);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::LOCALHOST)];

    #[tokio::test]
    async fn the_first_free_port_is_taken_and_an_exact_one_must_be_free() {
        let first = bind(&HERE, PortChoice::Any).unwrap();
        let taken = first[0].local_addr().unwrap().port();
        assert!(taken != 0);
        assert!(
            matches!(bind(&HERE, PortChoice::Exactly(taken)), Err(SessionError::Listen { port, .. }) if port == taken)
        );
        let next = bind(&HERE, PortChoice::FirstFreeFrom(taken)).unwrap();
        assert!(next[0].local_addr().unwrap().port() > taken);
    }

    #[tokio::test]
    async fn all_addresses_share_one_port() {
        let listeners = bind(&[], PortChoice::Any).unwrap();
        let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_closed_in_time_and_the_listener_ends_when_told() {
        let listener = bind(&HERE, PortChoice::Any).unwrap().remove(0);
        let addr = listener.local_addr().unwrap();
        let (_accept, accepting) = watch::channel(true);
        let timeout = Duration::from_secs(10);
        let gate = Gate {
            half_open: Arc::new(Semaphore::new(1)),
            accepting,
            handshakes: Arc::default(),
            near_only: false,
            timeout,
        };
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(run(listener, Registry::default(), gate, stopped));
        // The second waits until the first has given back the only permit.
        for _ in 0..2 {
            let mut silent = TcpStream::connect(addr).await.unwrap();
            assert_eq!(tokio::io::AsyncReadExt::read(&mut silent, &mut [0; 8]).await.unwrap(), 0);
        }
        stop.send(true).unwrap();
        running.await.unwrap();
    }
}
