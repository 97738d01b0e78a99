//! When to ask the router for a port, how, and when again: a machine.
//!
//! The ways are tried in turn: PCP, then NAT-PMP (an old router answers PCP by refusing its version), then UPnP. What was
//! granted is renewed at half its lifetime, and at once when the router's epoch says that it lost its table (RFC 6886, 3.6;
//! RFC 6887, 8.5); between renewals it is asked for its epoch now and then. If nothing works it is tried again later,
//! since routers come back. At the end what was granted is removed, within [`STOP_PATIENCE`].
//!
//! Invariants: at most one request a port is under way; a datagram counts only if it answers it (port, transport, for PCP the
//! nonce); lifetimes are clamped to [`LIFETIME_BOUNDS`].

mod answers;
mod event;

pub(super) use event::{Effect, Event, Ports, UpnpGrant};
pub use event::{Mapped, MappingStatus, Method};

use super::nat_pmp::{self, Transport};
use super::pcp::{self, Nonce};
use shoal_machine::{Effects, Machine, Rng, Time};
use std::net::IpAddr;
use std::time::Duration;

/// What is asked for. Chosen: RFC 6886, 3.3 recommends two hours; an hour is forgotten sooner after a crash.
pub(super) const LIFETIME: Duration = Duration::from_secs(3600);
/// What is believed of a granted lifetime: no storm of renewals, and a look once a day.
const LIFETIME_BOUNDS: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(24 * 3600));
/// Until the first repetition; doubles (RFC 6886, 3.1: 250 ms).
const REPEAT: Duration = Duration::from_millis(250);
/// Requests before the next way is tried. Chosen: 1.75 s in all, since the RFC's 64 s would keep a user waiting.
const TRIES: u32 = 3;
/// Between looks at the epoch. Chosen: a router that restarted has forgotten us for so long at most.
const PROBE: Duration = Duration::from_secs(300);
/// Before all ways are tried anew, and the same where there is no router at all. Chosen.
const AGAIN: Duration = Duration::from_secs(900);
const AGAIN_OFFLINE: Duration = Duration::from_secs(60);
/// Between tries to renew what is still granted, at least. Chosen.
const RENEW_AGAIN: Duration = Duration::from_secs(60);
/// How long removing may take (the product's "2 s at most").
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What the gateway granted for one port.
#[derive(Debug, Clone, Copy)]
struct Granted {
    external: u16,
    lifetime: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    mapped: Mapped,
    until: Time,
}

/// A round of requests by PCP or NAT-PMP.
#[derive(Debug)]
struct Round {
    method: Method,
    tries: u32,
    next: Time,
    address: Option<IpAddr>,
    tcp: Option<Result<Granted, String>>,
    udp: Option<Result<Granted, String>>,
}

#[derive(Debug)]
enum Phase {
    /// Until the gateway is looked for.
    Waiting {
        at: Time,
    },
    Finding,
    Asking(Round),
    Upnp,
    Mapped {
        renew_at: Time,
        probe_at: Time,
    },
    Removing {
        tries: u32,
        next: Time,
    },
    Done,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Mapper {
    ports: Ports,
    uses_upnp: bool,
    now: Time,
    phase: Phase,
    local: Option<IpAddr>,
    nonces: [Nonce; 2],
    /// What is granted; kept while it is renewed.
    lease: Option<Lease>,
    /// When the router said which epoch.
    epoch: Option<(Time, u32)>,
    /// What a router said by each way that it spoke.
    refusals: Vec<String>,
    stopping: Option<Time>,
}

impl Mapper {
    pub(super) fn new(ports: Ports, uses_upnp: bool, mut rng: Rng) -> Mapper {
        let mut nonces = [[0; 12]; 2];
        nonces.iter_mut().for_each(|nonce| rng.fill(nonce));
        Mapper {
            ports,
            uses_upnp,
            now: Time::ZERO,
            phase: Phase::Waiting { at: Time::ZERO },
            local: None,
            nonces,
            lease: None,
            epoch: None,
            refusals: Vec::new(),
            stopping: None,
        }
    }

