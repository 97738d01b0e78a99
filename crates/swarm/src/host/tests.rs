//! Claims about the host, in virtual time.

use super::bucket::LOT;
use super::*;
use proptest::prelude::*;
use std::time::Duration;

fn host(up: Option<u64>, down: Option<u64>) -> Host {
    Host::new(HostConfig { up, down, max_connections: 500 })
}

fn feed(host: &mut Host, now: Time, event: HostEvent) -> Vec<HostEffect> {
    let mut out = Effects::new();
    host.handle(now, event, &mut out);
    host.check_invariants();
    out.drain().collect()
}

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn credit(effects: &[HostEffect], of: SwarmKey) -> Credit {
    let credits = effects.iter().filter_map(|effect| match *effect {
        HostEffect::Credit(swarm, credit) if swarm == of => Some(credit),
        _ => None,
    });
    credits.fold(Credit::default(), |sum, credit| Credit { up: sum.up + credit.up, down: sum.down + credit.down })
}

/// The blocks that greedy swarms send, with their moments, if the driver wakes the host up to `late` after its deadline.
fn greedy(limit: u64, swarms: u32, secs: u64, late: Duration) -> (Vec<(Time, u64)>, u32) {
    let mut host = host(Some(limit), None);
    // What peers wait for fills a tenth of a second, as their pipelines do.
    let wish = Demand { up: (limit / 10).max(10 * LOT), down: 0, interested: 5 };
    let mut held = vec![0_u64; swarms as usize];
    let mut sent = Vec::new();
    let (mut now, mut wakes) = (Time::ZERO, 0);
    for swarm in (0..swarms).map(SwarmKey) {
        feed(&mut host, now, HostEvent::Joined(swarm));
        feed(&mut host, now, HostEvent::Demand(swarm, wish));
    }
    while now < Time::from_secs(secs) {
        now = host.deadline().expect("somebody waits").max(now) + late;
        wakes += 1;
        let mut effects = feed(&mut host, now, HostEvent::Wake);
        while !effects.is_empty() {
            let mut next = Vec::new();
            for effect in effects {
                let HostEffect::Credit(swarm, credit) = effect else { continue };
                let held = &mut held[swarm.0 as usize];
                *held += credit.up;
                while *held >= LOT {
                    *held -= LOT;
                    sent.push((now, LOT));
                }
                next.extend(feed(&mut host, now, HostEvent::Demand(swarm, wish)));
            }
            effects = next;
        }
    }
    (sent, wakes)
}

fn holds_within_two_percent(limit: u64, swarms: u32, late: Duration) -> u32 {
    let window = Duration::from_secs(10);
    let (sent, wakes) = greedy(limit, swarms, 35, late);
    let (mut end, mut sum) = (0, 0_u64);
    let right = 10 * limit;
    for &(start, bytes) in &sent {
        while end < sent.len() && sent[end].0 < start + window {
            sum += sent[end].1;
            end += 1;
        }
        if end == sent.len() {
            break;
        }
        assert!(sum.abs_diff(right) * 50 <= right, "{sum} of {right} from {start:?}");
        sum -= bytes;
    }
    wakes
}

#[test]
fn a_limit_holds_within_two_percent_over_any_ten_seconds() {
    for limit in [50_000, 333_000, 5_000_000, 200_000_000] {
        for swarms in [1, 10] {
            let wakes = holds_within_two_percent(limit, swarms, Duration::from_micros(700));
            assert!(wakes <= 35 * 60, "{wakes} wakes at {limit}");
        }
    }
}

#[test]
fn a_limit_holds_after_a_rest() {
    let mut host = host(None, Some(50_000));
    let swarm = SwarmKey(1);
    feed(&mut host, Time::ZERO, HostEvent::Joined(swarm));
    let wish = HostEvent::Demand(swarm, Demand { up: 0, down: 50 * LOT, interested: 0 });
    let (mut now, mut got) = (Time::from_secs(1_000), 0);
    while now < Time::from_secs(1_010) {
        // A swarm says anew what it wants after each credit.
        loop {
            let credit = credit(&feed(&mut host, now, wish), swarm).down;
            got += credit;
            if credit == 0 {
                break;
            }
        }
        now = host.deadline().expect("somebody waits");
    }
    assert!((490_000..=510_000).contains(&got), "{got}");
}

