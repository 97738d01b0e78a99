//! Claims about web seeds.

use super::script::*;
use crate::*;
use shoal_layout::{BlockRef, FileIndex, PieceIndex};
use shoal_pieces::Bitfield;
use std::time::Duration;

/// A swarm with so many web seeds that lacks everything.
fn with_seeds(pieces: u64, seeds: usize) -> Script {
    let info = info(pieces, 5);
    let urls = (0..seeds).map(|n| format!("http://{n}.example/")).collect();
    let mut script = Script::start(info.clone(), true, |config| config.web_seeds = urls);
    script.ready(Bitfield::new(info.layout().pieces()));
    script
}

/// The same with credit without limit.
fn ready(pieces: u64, seeds: usize) -> Script {
    let mut script = with_seeds(pieces, seeds);
    script.credit(Credit::UNLIMITED, Credit::UNLIMITED);
    script
}

type Ordered = (WebSeedKey, FetchKey, Vec<BlockRef>);

/// Takes the log, and of it the runs.
fn runs(script: &mut Script) -> Vec<Ordered> {
    let run = |effect| match effect {
        Effect::Fetch { seed, fetch, blocks } => Some((seed, fetch, blocks)),
        _ => None,
    };
    script.effects().into_iter().filter_map(run).collect()
}

fn troubles(effects: &[Effect<Mark>]) -> Vec<(WebSeedOutcome, String)> {
    let trouble = |effect: &Effect<Mark>| match effect {
        Effect::Notice(Notice::WebSeed { outcome, error, .. }) => Some((*outcome, error.text.clone())),
        _ => None,
    };
    effects.iter().filter_map(trouble).collect()
}

fn deliver(script: &mut Script, run: &Ordered) {
    for &block in &run.2 {
        script.feed(Event::Fetched { fetch: run.1, block, payload: 1 });
    }
    script.feed(Event::FetchEnded { fetch: run.1, result: Ok(()) });
}

fn fail(script: &mut Script, fetch: FetchKey, fault: FetchFault, retry_after: Option<Duration>) {
    let error = SourceError::new(SourceErrorKind::Refusal, "the reason");
    let failure = FetchFailure { fault, error, retry_after };
    script.feed(Event::FetchEnded { fetch, result: Err(failure) });
}

/// Delivers everything that is asked, with pieces that come right, until nothing is ordered any more.
fn serve(script: &mut Script) -> Vec<usize> {
    let mut lengths = Vec::new();
    loop {
        let effects = script.effects();
        let mut served = false;
        for effect in effects {
            match effect {
                Effect::Fetch { seed, fetch, blocks } => {
                    lengths.push(blocks.len());
                    script.now = script.now + Duration::from_millis(1);
                    deliver(script, &(seed, fetch, blocks));
                    served = true;
                }
                Effect::Store { piece, blocks, .. } => {
                    script.written(piece.0, &vec![1; blocks.len()]);
                    served = true;
                }
                _ => {}
            }
        }
        if !served {
            return lengths;
        }
    }
}

#[test]
fn a_web_seed_alone_gives_everything_in_ever_longer_runs() {
    let mut script = ready(400, 1);
    let lengths = serve(&mut script);
    let progress = script.swarm.progress();
    assert!(progress.complete && progress.web_seed_copies == 1, "{progress:?}");
    assert_eq!(lengths.iter().sum::<usize>(), 800);
    assert_eq!(lengths[0], 2, "one piece while nothing is known of it");
    assert!(lengths.len() < 80 && *lengths.iter().max().unwrap() > 50, "{lengths:?}");
    assert_eq!(progress.wasted, 0);
}

#[test]
fn it_is_no_connection_and_nobody_is_told_of_it() {
    let mut script = ready(8, 1);
    let peer = script.join();
    script.say(peer, shoal_wire::Message::HaveNone);
    script.effects();
    let progress = script.swarm.progress();
    assert_eq!((progress.peers, progress.seeds, progress.web_seeds, progress.web_seeds_fetching), (1, 0, 1, 1));
}

#[test]
fn at_most_so_many_are_asked_at_a_time_and_kept_at_all() {
    let mut script = ready(400, 40);
    assert_eq!(script.swarm.progress().web_seeds as usize, MAX_WEB_SEEDS);
    let first = runs(&mut script);
    assert_eq!(first.len(), 8, "one run each of eight");
    // One that is given up makes room for a spare.
    fail(&mut script, first[0].1, FetchFault::Useless, None);
    let next = runs(&mut script);
    assert_eq!(next.iter().map(|run| run.0).collect::<Vec<_>>(), [WebSeedKey(8)]);
}