    fn nonce(&self, transport: Transport) -> Nonce {
        self.nonces[if transport == Transport::Tcp { 0 } else { 1 }]
    }

    fn internal(&self, transport: Transport) -> Option<u16> {
        match transport {
            Transport::Tcp => Some(self.ports.tcp),
            Transport::Udp => self.ports.udp,
        }
    }

    /// What it had, else the same as ours: that is what peers guess first.
    fn suggested(&self, transport: Transport, internal: u16) -> u16 {
        let mapped = self.lease.map(|lease| lease.mapped);
        match transport {
            Transport::Tcp => mapped.map(|mapped| mapped.tcp),
            Transport::Udp => mapped.and_then(|mapped| mapped.udp),
        }
        .unwrap_or(internal)
    }

    fn request(&self, method: Method, transport: Transport, lifetime_s: u32) -> Option<Vec<u8>> {
        let internal_port = self.internal(transport)?;
        let suggested_port = if lifetime_s == 0 { 0 } else { self.suggested(transport, internal_port) };
        let bytes = match method {
            Method::Pcp => pcp::Request {
                client: self.local?,
                nonce: self.nonce(transport),
                transport,
                internal_port,
                suggested_port,
                lifetime_s,
            }
            .encode(),
            _ => nat_pmp::Request::Map { transport, internal_port, suggested_port, lifetime_s }.encode(),
        };
        Some(bytes)
    }

    fn begin(&mut self, method: Method, out: &mut Effects<Effect>) {
        match method {
            Method::Upnp if self.uses_upnp => {
                out.push(Effect::UpnpAdd(self.ports));
                self.phase = Phase::Upnp;
            }
            Method::Upnp => self.give_up(out),
            method => {
                let round = Round { method, tries: 0, next: self.now, address: None, tcp: None, udp: None };
                self.phase = Phase::Asking(round);
                self.ask(out);
            }
        }
    }

    /// Sends what has no answer yet, or goes on to the next way.
    fn ask(&mut self, out: &mut Effects<Effect>) {
        let Phase::Asking(round) = &mut self.phase else { return };
        let method = round.method;
        if round.tries == TRIES {
            return if round.tcp.as_ref().is_some_and(Result::is_ok) {
                self.settle(out)
            } else {
                self.next_way(method, out)
            };
        }
        round.next = self.now + REPEAT * (1 << round.tries);
        round.tries += 1;
        let wants_address = method == Method::NatPmp && round.address.is_none();
        let open = [(Transport::Tcp, round.tcp.is_none()), (Transport::Udp, round.udp.is_none())];
        if wants_address {
            out.push(Effect::Send(nat_pmp::Request::Address.encode()));
        }
        for (transport, _) in open.into_iter().filter(|(_, is_open)| *is_open) {
            if let Some(bytes) = self.request(method, transport, LIFETIME.as_secs() as u32) {
                out.push(Effect::Send(bytes));
            }
        }
    }

    fn next_way(&mut self, after: Method, out: &mut Effects<Effect>) {
        match after {
            Method::Pcp => self.begin(Method::NatPmp, out),
            Method::NatPmp => self.begin(Method::Upnp, out),
            Method::Upnp => self.give_up(out),
        }
    }

    /// No way works.
    fn give_up(&mut self, out: &mut Effects<Effect>) {
        let refusals = std::mem::take(&mut self.refusals);
        if let Some(lease) = self.lease.filter(|lease| lease.until > self.now) {
            // What is granted still holds.
            let half = lease.until.since(self.now) / 2;
            self.phase = Phase::Mapped { renew_at: self.now + half.max(RENEW_AGAIN), probe_at: Time::MAX };
            return;
        }
        self.lease = None;
        self.phase = Phase::Waiting { at: self.now + AGAIN };
        let why = if refusals.is_empty() {
            let ways = if self.uses_upnp { "PCP, NAT-PMP or UPnP" } else { "PCP or NAT-PMP" };
            format!("the router does not offer it by {ways}")
        } else {
            refusals.join("; ")
        };
        out.push(Effect::Status(MappingStatus::Failed(why)));
    }