#[test]
fn nobody_gets_more_than_it_asked_for_and_all_get_the_same() {
    let mut host = host(Some(1_000_000), None);
    for swarm in [1, 2, 3].map(SwarmKey) {
        feed(&mut host, Time::ZERO, HostEvent::Joined(swarm));
    }
    let mut got = [0_u64; 4];
    let mut now = Time::ZERO;
    let wishes = [(1, 1_000), (2, 90 * LOT), (3, 90 * LOT)];
    while now < Time::from_secs(10) {
        for (swarm, up) in wishes {
            let swarm = SwarmKey(swarm);
            let effects = feed(&mut host, now, HostEvent::Demand(swarm, Demand { up, down: 0, interested: 1 }));
            for (number, got) in got.iter_mut().enumerate() {
                *got += credit(&effects, SwarmKey(number as u32)).up;
            }
            assert!(credit(&effects, SwarmKey(1)).up <= 1_000);
        }
        now = now + Duration::from_millis(5);
    }
    assert!(got[2].abs_diff(got[3]) <= 4 * LOT, "{got:?}");
    assert!(got[1] >= 100_000 && got[1..].iter().sum::<u64>() >= 9_800_000, "{got:?}");
}

#[test]
fn without_a_limit_credit_comes_once_and_nobody_is_woken() {
    let mut host = host(None, None);
    let effects = feed(&mut host, Time::ZERO, HostEvent::Joined(SwarmKey(1)));
    let all = Credit { up: Credit::UNLIMITED, down: Credit::UNLIMITED };
    assert_eq!(effects[0], HostEffect::Credit(SwarmKey(1), all));
    let demand = Demand { up: 5, down: 5, interested: 0 };
    assert!(feed(&mut host, Time::from_secs(1), HostEvent::Demand(SwarmKey(1), demand)).is_empty());
    assert_eq!(host.deadline(), None);
}

#[test]
fn a_limit_that_is_lifted_lets_all_through_and_a_limit_of_nothing_nothing() {
    let mut host = host(Some(0), None);
    let swarm = SwarmKey(1);
    feed(&mut host, Time::ZERO, HostEvent::Joined(swarm));
    feed(&mut host, Time::ZERO, HostEvent::Demand(swarm, Demand { up: LOT, down: 0, interested: 0 }));
    assert_eq!(host.deadline(), None);
    assert!(feed(&mut host, Time::from_secs(99), HostEvent::Wake).is_empty());
    let effects = feed(&mut host, Time::from_secs(100), HostEvent::Limits { up: None, down: None });
    assert_eq!(credit(&effects, swarm), Credit { up: Credit::UNLIMITED, down: 0 });
}

fn dials(effects: &[HostEffect]) -> Vec<SwarmKey> {
    let dials = effects.iter().filter_map(|effect| match effect {
        HostEffect::Dial(swarm, _) => Some(*swarm),
        _ => None,
    });
    dials.collect()
}

#[test]
fn dials_go_out_by_turns_within_the_bound_on_half_open_ones() {
    let mut host = host(None, None);
    let mut out = Vec::new();
    for swarm in [1, 2].map(SwarmKey) {
        feed(&mut host, Time::ZERO, HostEvent::Joined(swarm));
        for port in 1..=60 {
            out.extend(dials(&feed(&mut host, Time::ZERO, HostEvent::DialWanted(swarm, addr(port)))));
        }
    }
    assert_eq!(out.len(), MAX_HALF_OPEN);
    let mut later = Vec::new();
    for _ in 0..20 {
        later.extend(dials(&feed(&mut host, Time::ZERO, HostEvent::DialEnded(SwarmKey(1)))));
    }
    assert_eq!(later.iter().filter(|&&swarm| swarm == SwarmKey(2)).count(), 10, "{later:?}");
    // What a swarm had under way ends with it.
    let freed = dials(&feed(&mut host, Time::ZERO, HostEvent::Left(SwarmKey(1))));
    assert!(!freed.is_empty() && freed.iter().all(|&swarm| swarm == SwarmKey(2)));
}

