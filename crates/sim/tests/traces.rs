//! Traces of machines to which everything happens: run again they do the same, to the last effect.
//!
//! The fault seeds meet all kinds of events: metadata from peers, web seeds, disks that refuse, lost pieces, bans, PEX, stops.

use shoal_sim::NodeId;
use shoal_sim::faults::Storm;
use shoal_trace::{Account, Player, Reader, Tail};

/// Seeds that are traced. Chosen: a second's work, and every kind of event.
const SEEDS: u64 = 40;

/// The traces of all peers that run when the faults of a seed end.
fn traces(seed: u64) -> Vec<Vec<u8>> {
    let mut storm = Storm::of(seed);
    let peers: Vec<NodeId> = storm.scenario.simulation().nodes().map(|(id, _)| id).collect();
    for &peer in &peers {
        storm.scenario.trace(peer);
    }
    storm.scenario.run_for(storm.lasts).unwrap_or_else(|violation| panic!("{violation}"));
    peers.into_iter().filter_map(|peer| storm.scenario.take_trace(peer)).collect()
}

#[test]
fn machines_in_storms_do_the_same_again() {
    let mut kinds = std::collections::BTreeSet::new();
    let (mut machines, mut events) = (0, 0);
    for (seed, trace) in (0..SEEDS).flat_map(|seed| traces(seed).into_iter().map(move |trace| (seed, trace))) {
        let (head, mut reader) = Reader::open(trace.as_slice()).unwrap();
        let (mut player, mut account) = (Player::new(&head), Account::default());
        while let Some(entry) = reader.next_entry().unwrap() {
            let shown = format!("{:?}", entry.event);
            kinds.insert(shown.split([' ', '(']).next().unwrap().to_owned());
            account.before(entry.at, &entry.event, &player);
            player.play(entry).unwrap_or_else(|difference| panic!("seed {seed}: {difference:?}"));
            account.after(&player);
        }
        assert_eq!(reader.tail(), Some(Tail::Silent));
        // What the account adds up is what the machine counted; what crossed a cancel it counts as waste only.
        let asked: u64 = account.from_web_seeds + account.peers.values().map(|peer| peer.received).sum::<u64>();
        let progress = player.progress();
        assert!((progress.downloaded..=progress.downloaded + progress.wasted).contains(&asked), "seed {seed}: {asked}");
        machines += 1;
        events += player.events();
    }
    assert!(machines > 100, "{machines} machines");
    assert!(events > 100_000, "{events} events");
    assert!(kinds.len() >= 19, "{kinds:?}");
}
