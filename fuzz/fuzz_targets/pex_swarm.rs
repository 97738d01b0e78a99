//! Whatever peers name to a swarm (BEP 11), it dials an address three times a window at most and few ports of a host,
//! never itself, a group or a privileged port (reliability.md, B6).
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_layout::Selection;
use shoal_machine::{Effects, Machine, Rng, Time};
use shoal_metainfo::{Info, PieceLayers};
use shoal_pieces::Bitfield;
use shoal_swarm::{DialFailure, Direction, Effect, Event, PeerKey, Swarm, SwarmConfig};
use shoal_wire::{Decoded, Extended, ExtendedHandshake, Frame, Handshake, Limits, Message, decode};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const PEERS: u32 = 3;
const WINDOW: Duration = Duration::from_secs(600);

static INFO: LazyLock<Arc<Info>> = LazyLock::new(|| {
    let mut bytes = b"d6:lengthi16384e4:name1:a12:piece lengthi16384e6:pieces20:".to_vec();
    bytes.extend([7; 20]);
    bytes.push(b'e');
    Arc::new(Info::parse(&bytes).expect("a torrent").0)
});

fn ours() -> SocketAddr {
    SocketAddr::from(([9, 9, 9, 9], 6881))
}

struct Run {
    swarm: Swarm<()>,
    now: Time,
    dials: BTreeMap<SocketAddr, Vec<Time>>,
    out: Effects<Effect<()>>,
}

impl Run {
    fn feed(&mut self, event: Event<()>) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            self.swarm.handle(self.now, event, &mut self.out);
            self.swarm.check_invariants();
            let mut out = std::mem::take(&mut self.out);
            for effect in out.drain() {
                match effect {
                    Effect::Dial { addr } => {
                        self.dialed(addr);
                        events.push(Event::DialFailed { addr, failure: DialFailure::Silent });
                    }
                    Effect::Disconnect { peer, .. } => events.push(Event::Disconnected { peer }),
                    _ => {}
                }
            }
            self.out = out;
        }
    }

    fn dialed(&mut self, addr: SocketAddr) {
        assert!(addr != ours() && addr.port() >= 1024 && !addr.ip().is_multicast() && !addr.ip().is_unspecified());
        let times = self.dials.entry(addr).or_default();
        times.push(self.now);
        // A window begins with its first try, so two of them may meet.
        let recent = times.iter().filter(|&&at| self.now.since(at) < WINDOW).count();
        assert!(recent <= 6, "{addr}: {times:?}");
    }

    fn join(&mut self, peer: PeerKey) {
        let handshake = Handshake::new(INFO.hashes().wire(), [peer.0 as u8; 20], false, false);
        let addr = SocketAddr::from(([8, 8, 8, peer.0 as u8], 5_000));
        self.feed(Event::Connected { peer, addr, direction: Direction::Incoming, handshake });
        let extensions = ExtendedHandshake { ut_pex: Some(1), ..ExtendedHandshake::default() };
        let message = Message::Extended { id: 0, message: Extended::Handshake(extensions) };
        self.feed(Event::Message { peer, message });
    }
}

fn read(payload: &[u8]) -> Option<Message> {
    let mut bytes = (payload.len() as u32 + 2).to_be_bytes().to_vec();
    bytes.extend([20, 2]);
    bytes.extend(payload);
    match decode(&bytes, &Limits::UNKNOWN).ok()? {
        Decoded::Frame { frame: Frame::Message(message), .. } => Some(message),
        _ => None,
    }
}

fuzz_target!(|said: Vec<(u8, u8, Vec<u8>)>| {
    let mut config = SwarmConfig::new(INFO.hashes(), *b"-SH0100-fuzzfuzzfuzz");
    config.listen_port = Some(ours().port());
    config.own_addresses = vec![ours()];
    let swarm = Swarm::new(config, true, Rng::new(1));
    let mut run = Run { swarm, now: Time::ZERO, dials: BTreeMap::new(), out: Effects::new() };
    let have = Bitfield::new(INFO.layout().pieces());
    let selection = Selection::all(INFO.layout());
    run.feed(Event::Ready { info: INFO.clone(), layers: PieceLayers::empty(&INFO), have, selection });
    (0..PEERS).for_each(|peer| run.join(PeerKey(peer)));
    for (peer, wait_s, added) in said.iter().take(60) {
        let mut payload = format!("d5:added{}:", added.len()).into_bytes();
        payload.extend(added);
        payload.push(b'e');
        if let Some(message) = read(&payload) {
            run.feed(Event::Message { peer: PeerKey(u32::from(*peer) % PEERS), message });
        }
        run.now = run.now + Duration::from_secs(u64::from(*wait_s));
        run.feed(Event::Wake);
    }
    if run.now < Time::ZERO + WINDOW {
        let mut ports: BTreeMap<IpAddr, BTreeSet<u16>> = BTreeMap::new();
        for addr in run.dials.keys() {
            ports.entry(addr.ip()).or_default().insert(addr.port());
        }
        assert!(ports.values().all(|ports| ports.len() <= 64), "{ports:?}");
    }
});