/// Lets these swarms want a hundred connections more.
fn want(host: &mut Host, swarms: std::ops::Range<u32>) -> Vec<HostEffect> {
    let wishes = swarms.flat_map(|swarm| (1..=100).map(move |port| HostEvent::DialWanted(SwarmKey(swarm), addr(port))));
    wishes.flat_map(|wish| feed(host, Time::ZERO, wish)).collect()
}

/// Lets every dial become a connection; `held` is how many each swarm has.
fn connect(host: &mut Host, held: &mut BTreeMap<SwarmKey, usize>, mut effects: Vec<HostEffect>) {
    while let Some(effect) = effects.pop() {
        let HostEffect::Dial(swarm, _) = effect else { continue };
        *held.entry(swarm).or_default() += 1;
        effects.extend(feed(host, Time::ZERO, HostEvent::Opened(swarm)));
        effects.extend(feed(host, Time::ZERO, HostEvent::DialEnded(swarm)));
    }
}

#[test]
fn torrents_that_came_first_leave_connections_for_one_that_comes_late() {
    let (mut host, mut held) = (host(None, None), BTreeMap::new());
    for swarm in (0..6).map(SwarmKey) {
        feed(&mut host, Time::ZERO, HostEvent::Joined(swarm));
    }
    let dials = want(&mut host, 0..6);
    connect(&mut host, &mut held, dials);
    // 450 may be dialed. Those that came first had all of them, and the seventh none.
    assert!(held.values().all(|&count| (59..=93).contains(&count)), "{held:?}");
    let late = SwarmKey(6);
    feed(&mut host, Time::ZERO, HostEvent::Joined(late));
    let dials = want(&mut host, 6..7);
    connect(&mut host, &mut held, dials);
    assert!(held[&late] >= 29, "{held:?}");
    // As others lose theirs it comes nearer to them.
    for other in (0..24).map(|turn| SwarmKey(turn % 6)) {
        let dials = feed(&mut host, Time::ZERO, HostEvent::Closed(other));
        connect(&mut host, &mut held, dials);
    }
    assert!(held[&late] >= 40, "{held:?}");
}

/// Bytes a second that each of these swarms gets of an upload limit, by how many peers it has that take `each` a second.
fn upload_shares(limit: u64, swarms: &[(u32, u64)]) -> Vec<u64> {
    const SECONDS: u64 = 30;
    let mut host = host(Some(limit), None);
    let mut waiting = vec![0_u64; swarms.len()];
    let mut got = vec![0_u64; swarms.len()];
    for number in 0..swarms.len() {
        feed(&mut host, Time::ZERO, HostEvent::Joined(SwarmKey(number as u32)));
    }
    let mut now = Time::ZERO;
    while now < Time::from_secs(SECONDS) {
        now = now + Duration::from_millis(10);
        for (number, &(peers, each)) in swarms.iter().enumerate() {
            // Each peer asks for what its line takes, and keeps a pipeline of 20 blocks at most.
            let most = u64::from(peers) * 20 * LOT;
            waiting[number] = (waiting[number] + u64::from(peers) * each / 100).min(most);
            let demand = Demand { up: waiting[number], down: 0, interested: peers };
            for effect in feed(&mut host, now, HostEvent::Demand(SwarmKey(number as u32), demand)) {
                if let HostEffect::Credit(swarm, credit) = effect {
                    let place = swarm.0 as usize;
                    got[place] += credit.up;
                    waiting[place] -= credit.up.min(waiting[place]);
                }
            }
        }
    }
    got.into_iter().map(|bytes| bytes / SECONDS).collect()
}

#[test]
fn a_torrent_with_many_peers_does_not_starve_one_with_few() {
    const MB: u64 = 1_000_000;
    // One peer that takes all, beside twenty that do: half each.
    let shares = upload_shares(MB, &[(1, 10 * MB), (20, 10 * MB)]);
    assert!(shares.iter().all(|share| (480_000..=510_000).contains(share)), "{shares:?}");
    // A leech that gives 100 kB/s to its four peers beside a busy seed with fifty: it gives all of that, and the seed the rest.
    let shares = upload_shares(MB, &[(4, 25_000), (50, MB)]);
    assert!((95_000..=101_000).contains(&shares[0]) && shares[1] >= 880_000, "{shares:?}");
    // Beside nine busy seeds, a tenth is there for it.
    let mut swarms = vec![(4, 25_000)];
    swarms.extend([(50, MB); 9]);
    let shares = upload_shares(MB, &swarms);
    assert!((93_000..=101_000).contains(&shares[0]), "{shares:?}");
}

