//! The machine against a router in virtual time, honest, old, mute and hostile.

use super::super::nat_pmp::tests as nat_pmp_router;
use super::super::pcp::tests as pcp_router;
use super::*;

const LOCAL: [u8; 4] = [192, 168, 1, 7];
const PUBLIC: [u8; 4] = [203, 0, 113, 9];
const PORTS: Ports = Ports { tcp: 6881, udp: Some(6881) };

/// What a router speaks.
#[derive(Clone, Copy, PartialEq)]
enum Speaks {
    Pcp,
    NatPmp,
    /// NAT-PMP, and says nothing to what it does not know.
    NatPmpMute,
    Upnp,
    Nothing,
}

struct Scene {
    mapper: Mapper,
    speaks: Speaks,
    now: Time,
    /// When the router started.
    started: Time,
    statuses: Vec<MappingStatus>,
    sent: usize,
    /// Ports open in the router: transport's number and port.
    open: std::collections::BTreeSet<(u8, u16)>,
    done: bool,
    has_gateway: bool,
}

impl Scene {
    fn new(speaks: Speaks) -> Scene {
        Scene {
            mapper: Mapper::new(PORTS, true, Rng::new(7)),
            speaks,
            now: Time::ZERO,
            started: Time::ZERO,
            statuses: Vec::new(),
            sent: 0,
            open: Default::default(),
            done: false,
            has_gateway: true,
        }
    }

    fn feed(&mut self, event: Event) {
        let mut events = std::collections::VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut out = Effects::new();
            self.mapper.handle(self.now, event, &mut out);
            let effects: Vec<Effect> = out.drain().collect();
            for effect in effects {
                match effect {
                    Effect::FindGateway => events.push_back(Event::Gateway(self.has_gateway.then_some(LOCAL.into()))),
                    Effect::Send(bytes) => {
                        self.sent += 1;
                        events.extend(self.answer(&bytes).map(Event::Datagram));
                    }
                    Effect::UpnpAdd(ports) if self.speaks == Speaks::Upnp => {
                        self.open = [(6, ports.tcp), (17, ports.udp.unwrap())].into();
                        let lifetime = LIFETIME;
                        let (tcp, udp) = (ports.tcp, ports.udp);
                        let grant = UpnpGrant { address: Some(PUBLIC.into()), tcp, udp, lifetime };
                        events.push_back(Event::Upnp(Ok(grant)));
                    }
                    Effect::UpnpAdd(_) => events.push_back(Event::Upnp(Err(String::new()))),
                    Effect::UpnpRemove { .. } => {
                        self.open.clear();
                        events.push_back(Event::UpnpRemoved);
                    }
                    Effect::Status(status) => self.statuses.push(status),
                    Effect::Done => self.done = true,
                }
            }
        }
    }

    fn epoch(&self) -> u32 {
        self.now.since(self.started).as_secs() as u32
    }

    fn answer(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let epoch_s = self.epoch();
        let number = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let lifetime = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        match (bytes[0], self.speaks) {
            (2, Speaks::NatPmp) => Some(vec![0, 128 + bytes[1], 0, 1, 0, 0, 0, 0]),
            (2, Speaks::Pcp) if bytes[1] == 0 => Some(pcp_router::encode(pcp::Answer::Epoch { epoch_s })),
            (2, Speaks::Pcp) => {
                let transport = if bytes[36] == 6 { Transport::Tcp } else { Transport::Udp };
                let (internal_port, lifetime_s) = (number(40), lifetime(4));
                self.set(bytes[36], internal_port, lifetime_s);
                Some(pcp_router::encode(pcp::Answer::Map {
                    result: 0,
                    lifetime_s,
                    epoch_s,
                    nonce: bytes[24..36].try_into().unwrap(),
                    transport,
                    internal_port,
                    external_port: internal_port,
                    external_ip: PUBLIC.into(),
                }))
            }
            (0, Speaks::NatPmp | Speaks::NatPmpMute) if bytes[1] == 0 => {
                Some(nat_pmp_router::encode(nat_pmp::Answer::Address { epoch_s, address: PUBLIC.into() }))
            }
            (0, Speaks::NatPmp | Speaks::NatPmpMute) => {
                let transport = if bytes[1] == 2 { Transport::Tcp } else { Transport::Udp };
                let (internal_port, lifetime_s) = (number(4), lifetime(8));
                self.set(if bytes[1] == 2 { 6 } else { 17 }, internal_port, lifetime_s);
                let external_port = if lifetime_s == 0 { 0 } else { internal_port };
                Some(nat_pmp_router::encode(nat_pmp::Answer::Map {
                    transport,
                    epoch_s,
                    internal_port,
                    external_port,
                    lifetime_s,
                }))
            }
            _ => None,
        }
    }

    fn set(&mut self, protocol: u8, port: u16, lifetime_s: u32) {
        if lifetime_s == 0 {
            self.open.remove(&(protocol, port));
        } else {
            self.open.insert((protocol, port));
        }
    }

    /// Lets time pass, waking the machine as it asks for.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        let mut wakes = 0;
        while let Some(at) = self.mapper.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.feed(Event::Wake);
            wakes += 1;
            assert!(wakes < 10_000, "it never rests");
        }
        self.now = end;
    }

    fn mapped(&self) -> Option<Mapped> {
        match self.statuses.last() {
            Some(MappingStatus::Mapped(mapped)) => Some(*mapped),
            _ => None,
        }
    }
}

