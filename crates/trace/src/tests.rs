//! A small machine's trace, whole, changed and cut.

use crate::field::Field;
use crate::record;
use crate::*;
use proptest::prelude::*;
use shoal_layout::{BLOCK_LENGTH, PieceIndex, Selection};
use shoal_machine::{Effects, Machine, Rng, Time};
use shoal_metainfo::{Info, PieceLayers};
use shoal_pieces::Bitfield;
use shoal_swarm::{Credit, Direction, Effect, Event, PeerKey, Source, StoreOutcome, Swarm, SwarmConfig};
use shoal_wire::{Handshake, Message};
use std::collections::VecDeque;
use std::sync::Arc;

const PIECES: u32 = 40;

fn info() -> Arc<Info> {
    let length = u64::from(PIECES) * u64::from(BLOCK_LENGTH);
    let mut bytes = format!("d6:lengthi{length}e4:name1:a12:piece lengthi16384e6:pieces{}:", PIECES * 20).into_bytes();
    bytes.extend((0..PIECES * 20).map(|n| n as u8));
    bytes.push(b'e');
    Arc::new(Info::parse(&bytes).unwrap().0)
}

/// A download from one seed that answers at once, recorded; `limit` as the user says.
fn recorded(limit: u64) -> Vec<u8> {
    let info = info();
    let mut config = SwarmConfig::new(info.hashes(), [b'S'; 20]);
    config.trackers = vec![vec!["http://t.example/announce?passkey=secret".to_owned()]];
    let rng = Rng::new(7);
    let mut recorder = Recorder::new(Head::new(&config, true, &rng), limit);
    let mut swarm = Swarm::new(config, true, rng);
    let (peer, layout) = (PeerKey(0), info.layout());
    let handshake = Handshake::new(info.hashes().wire(), [b'P'; 20], false, false);
    let addr = "10.0.0.9:6881".parse().unwrap();
    let mut events: VecDeque<Event<u8>> = VecDeque::from([
        Event::Ready {
            layers: PieceLayers::empty(&info),
            have: Bitfield::new(PIECES),
            selection: Selection::all(layout),
            info: info.clone(),
        },
        Event::Credit(Credit { up: Credit::UNLIMITED, down: Credit::UNLIMITED }),
        Event::Found { source: Source::User, addrs: vec![addr] },
        Event::Connected { peer, addr, direction: Direction::Outgoing, handshake },
        Event::Message { peer, message: Message::HaveAll },
        Event::Message { peer, message: Message::Unchoke },
    ]);
    let mut out = Effects::new();
    let mut now = Time::from_secs(3);
    while let Some(event) = events.pop_front() {
        recorder.handle(&mut swarm, now, event, &mut out);
        now = now + std::time::Duration::from_millis(10);
        for effect in out.drain() {
            match effect {
                Effect::Grant { peer, block } => events.push_back(Event::Block { peer, block, payload: 1 }),
                Effect::Store { piece, .. } => {
                    events.push_back(Event::Stored { piece, outcome: StoreOutcome::Written { digests: Vec::new() } });
                }
                _ => {}
            }
        }
    }
    assert!(swarm.progress().complete);
    recorder.end(End::Stopped);
    recorder.take().unwrap()
}

/// How many events agree, and how it ended.
fn replayed(trace: &[u8]) -> (u64, Result<Option<Tail>, String>) {
    let (head, mut reader) = match Reader::open(trace) {
        Ok(opened) => opened,
        Err(error) => return (0, Err(error.to_string())),
    };
    let mut player = Player::new(&head);
    loop {
        match reader.next_entry() {
            Ok(Some(entry)) => {
                if let Err(difference) = player.play(entry) {
                    return (player.events() - 1, Err(format!("event {}: {difference}", difference.event)));
                }
            }
            Ok(None) => return (player.events(), Ok(reader.tail())),
            Err(error) => return (player.events(), Err(error.to_string())),
        }
    }
}

#[test]
fn a_trace_gives_the_same_again_and_says_what_happened() {
    let trace = recorded(DEFAULT_LIMIT);
    let (events, end) = replayed(&trace);
    assert_eq!(end, Ok(Some(Tail::Ended(End::Stopped))));
    assert_eq!(events, 6 + 2 * u64::from(PIECES));
    assert!(trace.len() < 100 * events as usize, "{} bytes", trace.len());
    assert!(!trace.windows(6).any(|bytes| bytes == b"secret"), "a pass key");

    let (head, mut reader) = Reader::open(trace.as_slice()).unwrap();
    let (mut player, mut account) = (Player::new(&head), Account::default());
    while let Some(entry) = reader.next_entry().unwrap() {
        account.before(entry.at, &entry.event, &player);
        player.play(entry).unwrap();
        account.after(&player);
    }
    account.finish(&player);
    let peer = &account.peers[&PeerKey(0)];
    assert_eq!(peer.received, u64::from(PIECES) * u64::from(BLOCK_LENGTH));
    assert_eq!(peer.requests, u64::from(PIECES));
    assert_eq!(account.firsts.unchoked, Some(Time::from_millis(3_050)));
    assert_eq!(account.firsts.address.map(|(_, source)| source), Some(Source::User));
    assert!(account.firsts.piece > account.firsts.block && account.firsts.complete >= account.firsts.piece);
    assert!(account.stalls.is_empty());
}

