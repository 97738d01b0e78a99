//! Asking UDP trackers (BEP 15), over IPv4 and IPv6.
//!
//! Each exchange has a socket of its own that is connected to the tracker: the kernel drops what comes from elsewhere, the
//! source port is random, and a port that is closed is heard of at once. Socket and connection id are kept together for
//! the minute that the id lives, because some trackers bind it to the port; one exchange at a time takes them.
//!
//! Bounds: [`MAX_DATAGRAM_BYTES`], [`MAX_KEPT`]; time is the caller's.

mod exchange;
pub(crate) mod packet;

use super::TrackerError;
use crate::http::{HttpError, bind_addr};
pub(super) use exchange::Question;
use exchange::{Exchange, Step};
pub(super) use packet::{Announce, Body, Family};
use shoal_machine::Rng;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// Bytes of a datagram that are read; more is cut off. Chosen: 450 IPv6 peers.
const MAX_DATAGRAM_BYTES: usize = 8 << 10;
/// Connections kept, of all trackers together. Chosen: what a process asks within a minute, as a rule.
const MAX_KEPT: usize = 16;
/// How long a connection id may be used (BEP 15).
const ID_LIVES: Duration = Duration::from_secs(60);

/// A socket that is connected to a tracker, and the id that it gave.
#[derive(Debug)]
struct Connection {
    tracker: SocketAddr,
    socket: UdpSocket,
    id: u64,
    until: Instant,
}

/// Asks UDP trackers. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Udp {
    kept: Arc<Mutex<Vec<Connection>>>,
}

impl Udp {
    /// Asks until there is an answer; `wait`: before the first datagram is sent again.
    pub(super) async fn ask(
        &self,
        tracker: SocketAddr,
        bind: &[IpAddr],
        question: Question,
        wait: Duration,
    ) -> Result<Body, TrackerError> {
        let broken = |source| TrackerError::Http(HttpError::Connect { host: tracker.ip().to_string(), source });
        let seed = getrandom::u64().map_err(|error| broken(io::Error::other(error)))?;
        let kept = self.take(tracker);
        let id = kept.as_ref().map(|kept| kept.id);
        let mut until = kept.as_ref().map(|kept| kept.until);
        let socket = match kept {
            Some(kept) => kept.socket,
            None => connected(tracker, bind).await.map_err(broken)?,
        };
        let mut exchange = Exchange::new(question, Family::of(tracker), id, wait, Rng::new(seed));
        let mut datagram = vec![0; MAX_DATAGRAM_BYTES];
        'send: loop {
            socket.send(&exchange.datagram()).await.map_err(broken)?;
            let again = Instant::now() + exchange.wait();
            loop {
                let Ok(received) = timeout_at(again, socket.recv(&mut datagram)).await else {
                    exchange.silence();
                    continue 'send;
                };
                match exchange.receive(&datagram[..received.map_err(broken)?]) {
                    Step::Ignored => {}
                    Step::Send => {
                        if exchange.connection().is_some() {
                            until = Some(Instant::now() + ID_LIVES);
                        }
                        continue 'send;
                    }
                    Step::Done(result) => {
                        if let (Some(id), Some(until)) = (exchange.connection(), until) {
                            self.keep(Connection { tracker, socket, id, until });
                        }
                        return result.map_err(|reason| TrackerError::Failure { reason });
                    }
                }
            }
        }
    }

    fn take(&self, tracker: SocketAddr) -> Option<Connection> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        kept.retain(|kept| kept.until > now);
        let place = kept.iter().position(|kept| kept.tracker == tracker)?;
        Some(kept.swap_remove(place))
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        kept.retain(|kept| kept.until > now);
        if kept.len() < MAX_KEPT {
            kept.push(connection);
        }
    }
}

async fn connected(tracker: SocketAddr, bind: &[IpAddr]) -> io::Result<UdpSocket> {
    let any = if tracker.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let from = bind_addr(bind, tracker)?.unwrap_or(SocketAddr::new(any, 0));
    let socket = UdpSocket::bind(from).await?;
    socket.connect(tracker).await?;
    Ok(socket)
}