    /// All that was asked is answered, or has had its time.
    fn settle(&mut self, out: &mut Effects<Effect>) {
        let Phase::Asking(round) = &self.phase else { return };
        let Some(Ok(tcp)) = round.tcp.clone() else {
            let method = round.method;
            return self.next_way(method, out);
        };
        let udp = round.udp.clone().and_then(Result::ok);
        let mapped = Mapped {
            method: round.method,
            address: round.address,
            tcp: tcp.external,
            udp: udp.map(|udp| udp.external),
        };
        let lifetime = udp.map_or(tcp.lifetime, |udp| udp.lifetime.min(tcp.lifetime));
        self.hold(mapped, lifetime, out);
    }

    fn hold(&mut self, mapped: Mapped, lifetime: Duration, out: &mut Effects<Effect>) {
        let (least, most) = LIFETIME_BOUNDS;
        let lifetime = lifetime.clamp(least, most);
        let is_new = self.lease.is_none_or(|lease| lease.mapped != mapped);
        self.lease = Some(Lease { mapped, until: self.now + lifetime });
        self.refusals.clear();
        let probe_at = if mapped.method == Method::Upnp { Time::MAX } else { self.now + PROBE };
        self.phase = Phase::Mapped { renew_at: self.now + lifetime / 2, probe_at };
        if is_new {
            out.push(Effect::Status(MappingStatus::Mapped(mapped)));
        }
        if self.stopping.is_some() {
            self.remove(out);
        }
    }

    fn settle_if_answered(&mut self, out: &mut Effects<Effect>) {
        let Phase::Asking(round) = &self.phase else { return };
        let has_address = round.method != Method::NatPmp || round.address.is_some();
        let has_udp = self.ports.udp.is_none() || round.udp.is_some();
        if round.tcp.as_ref().is_some_and(Result::is_err) || (round.tcp.is_some() && has_udp && has_address) {
            self.settle(out);
        }
    }

    fn renew(&mut self, out: &mut Effects<Effect>) {
        let method = self.lease.map_or(Method::Pcp, |lease| lease.mapped.method);
        self.begin(method, out);
    }

    fn stop(&mut self, out: &mut Effects<Effect>) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(self.now + STOP_PATIENCE);
        match &self.phase {
            // Its answer comes and is given back.
            Phase::Upnp => {}
            Phase::Asking(round) => {
                // It may have granted what it did not tell yet: once, and nobody waits for the answer.
                let method = round.method;
                self.send_removal(method, out);
                self.finish(out);
            }
            _ if self.lease.is_some() => self.remove(out),
            _ => self.finish(out),
        }
    }

    fn remove(&mut self, out: &mut Effects<Effect>) {
        let Some(Lease { mapped, .. }) = self.lease else { return self.finish(out) };
        self.phase = Phase::Removing { tries: 0, next: Time::MAX };
        if mapped.method == Method::Upnp {
            out.push(Effect::UpnpRemove { tcp: mapped.tcp, udp: mapped.udp });
        } else {
            self.repeat_removal(out);
        }
    }

    fn repeat_removal(&mut self, out: &mut Effects<Effect>) {
        let Some(method) = self.lease.map(|lease| lease.mapped.method) else { return };
        if let Phase::Removing { tries, next } = &mut self.phase {
            *next = self.now + REPEAT * (1 << *tries);
            *tries += 1;
            if *tries > TRIES {
                return self.finish(out);
            }
        }
        self.send_removal(method, out);
    }

    fn send_removal(&self, method: Method, out: &mut Effects<Effect>) {
        for transport in [Transport::Tcp, Transport::Udp] {
            if let Some(bytes) = self.request(method, transport, 0) {
                out.push(Effect::Send(bytes));
            }
        }
    }