#[test]
fn two_bad_pieces_end_its_use_and_one_does_not() {
    let mut script = ready(8, 1);
    let mut bad = 0;
    let mut told = Vec::new();
    for _ in 0..10 {
        for effect in script.effects() {
            told.extend(troubles(std::slice::from_ref(&effect)));
            match effect {
                Effect::Fetch { seed, fetch, blocks } => deliver(&mut script, &(seed, fetch, blocks)),
                Effect::Store { piece, blocks, .. } if bad < 2 => {
                    script.corrupt(piece.0, &vec![1; blocks.len()]);
                    bad += 1;
                    assert_eq!(script.swarm.progress().web_seeds, 2 - bad, "after {bad} bad pieces");
                }
                _ => {}
            }
        }
    }
    assert_eq!(told, [(WebSeedOutcome::Banned, "it sent corrupt data".to_owned())]);
    script.pass(Duration::from_secs(4_000));
    assert!(runs(&mut script).is_empty());
}

#[test]
fn a_bad_piece_of_two_givers_is_blamed_on_the_one_who_lied() {
    let mut script = ready(1, 1);
    let run = runs(&mut script).remove(0);
    // The web seed lies about the first block, then leaves the other to a peer.
    script.feed(Event::Fetched { fetch: run.1, block: run.2[0], payload: 66 });
    fail(&mut script, run.1, FetchFault::Passing, None);
    let peer = script.open_seed();
    let asked = script.asked_of(peer);
    assert_eq!(asked, [run.2[1]]);
    script.block(peer, asked[0], 1);
    script.corrupt(0, &[66, 1]);
    let again = script.asked_of(peer);
    assert_eq!(again, run.2, "one source is asked for all of it");
    for block in again {
        script.block(peer, block, 1);
    }
    script.written(0, &[1, 1]);
    let effects = script.effects();
    assert!(disconnected(&effects, peer) != Some(DisconnectReason::Corrupt));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Notice(Notice::Banned { .. }))));
    assert!(script.swarm.progress().complete);
}

#[test]
fn a_failure_that_may_pass_waits_ever_longer_and_as_long_as_the_server_says() {
    let mut script = ready(8, 1);
    let mut last = Duration::ZERO;
    for round in 0..5 {
        let run = runs(&mut script).remove(0);
        fail(&mut script, run.1, FetchFault::Passing, None);
        let WebSeedOutcome::Waits(wait) = troubles(&script.effects())[0].0 else { panic!("it waits") };
        assert!(wait > last, "round {round}: {wait:?} after {last:?}");
        script.pass(wait - Duration::from_millis(1));
        assert!(runs(&mut script).is_empty(), "not before");
        script.pass(Duration::from_millis(1));
        last = wait;
    }
    let run = runs(&mut script).remove(0);
    fail(&mut script, run.1, FetchFault::Passing, Some(Duration::from_secs(1_000)));
    let WebSeedOutcome::Waits(wait) = troubles(&script.effects())[0].0 else { panic!("it waits") };
    assert_eq!(wait, Duration::from_secs(1_000));
    script.pass(wait);
    let run = runs(&mut script).remove(0);
    fail(&mut script, run.1, FetchFault::Passing, Some(Duration::MAX));
    let WebSeedOutcome::Waits(wait) = troubles(&script.effects())[0].0 else { panic!("it waits") };
    assert_eq!(wait, Duration::from_secs(3_600), "within bounds");
}

#[test]
fn one_that_stalls_is_given_up_for_a_while_within_thirty_seconds() {
    let mut script = ready(8, 1);
    let run = runs(&mut script).remove(0);
    script.feed(Event::Fetched { fetch: run.1, block: run.2[0], payload: 1 });
    script.pass(Duration::from_secs(29));
    assert!(script.effects().is_empty());
    script.pass(Duration::from_secs(1));
    let effects = script.effects();
    assert!(effects.iter().any(|e| matches!(e, Effect::CancelFetch { fetch } if *fetch == run.1)));
    let (outcome, reason) = troubles(&effects).remove(0);
    assert!(matches!(outcome, WebSeedOutcome::Waits(_)) && reason.contains("30 s"), "{reason}");
    // What still comes of it is waste, and no second end.
    script.feed(Event::Fetched { fetch: run.1, block: run.2[1], payload: 1 });
    script.feed(Event::FetchEnded { fetch: run.1, result: Ok(()) });
    assert_eq!(script.swarm.progress().wasted, u64::from(BLOCK));
}

#[test]
fn one_that_stalls_holds_up_nobody() {
    let mut script = ready(8, 1);
    let run = runs(&mut script).remove(0);
    let peer = script.open_seed();
    let mut asked = script.asked_of(peer);
    // The peer gives all that it is asked for; time passes.
    let mut came = std::collections::BTreeSet::new();
    for _ in 0..20 {
        for block in std::mem::take(&mut asked) {
            came.insert(block);
            script.block(peer, block, 1);
        }
        script.pass(Duration::from_millis(500));
        asked = script.asked_of(peer);
    }
    assert!(run.2.iter().all(|block| came.contains(block)), "what a web seed holds up is asked of others");
}