#[test]
fn a_withdrawn_dial_is_not_made() {
    let mut host = host(None, None);
    let swarm = SwarmKey(1);
    feed(&mut host, Time::ZERO, HostEvent::Joined(swarm));
    for port in 1..=41 {
        feed(&mut host, Time::ZERO, HostEvent::DialWanted(swarm, addr(port)));
    }
    feed(&mut host, Time::ZERO, HostEvent::DialWithdrawn(swarm, addr(41)));
    assert!(feed(&mut host, Time::ZERO, HostEvent::DialEnded(swarm)).is_empty());
}

#[test]
fn some_room_is_kept_for_those_who_dial_us_and_a_full_process_does_not_accept() {
    let mut host = Host::new(HostConfig { up: None, down: None, max_connections: 20 });
    let swarm = SwarmKey(1);
    feed(&mut host, Time::ZERO, HostEvent::Joined(swarm));
    let mut dialed = 0;
    for port in 1..=30 {
        dialed += dials(&feed(&mut host, Time::ZERO, HostEvent::DialWanted(swarm, addr(port)))).len();
    }
    assert_eq!(dialed, 18);
    assert!(feed(&mut host, Time::ZERO, HostEvent::Opened(swarm)).is_empty());
    assert_eq!(feed(&mut host, Time::ZERO, HostEvent::Opened(swarm)), [HostEffect::Accepting(false)]);
    assert_eq!(feed(&mut host, Time::ZERO, HostEvent::Closed(swarm)), [HostEffect::Accepting(true)]);
}

#[test]
fn upload_slots_follow_interest_and_never_fall_below_four() {
    let mut host = host(Some(600_000), None);
    let mut slots = BTreeMap::new();
    let mut tell = |event| {
        for effect in feed(&mut host, Time::ZERO, event) {
            if let HostEffect::UploadSlots(swarm, count) = effect {
                slots.insert(swarm.0, count);
            }
        }
        slots.clone()
    };
    let interested = |interested| Demand { interested, ..Demand::default() };
    tell(HostEvent::Joined(SwarmKey(1)));
    tell(HostEvent::Joined(SwarmKey(2)));
    tell(HostEvent::Demand(SwarmKey(1), interested(90)));
    tell(HostEvent::Demand(SwarmKey(2), interested(10)));
    let told = tell(HostEvent::Demand(SwarmKey(2), interested(40)));
    assert_eq!(told, BTreeMap::from([(1, 20), (2, 9)]));
    let told = tell(HostEvent::Limits { up: Some(10_000), down: None });
    assert_eq!(told, BTreeMap::from([(1, 4), (2, 4)]));
}

proptest! {
    #[test]
    fn what_is_given_never_exceeds_the_rate_and_its_burst(limit in 1_u64..50_000_000,
                                                           steps in prop::collection::vec((0_u32..4, 0_u64..2_000_000, 0_u64..200_000), 1..200)) {
        let mut host = host(Some(limit), None);
        for swarm in (0..4).map(SwarmKey) {
            feed(&mut host, Time::ZERO, HostEvent::Joined(swarm));
        }
        let (mut now, mut given, mut wanted) = (Time::ZERO, 0_u128, [0_u64; 4]);
        for (swarm, up, pause) in steps {
            now = now + Duration::from_micros(pause);
            wanted[swarm as usize] = up;
            for effect in feed(&mut host, now, HostEvent::Demand(SwarmKey(swarm), Demand { up, down: 0, interested: 0 })) {
                if let HostEffect::Credit(swarm, credit) = effect {
                    prop_assert!(credit.up <= wanted[swarm.0 as usize] && credit.down == 0);
                    wanted[swarm.0 as usize] = 0;
                    given += u128::from(credit.up);
                }
            }
            prop_assert!(given * 1_000_000 <= u128::from(limit) * u128::from(now.as_micros()));
            prop_assert!(host.deadline().is_none_or(|at| at >= now), "what could be given was given");
        }
    }
}
