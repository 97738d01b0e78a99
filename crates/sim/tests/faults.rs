//! Fault seeds: what must hold holds whatever goes wrong, and when nothing goes wrong any more everybody completes.

use shoal_sim::faults;

/// Seeds of a CI run (the issue of the laboratory: 200; the long run is `shoal sim faults --seeds 0..10000`).
const SEEDS: u64 = 200;

#[test]
fn two_hundred_storms_violate_nothing_and_after_them_all_complete() {
    let threads = 2;
    let problems: Vec<String> = std::thread::scope(|scope| {
        let part = |first: u64| {
            scope.spawn(move || {
                let outcomes = (first..SEEDS).step_by(threads).map(faults::run);
                outcomes.filter_map(|outcome| Some(format!("seed {}: {}", outcome.seed, outcome.problem?))).collect()
            })
        };
        let parts: Vec<_> = (0..threads as u64).map(part).collect();
        parts.into_iter().flat_map(|part| -> Vec<String> { part.join().unwrap() }).collect()
    });
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn seeds_that_found_bugs_find_them_no_more() {
    // docs/faults.md, "Bugs that it found".
    for seed in [63, 384, 389, 1144, 2545, 3844, 4701, 9465] {
        assert_eq!(faults::run(seed).problem, None, "seed {seed}");
    }
}

#[test]
fn one_seed_gives_one_outcome() {
    for seed in 1_000..1_010 {
        assert_eq!(faults::run(seed), faults::run(seed), "seed {seed}");
    }
}

#[test]
fn every_named_scenario_holds() {
    let problems: Vec<String> = faults::scenarios::all()
        .iter()
        .filter_map(|named| Some(format!("{}: {}", named.name, named.run().err()?)))
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");
}