#[test]
fn a_server_that_lacks_the_file_is_not_asked_for_it_again() {
    let mut script = ready(8, 1);
    let run = runs(&mut script).remove(0);
    fail(&mut script, run.1, FetchFault::Missing(FileIndex(0)), None);
    assert_eq!(troubles(&script.effects())[0].0, WebSeedOutcome::GivenUp, "it was the only file");
    script.pass(Duration::from_secs(4_000));
    assert!(runs(&mut script).is_empty());
}

#[test]
fn a_block_that_comes_from_a_peer_first_is_not_waited_for() {
    let mut script = ready(1, 1);
    let run = runs(&mut script).remove(0);
    let peer = script.open_seed();
    for block in script.asked_of(peer) {
        script.block(peer, block, 1);
    }
    let effects = script.effects();
    assert!(effects.iter().any(|e| matches!(e, Effect::CancelFetch { fetch } if *fetch == run.1)), "{effects:?}");
}

#[test]
fn a_limit_makes_no_small_requests() {
    let mut script = with_seeds(64, 1);
    for _ in 0..7 {
        script.credit(0, u64::from(BLOCK) + 13);
    }
    let first = runs(&mut script);
    assert_eq!(first[0].2.len(), 2, "the first run is one piece");
    deliver(&mut script, &first[0]);
    script.written(first[0].2[0].piece.0, &[1, 1]);
    script.effects();
    let mut asked = Vec::new();
    for _ in 0..40 {
        script.credit(0, u64::from(BLOCK) + 13);
        asked.extend(runs(&mut script).into_iter().map(|run| run.2.len()));
    }
    assert!(!asked.is_empty() && asked.iter().all(|&blocks| blocks >= 8), "{asked:?}");
}

#[test]
fn stopping_ends_every_run() {
    let mut script = ready(8, 2);
    let ordered = runs(&mut script).len();
    assert_eq!(ordered, 2);
    script.feed(Event::Stop);
    let effects = script.effects();
    assert_eq!(effects.iter().filter(|e| matches!(e, Effect::CancelFetch { .. })).count(), ordered);
    assert_eq!(script.swarm.progress().web_seeds_fetching, 0);
}

#[test]
fn where_everything_is_here_nothing_is_fetched() {
    let info = info(4, 5);
    let urls = vec!["http://a.example/".to_owned()];
    let mut script = Script::start(info.clone(), true, |config| config.web_seeds = urls);
    script.ready(Bitfield::full(4)).credit(Credit::UNLIMITED, Credit::UNLIMITED);
    script.pass(Duration::from_secs(100));
    assert!(runs(&mut script).is_empty());
    // Until a piece turns out to be lost.
    script.feed(Event::Lost(PieceIndex(2)));
    assert_eq!(runs(&mut script)[0].2[0].piece, PieceIndex(2));
}

#[test]
fn where_nothing_moves_the_reason_names_the_web_seed_and_its_failure() {
    let mut script = ready(8, 1);
    let run = runs(&mut script).remove(0);
    let reason = |script: &Script| {
        let reason = script.swarm.situation(&Surroundings::default()).reason();
        reason.map(|reason| (reason.code(), reason.to_string())).unwrap()
    };
    assert_eq!(
        reason(&script),
        ("web_seed_error", "web seed 0.example does not answer; it is asked again by itself".to_owned())
    );
    fail(&mut script, run.1, FetchFault::Useless, None);
    assert_eq!(reason(&script), ("web_seed_error", "web seed 0.example: the reason".to_owned()));
}

#[test]
fn runs_that_break_together_are_one_failure_and_one_that_is_refused_beside_others_makes_it_one_at_a_time() {
    let mut script = ready(4_000, 1);
    let mut open: Vec<Ordered> = Vec::new();
    // Until it is trusted with several runs at a time.
    while open.len() < 4 {
        for run in std::mem::take(&mut open) {
            script.now = script.now + Duration::from_millis(1);
            deliver(&mut script, &run);
        }
        for effect in script.effects() {
            match effect {
                Effect::Fetch { seed, fetch, blocks } => open.push((seed, fetch, blocks)),
                Effect::Store { piece, blocks, .. } => {
                    script.written(piece.0, &vec![1; blocks.len()]);
                }
                _ => {}
            }
        }
    }
    for run in &open[1..3] {
        fail(&mut script, run.1, FetchFault::Passing, None);
    }
    let told = troubles(&script.effects());
    assert_eq!(told.len(), 1, "{told:?}");
    let WebSeedOutcome::Waits(wait) = told[0].0 else { panic!("it waits") };
    assert!(wait < Duration::from_secs(10), "{wait:?}");
    deliver(&mut script, &open[0]);
    deliver(&mut script, &open[3]);
    script.pass(wait);
    let mut most = 0;
    for _ in 0..20 {
        let again = runs(&mut script);
        most = most.max(again.len());
        for run in &again {
            deliver(&mut script, run);
        }
    }
    assert_eq!(most, 1);
}