#[test]
fn any_changed_byte_is_noticed() {
    let trace = recorded(DEFAULT_LIMIT);
    let whole = replayed(&trace).0;
    for place in 0..trace.len() {
        let mut changed = trace.clone();
        changed[place] ^= 0x20;
        let (events, end) = replayed(&changed);
        assert!(end.is_err() && events <= whole, "byte {place}: {end:?}");
    }
}

#[test]
fn of_a_trace_that_is_cut_off_what_came_before_is_used() {
    let trace = recorded(DEFAULT_LIMIT);
    let mut last = 0;
    for length in 0..trace.len() {
        let (events, end) = replayed(&trace[..length]);
        match end {
            Ok(Some(Tail::Torn(_) | Tail::Silent)) => assert!(events >= last, "{length} bytes"),
            Err(_) => assert_eq!(events, 0, "{length} bytes"),
            other => panic!("{length} bytes: {other:?}"),
        }
        last = events;
    }
    assert!(last > 0);
}

#[test]
fn at_its_limit_a_trace_ends_and_says_so() {
    let whole = recorded(DEFAULT_LIMIT).len() as u64;
    for limit in [0, 300, 1_500, whole / 2, whole - 1] {
        let trace = recorded(limit);
        // The head is always there, so that it can be read what the trace is.
        assert!(trace.len() as u64 <= limit.max(400), "{} bytes of {limit}", trace.len());
        let (_, end) = replayed(&trace);
        assert_eq!(end, Ok(Some(Tail::Ended(End::Full))), "{limit}");
    }
}

/// The same trace with another head.
fn with_head(trace: &[u8], change: impl FnOnce(&mut Head)) -> Vec<u8> {
    let mut rest = trace;
    let (mut head, _) = Reader::open(&mut rest).unwrap();
    change(&mut head);
    let mut changed = record::MAGIC.to_vec();
    let begin = record::open(record::kind::HEAD, &mut changed);
    head.put(&mut changed);
    record::close(begin, &mut changed);
    changed.extend_from_slice(rest);
    changed
}

#[test]
fn another_configuration_or_seed_is_noticed_with_the_event() {
    let trace = recorded(DEFAULT_LIMIT);
    assert_eq!(replayed(&with_head(&trace, |_| {})), replayed(&trace));
    for change in [
        (|head| head.seed += 1) as fn(&mut Head),
        |head| head.config.serve_only = true,
        |head| head.config.max_assembly_bytes = 0,
        |head| head.config.listen_port = Some(1),
    ] {
        let (_, end) = replayed(&with_head(&trace, change));
        assert!(end.as_ref().is_err_and(|text| text.starts_with("event ")), "{end:?}");
    }
}

#[test]
fn an_event_that_the_machine_did_not_survive_is_the_last_one() {
    let mut recorder =
        Recorder::<()>::new(Head::new(&SwarmConfig::new(info().hashes(), [1; 20]), true, &Rng::new(1)), DEFAULT_LIMIT);
    let mut swarm = Swarm::new(SwarmConfig::new(info().hashes(), [1; 20]), true, Rng::new(1));
    let mut out = Effects::new();
    recorder.handle(&mut swarm, Time::from_secs(2), Event::Wake, &mut out);
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // Time does not go back: the machine says so with a panic.
        swarm.handle(Time::from_secs(9), Event::Wake, &mut out);
        recorder.handle(&mut swarm, Time::from_secs(3), Event::Lost(PieceIndex(5)), &mut out);
    }));
    assert!(died.is_err());
    recorder.flush();
    let trace = recorder.take().unwrap();
    let (_, mut reader) = Reader::open(trace.as_slice()).unwrap();
    assert!(reader.next_entry().unwrap().unwrap().answer.is_some());
    let last = reader.next_entry().unwrap().unwrap();
    assert!(last.answer.is_none() && matches!(last.event, Event::Lost(_)) && last.at == Time::from_secs(3));
    assert!(reader.next_entry().unwrap().is_none());
    assert_eq!(reader.tail(), Some(Tail::Silent));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, kind in 0_u8..3) {
        let _ = replayed(&bytes);
        // And as the content of a record that is whole.
        let mut trace = recorded_head();
        let begin = record::open(kind, &mut trace);
        trace.extend_from_slice(&bytes);
        record::close(begin, &mut trace);
        let (_, mut reader) = Reader::open(trace.as_slice()).unwrap();
        while let Ok(Some(_)) = reader.next_entry() {}
    }
}

fn recorded_head() -> Vec<u8> {
    let config = SwarmConfig::new(info().hashes(), [1; 20]);
    Recorder::<()>::new(Head::new(&config, true, &Rng::new(1)), DEFAULT_LIMIT).take().unwrap()
}