const S: Duration = Duration::from_secs(1);

#[test]
fn each_router_is_asked_in_the_way_that_it_speaks_within_seconds() {
    for (speaks, method) in [
        (Speaks::Pcp, Method::Pcp),
        (Speaks::NatPmp, Method::NatPmp),
        (Speaks::NatPmpMute, Method::NatPmp),
        (Speaks::Upnp, Method::Upnp),
    ] {
        let mut scene = Scene::new(speaks);
        scene.run(4 * S);
        let expected = Mapped { method, address: Some(PUBLIC.into()), tcp: 6881, udp: Some(6881) };
        assert_eq!(scene.mapped(), Some(expected));
        assert_eq!(scene.open, [(6, 6881), (17, 6881)].into());
    }
}

#[test]
fn what_is_granted_is_removed_at_the_end() {
    for speaks in [Speaks::Pcp, Speaks::NatPmp, Speaks::Upnp] {
        let mut scene = Scene::new(speaks);
        scene.run(10 * S);
        scene.feed(Event::Stop);
        assert!(scene.done && scene.open.is_empty());
    }
}

#[test]
fn a_router_that_is_gone_does_not_hold_up_the_end() {
    for speaks in [Speaks::Pcp, Speaks::NatPmp] {
        let mut scene = Scene::new(speaks);
        scene.run(10 * S);
        scene.speaks = Speaks::Nothing;
        scene.feed(Event::Stop);
        assert!(!scene.done);
        scene.run(2 * S);
        assert!(scene.done);
    }
    let mut scene = Scene::new(Speaks::Nothing);
    scene.run(S);
    scene.feed(Event::Stop);
    assert!(scene.done, "nothing was granted");
}

#[test]
fn a_lease_is_renewed_at_half_its_life_and_told_once() {
    for speaks in [Speaks::Pcp, Speaks::NatPmp, Speaks::Upnp] {
        let mut scene = Scene::new(speaks);
        scene.run(10 * S);
        let (sent, statuses) = (scene.sent, scene.statuses.len());
        scene.open.clear();
        scene.run(LIFETIME / 2);
        assert_eq!(scene.open.len(), 2, "renewed");
        assert_eq!(scene.statuses.len(), statuses);
        scene.run(24 * LIFETIME);
        assert!(scene.sent - sent < 25 * 20, "{} requests in a day", scene.sent - sent);
        assert!(scene.mapped().is_some());
    }
}

#[test]
fn a_router_that_restarted_is_asked_again_at_the_next_look() {
    for speaks in [Speaks::Pcp, Speaks::NatPmp] {
        let mut scene = Scene::new(speaks);
        scene.run(100 * S);
        scene.open.clear();
        scene.started = scene.now;
        scene.run(PROBE + S);
        assert_eq!(scene.open.len(), 2, "mapped anew");
    }
}

