//! Asking the router to let peers in: PCP, NAT-PMP and UPnP (IPv4).
//!
//! The machine ([`mapper`]) decides; this driver owns the socket to the gateway, finds the gateway, and speaks UPnP. Nothing is
//! sent but to the default gateway and, for UPnP's search, to its multicast address. One task; it ends when it is told to and has
//! given back what was granted, 2 s later at most.

mod gateway;
mod mapper;
mod nat_pmp;
mod pcp;
mod upnp;

pub use gateway::{default_gateway, local_address_towards};
pub use mapper::{Mapped, MappingStatus, Method};

pub mod codec {
    //! What gateways say, read: bytes to values.
    pub use super::nat_pmp::{Answer as NatPmpAnswer, Transport, decode as decode_nat_pmp};
    pub use super::pcp::{Answer as PcpAnswer, Nonce, decode as decode_pcp};
}

use mapper::{Effect, Event, Mapper, Ports, UpnpGrant};
use shoal_machine::{Effects, Machine, Rng, Time};
use std::collections::VecDeque;
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use upnp::Upnp;

/// Where gateways listen (RFC 6886, 3; RFC 6887, 7).
const PORT: u16 = 5351;
/// The largest packet of PCP (RFC 6887, 7).
const MAX_DATAGRAM_BYTES: usize = 1100;

/// What to map.
#[derive(Debug, Clone)]
pub struct MappingConfig {
    /// The TCP port on which we listen.
    pub tcp: u16,
    /// A UDP port, if one is used.
    pub udp: Option<u16>,
    /// Our address on the way to the router, where the user chose one.
    pub local: Option<IpAddr>,
    /// The router to ask, with the port of its PCP or NAT-PMP; `None`: the default gateway.
    pub gateway: Option<SocketAddr>,
    /// Whether to try UPnP too.
    pub upnp: bool,
    /// For the nonces.
    pub seed: u64,
}

/// Keeps a port open in the router for as long as it lives. Dropping it leaves the mapping to its lifetime: use
/// [`PortMapping::stop`].
#[derive(Debug)]
pub struct PortMapping {
    status: watch::Receiver<MappingStatus>,
    stop: mpsc::Sender<()>,
    task: JoinSet<()>,
}

impl PortMapping {
    /// Begins. Must be called within a tokio runtime.
    pub fn start(config: MappingConfig) -> PortMapping {
        let (told, status) = watch::channel(MappingStatus::Trying);
        let (stop, stopped) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(Driver::new(config, told).run(stopped));
        PortMapping { status, stop, task }
    }

    /// How it stands.
    pub fn status(&self) -> watch::Receiver<MappingStatus> {
        self.status.clone()
    }

    /// Gives back what was granted; takes 2 s at most.
    pub async fn stop(mut self) {
        // An error means that it has ended.
        let _ = self.stop.send(()).await;
        while self.task.join_next().await.is_some() {}
    }
}

struct Driver {
    config: MappingConfig,
    machine: Mapper,
    start: Instant,
    told: watch::Sender<MappingStatus>,
    /// Connected to the gateway: what comes from elsewhere is dropped by the system.
    socket: Option<UdpSocket>,
    gateway: Option<IpAddr>,
    local: Option<IpAddr>,
    upnp: Arc<Mutex<Upnp>>,
    answers: mpsc::Sender<Event>,
    answered: mpsc::Receiver<Event>,
    /// UPnP's exchanges, one at a time; cut short at the end.
    exchanges: JoinSet<()>,
    done: bool,
}

impl Driver {
    fn new(config: MappingConfig, told: watch::Sender<MappingStatus>) -> Driver {
        let ports = Ports { tcp: config.tcp, udp: config.udp };
        let (answers, answered) = mpsc::channel(4);
        Driver {
            machine: Mapper::new(ports, config.upnp, Rng::new(config.seed)),
            config,
            start: Instant::now(),
            told,
            socket: None,
            gateway: None,
            local: None,
            upnp: Arc::default(),
            answers,
            answered,
            exchanges: JoinSet::new(),
            done: false,
        }
    }

    async fn run(mut self, mut stopped: mpsc::Receiver<()>) {
        let mut buffer = [0; MAX_DATAGRAM_BYTES];
        self.feed(Event::Wake).await;
        while !self.done {
            let at = self.machine.deadline().map(|at| self.start + Duration::from_micros(at.as_micros().min(1 << 50)));
            let event = tokio::select! {
                // Also when its owner is gone.
                _ = stopped.recv() => {
                    stopped.close();
                    Event::Stop
                }
                Some(answer) = self.answered.recv() => answer,
                received = receive(self.socket.as_ref(), &mut buffer) => match received {
                    Some(length) => Event::Datagram(buffer[..length].to_vec()),
                    None => Event::Refused,
                },
                () = sleep_until(at) => Event::Wake,
            };
            self.feed(event).await;
        }
        self.exchanges.shutdown().await;
    }

    async fn feed(&mut self, event: Event) {
        let mut out = Effects::new();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = Time::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX));
            self.machine.handle(now, event, &mut out);
            let ordered: Vec<Effect> = out.drain().collect();
            for effect in ordered {
                match effect {
                    Effect::FindGateway => events.push_back(Event::Gateway(self.find_gateway().await)),
                    Effect::Send(bytes) => {
                        if let Some(socket) = &self.socket {
                            // Lost, as far as the machine goes: it repeats.
                            let _ = socket.send(&bytes).await;
                        }
                    }
                    Effect::UpnpAdd(ports) => self.upnp_add(ports),
                    Effect::UpnpRemove { tcp, udp } => {
                        let (upnp, answers) = (self.upnp.clone(), self.answers.clone());
                        self.exchanges.spawn(async move {
                            upnp.lock().await.remove(tcp, udp).await;
                            let _ = answers.send(Event::UpnpRemoved).await;
                        });
                    }
                    Effect::Status(status) => {
                        tracing::debug!(?status, "port mapping");
                        self.told.send_replace(status);
                    }
                    Effect::Done => self.done = true,
                }
            }
        }
    }

    /// Opens a socket to the gateway; gives our address on the way.
    async fn find_gateway(&mut self) -> Option<IpAddr> {
        self.socket = None;
        let gateway = match self.config.gateway {
            Some(gateway) => gateway,
            None => SocketAddr::new(default_gateway()?.into(), PORT),
        };
        let local = match self.config.local {
            Some(local) => local,
            None => local_address_towards(gateway).ok()?.ip(),
        };
        let socket = UdpSocket::bind(SocketAddr::new(local, 0)).await.ok()?;
        socket.connect(gateway).await.ok()?;
        self.socket = Some(socket);
        self.gateway = Some(gateway.ip());
        self.local = Some(local);
        Some(local)
    }

    fn upnp_add(&mut self, ports: Ports) {
        let (upnp, answers, gateway, local) = (self.upnp.clone(), self.answers.clone(), self.gateway, self.local);
        self.exchanges.spawn(async move {
            let granted: Result<UpnpGrant, String> = match (gateway, local) {
                (Some(gateway), Some(local)) => upnp.lock().await.add(ports, local, gateway).await,
                _ => Err(String::new()),
            };
            let _ = answers.send(Event::Upnp(granted)).await;
        });
    }
}

/// The next datagram's length; `None` if the gateway's system refused ours.
async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> Option<usize> {
    match socket {
        Some(socket) => socket.recv(buffer).await.ok(),
        None => pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
