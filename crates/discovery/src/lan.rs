//! Peers on the local network, by multicast (BEP 14).
//!
//! One task a process hears what others announce and says what its torrents order. Whoever announces a torrent of ours is
//! told to that torrent, and hears of us in turn, so that both sides know each other at once, whichever came first.
//!
//! An address is believed because it is near: the sender's must be private, link-local or loopback, or lie in a network
//! that an interface of ours is on. Bounds: `bounds.rs`; one datagram of 24 torrents every [`PACE`] and interface.

mod bounds;
mod packet;
mod sockets;

pub use packet::{LanAnnounce, build as build_announce, parse as parse_announce};
pub use sockets::GROUP_V4;

use crate::networks::{Scope, scope};
use bounds::{Hearing, Saying};
use sockets::Sockets;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Between two datagrams on one interface. Chosen: 96 torrents a second.
const PACE: Duration = Duration::from_millis(250);
/// Torrents of one datagram: what surely fits into [`packet::MAX_SENT`] bytes.
const TORRENTS: usize = 24;
/// How often the machine's interfaces are looked at. Chosen: a cable that is plugged in works within the minute.
const LOOK: Duration = Duration::from_secs(30);

/// What a process says of itself on the local network.
#[derive(Debug, Clone)]
pub struct LanConfig {
    /// The TCP port on which we listen.
    pub port: u16,
    /// Addresses whose interfaces are used; empty: all.
    pub bind: Vec<IpAddr>,
    /// Whether we listen on IPv4.
    pub v4: bool,
    /// Whether we listen on IPv6.
    pub v6: bool,
    /// By this our own datagrams are known; random.
    pub cookie: u64,
}

enum Order {
    Announce(Vec<[u8; 20]>),
    Withdraw(Vec<[u8; 20]>),
}

/// The way to the task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lan {
    orders: mpsc::UnboundedSender<Order>,
    interfaces: Arc<AtomicU32>,
}

impl Lan {
    /// Announces a torrent under these hashes, now and in answer to others until it is withdrawn. Gives the number of
    /// interfaces on which it is heard.
    pub fn announce(&self, hashes: Vec<[u8; 20]>) -> u32 {
        // An error means that the session ends.
        let _ = self.orders.send(Order::Announce(hashes));
        self.interfaces.load(Ordering::Relaxed)
    }

    /// Says nothing more of these.
    pub fn withdraw(&self, hashes: Vec<[u8; 20]>) {
        let _ = self.orders.send(Order::Withdraw(hashes));
    }
}

/// The task; ends when all its [`Lan`]s are dropped.
pub struct LanTask {
    config: LanConfig,
    cookie: String,
    orders: mpsc::UnboundedReceiver<Order>,
    interfaces: Arc<AtomicU32>,
    sockets: Sockets,
    hearing: Hearing,
    saying: Saying,
}

/// Opens the sockets. Must be called within a tokio runtime.
pub fn start(config: LanConfig) -> (Lan, LanTask) {
    let (sender, orders) = mpsc::unbounded_channel();
    let sockets = Sockets::open(sockets::interfaces(&config.bind, config.v4, config.v6));
    let interfaces = Arc::new(AtomicU32::new(sockets.speakers.len() as u32));
    let task = LanTask {
        cookie: format!("{:016x}", config.cookie),
        config,
        orders,
        interfaces: interfaces.clone(),
        sockets,
        hearing: Hearing::new(Instant::now()),
        saying: Saying::default(),
    };
    (Lan { orders: sender, interfaces }, task)
}

impl LanTask {
    /// Runs until nobody orders anything any more. `found`: whoever takes part in a torrent with this hash.
    pub async fn run(mut self, found: impl Fn([u8; 20], SocketAddr)) {
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut look = tokio::time::interval(LOOK);
        look.reset();
        let (mut buffer_v4, mut buffer_v6) = ([0; packet::MAX_READ], [0; packet::MAX_READ]);
        loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Announce(hashes)) => hashes.into_iter().for_each(|hash| self.saying.announce(hash)),
                    Some(Order::Withdraw(hashes)) => hashes.into_iter().for_each(|hash| self.saying.withdraw(hash)),
                    None => return,
                },
                (length, from) = hear(self.sockets.hear_v4.as_ref(), &mut buffer_v4) => {
                    self.heard(&buffer_v4[..length], from, &found);
                }
                (length, from) = hear(self.sockets.hear_v6.as_ref(), &mut buffer_v6) => {
                    self.heard(&buffer_v6[..length], from, &found);
                }
                _ = pace.tick(), if self.saying.is_due() => self.say().await,
                _ = look.tick() => self.look(),
            }
        }
    }

    fn heard(&mut self, datagram: &[u8], from: SocketAddr, found: &impl Fn([u8; 20], SocketAddr)) {
        let now = Instant::now();
        if !self.is_near(from.ip()) || !self.hearing.takes(now, from.ip()) {
            return;
        }
        let Some(announce) = packet::parse(datagram) else { return };
        if announce.cookie.as_deref() == Some(self.cookie.as_str()) {
            return;
        }
        let mut peer = from;
        peer.set_port(announce.port);
        for hash in announce.hashes {
            found(hash, peer);
            self.saying.heard(now, hash);
        }
    }

    fn is_near(&self, ip: IpAddr) -> bool {
        match scope(ip) {
            Some(Scope::Private | Scope::Local) => true,
            Some(Scope::Public) => self.sockets.is_on_link(ip),
            None => false,
        }
    }

    async fn say(&mut self) {
        let hashes = self.saying.take(Instant::now(), TORRENTS);
        for speaker in &self.sockets.speakers {
            let group = if speaker.to.is_ipv4() {
                format!("{}:{}", sockets::GROUP_V4, sockets::PORT)
            } else {
                format!("[{}]:{}", sockets::GROUP_V6, sockets::PORT)
            };
            for datagram in packet::build(&group, self.config.port, &hashes, &self.cookie) {
                if let Err(error) = speaker.socket.send_to(&datagram, speaker.to).await {
                    tracing::debug!(to = %speaker.to, %error, "cannot announce on the local network");
                }
            }
        }
    }

    /// Opens the sockets anew when the machine's interfaces changed.
    fn look(&mut self) {
        let interfaces = sockets::interfaces(&self.config.bind, self.config.v4, self.config.v6);
        // An IPv6 address may need seconds before it can be used.
        if interfaces != self.sockets.interfaces || self.sockets.speakers.len() < interfaces.len() {
            // The old ones leave the groups first.
            self.sockets = Sockets { hear_v4: None, hear_v6: None, speakers: Vec::new(), interfaces: Vec::new() };
            self.sockets = Sockets::open(interfaces);
            self.interfaces.store(self.sockets.speakers.len() as u32, Ordering::Relaxed);
        }
    }
}

/// The next datagram; never, without a socket.
async fn hear(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> (usize, SocketAddr) {
    let Some(socket) = socket else { return std::future::pending().await };
    loop {
        match socket.recv_from(buffer).await {
            Ok(received) => return received,
            // A fault that stays must not spin.
            Err(error) => {
                tracing::debug!(%error, "cannot hear the local network for now");
                tokio::time::sleep(PACE).await;
            }
        }
    }
}