#[test]
fn a_lease_that_cannot_be_renewed_ends_and_is_told() {
    let mut scene = Scene::new(Speaks::Pcp);
    scene.run(10 * S);
    scene.speaks = Speaks::Nothing;
    scene.run(LIFETIME - 20 * S);
    assert!(scene.mapped().is_some(), "it still holds");
    scene.run(LIFETIME);
    let Some(MappingStatus::Failed(why)) = scene.statuses.last() else { panic!("{:?}", scene.statuses) };
    assert_eq!(why, "the router does not offer it by PCP, NAT-PMP or UPnP");
    scene.speaks = Speaks::NatPmp;
    scene.run(AGAIN + 5 * S);
    assert!(scene.mapped().is_some(), "tried again by itself");
}

#[test]
fn a_router_where_nothing_listens_is_asked_by_upnp_at_once() {
    let mut scene = Scene::new(Speaks::Upnp);
    scene.feed(Event::Wake);
    scene.feed(Event::Refused);
    scene.feed(Event::Refused);
    assert_eq!(scene.mapped().map(|mapped| mapped.method), Some(Method::Upnp));
    scene.feed(Event::Refused);
    assert!(scene.mapped().is_some(), "late news change nothing");
}

#[test]
fn no_router_is_no_mapping_until_there_is_one() {
    let mut scene = Scene::new(Speaks::Pcp);
    scene.has_gateway = false;
    scene.run(S);
    assert!(matches!(scene.statuses.last(), Some(MappingStatus::Failed(why)) if why.contains("no router")));
    scene.has_gateway = true;
    scene.run(AGAIN_OFFLINE + S);
    assert!(scene.mapped().is_some());
}

#[test]
fn a_refusal_is_told_by_its_meaning() {
    let mut scene = Scene::new(Speaks::Nothing);
    scene.feed(Event::Wake);
    let refusal = nat_pmp_router::encode(nat_pmp::Answer::Refused { transport: None, result: 1 });
    scene.feed(Event::Datagram(refusal));
    let refusal = nat_pmp::Answer::Refused { transport: Some(Transport::Tcp), result: 2 };
    scene.feed(Event::Datagram(nat_pmp_router::encode(refusal)));
    let told = MappingStatus::Failed("NAT-PMP: port mapping is switched off in the router".to_owned());
    assert_eq!(scene.statuses.last(), Some(&told));
}

#[test]
fn answers_that_were_not_asked_for_change_nothing() {
    let mut scene = Scene::new(Speaks::Nothing);
    scene.feed(Event::Wake);
    let map = |nonce, internal_port, external_port, lifetime_s| {
        Event::Datagram(pcp_router::encode(pcp::Answer::Map {
            result: 0,
            lifetime_s,
            epoch_s: 1,
            nonce,
            transport: Transport::Tcp,
            internal_port,
            external_port,
            external_ip: PUBLIC.into(),
        }))
    };
    let nonce = scene.mapper.nonces[0];
    for forged in
        [map([0; 12], 6881, 6881, 60), map(nonce, 6882, 6881, 60), map(nonce, 6881, 0, 60), map(nonce, 6881, 6881, 0)]
    {
        scene.feed(forged);
        assert_eq!(scene.statuses, [MappingStatus::Trying]);
    }
    scene.feed(map(nonce, 6881, 7000, u32::MAX));
    scene.run(S);
    scene.run(S);
    assert_eq!(scene.mapped().map(|mapped| (mapped.tcp, mapped.udp)), Some((7000, None)), "the true one");
}

proptest::proptest! {
    #[test]
    fn any_datagrams_at_any_time_leave_it_working(
        datagrams in proptest::collection::vec((proptest::collection::vec(0u8..=255, 0..64), 0u64..400), 0..40),
        speaks in 0..3,
    ) {
        let speaks = [Speaks::Pcp, Speaks::NatPmp, Speaks::Nothing][speaks as usize];
        let mut scene = Scene::new(speaks);
        for (mut bytes, wait_s) in datagrams {
            // Most would be thrown away by their first byte.
            if let Some(first) = bytes.first_mut() { *first = if *first & 1 == 0 { 0 } else { 2 }; }
            if let Some(second) = bytes.get_mut(1) { *second = 128 + (*second & 3); }
            scene.feed(Event::Datagram(bytes));
            scene.run(Duration::from_secs(wait_s));
        }
        scene.feed(Event::Stop);
        scene.run(2 * S);
        assert!(scene.done);
    }
}