    fn finish(&mut self, out: &mut Effects<Effect>) {
        if !matches!(self.phase, Phase::Done) {
            self.phase = Phase::Done;
            out.push(Effect::Done);
        }
    }

    /// Runs what is due.
    fn advance(&mut self, out: &mut Effects<Effect>) {
        if self.stopping.is_some_and(|until| until <= self.now) {
            return self.finish(out);
        }
        match &mut self.phase {
            Phase::Waiting { at } if *at <= self.now => {
                self.phase = Phase::Finding;
                self.epoch = None;
                out.push(Effect::Status(MappingStatus::Trying));
                out.push(Effect::FindGateway);
            }
            Phase::Asking(round) if round.next <= self.now => self.ask(out),
            Phase::Mapped { renew_at, .. } if *renew_at <= self.now => {
                if self.lease.is_some_and(|lease| lease.until <= self.now) {
                    self.lease = None;
                    self.phase = Phase::Waiting { at: self.now };
                    self.advance(out);
                } else {
                    self.renew(out);
                }
            }
            Phase::Mapped { probe_at, .. } if *probe_at <= self.now => {
                *probe_at = self.now + PROBE;
                let method = self.lease.map(|lease| lease.mapped.method);
                match (method, self.local) {
                    (Some(Method::Pcp), Some(local)) => out.push(Effect::Send(pcp::announce(local))),
                    (Some(Method::NatPmp), _) => out.push(Effect::Send(nat_pmp::Request::Address.encode())),
                    _ => {}
                }
            }
            Phase::Removing { next, .. } if *next <= self.now => self.repeat_removal(out),
            _ => {}
        }
    }
}

impl Machine for Mapper {
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, now: Time, event: Event, out: &mut Effects<Effect>) {
        self.now = now;
        match event {
            Event::Wake => {}
            Event::Gateway(local) if matches!(self.phase, Phase::Finding) => match local {
                Some(local) => {
                    self.local = Some(local);
                    self.begin(Method::Pcp, out);
                }
                None => {
                    self.phase = Phase::Waiting { at: now + AGAIN_OFFLINE };
                    let why = "there is no router (no default route)".to_owned();
                    out.push(Effect::Status(MappingStatus::Failed(why)));
                }
            },
            Event::Datagram(bytes) => self.datagram(&bytes, out),
            Event::Refused => match &self.phase {
                Phase::Asking(round) => {
                    let method = round.method;
                    self.next_way(method, out);
                }
                Phase::Removing { .. } => self.finish(out),
                _ => {}
            },
            Event::Upnp(Ok(UpnpGrant { address, tcp, udp, lifetime })) if matches!(self.phase, Phase::Upnp) => {
                self.hold(Mapped { method: Method::Upnp, address, tcp, udp }, lifetime, out);
            }
            Event::Upnp(Err(why)) if matches!(self.phase, Phase::Upnp) => {
                if self.stopping.is_some() {
                    self.finish(out);
                } else {
                    if !why.is_empty() {
                        self.refusals.push(format!("UPnP: {why}"));
                    }
                    self.give_up(out);
                }
            }
            Event::UpnpRemoved if matches!(self.phase, Phase::Removing { .. }) => self.finish(out),
            Event::Gateway(_) | Event::Upnp(_) | Event::UpnpRemoved => {}
            Event::Stop => self.stop(out),
        }
        self.advance(out);
    }

    fn deadline(&self) -> Option<Time> {
        let next = match &self.phase {
            Phase::Waiting { at } => Some(*at),
            Phase::Asking(round) => Some(round.next),
            Phase::Mapped { renew_at, probe_at } => Some((*renew_at).min(*probe_at)),
            Phase::Removing { next, .. } => Some(*next),
            Phase::Finding | Phase::Upnp => None,
            Phase::Done => return None,
        };
        match (next, self.stopping) {
            (Some(next), Some(until)) => Some(next.min(until)),
            (next, until) => next.or(until),
        }
    }
}

#[cfg(test)]
mod tests;
