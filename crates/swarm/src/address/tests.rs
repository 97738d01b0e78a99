//! The address book over its life: what it keeps, what it tries, and what it drops.

use super::*;

fn addr(n: u32) -> SocketAddr {
    SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + n), 6881))
}

#[test]
fn an_address_is_tried_three_times_in_ten_minutes_and_a_typed_one_more() {
    for (source, most) in [(Source::Pex, 3), (Source::User, 100)] {
        let mut book = AddressBook::new([], false, Rng::new(1));
        book.add(Time::ZERO, source, &[addr(1)]);
        let mut tries = 0;
        for second in 0..590 {
            let now = Time::from_secs(second);
            while let Some(addr) = book.next(now, true, |_| None) {
                tries += 1;
                book.failed(now, addr);
            }
            book.check_invariants();
        }
        assert!(tries <= most && tries >= 3, "{source:?}: {tries}");
        assert_eq!(book.next(Time::from_secs(700), true, |_| None), Some(addr(1)));
    }
}

#[test]
fn a_flood_of_addresses_is_bounded_and_spares_what_the_user_typed() {
    let mut book = AddressBook::new([], false, Rng::new(1));
    book.add(Time::ZERO, Source::User, &[addr(0)]);
    for n in 1..200_000 {
        book.add(Time::ZERO, Source::Pex, &[addr(n)]);
    }
    book.check_invariants();
    assert_eq!(book.next(Time::ZERO, true, |_| None), Some(addr(0)));
}

#[test]
fn what_cannot_be_a_peer_is_left_out() {
    let mut book = AddressBook::new([], false, Rng::new(1));
    let bad = ["0.0.0.0:1", "224.0.0.1:6881", "255.255.255.255:6881", "10.0.0.1:0", "10.0.0.1:80", "[ff02::1]:6881"];
    book.add(Time::ZERO, Source::Dht, &bad.map(|text| text.parse().unwrap()));
    assert_eq!(book.len(), 0);
    book.add(Time::ZERO, Source::Tracker, &["10.0.0.1:80".parse().unwrap()]);
    assert_eq!(book.len(), 1);
}

#[test]
fn a_banned_address_is_never_dialed_again() {
    let mut book = AddressBook::new([], false, Rng::new(1));
    book.add(Time::ZERO, Source::User, &[addr(1)]);
    assert_eq!(book.next(Time::ZERO, true, |_| None), Some(addr(1)));
    book.never(addr(1));
    book.disconnected(Time::ZERO, addr(1), true);
    book.add(Time::ZERO, Source::User, &[addr(1)]);
    assert_eq!(book.next(Time::from_secs(10_000), true, |_| None), None);
    book.check_invariants();
}

#[test]
fn what_was_pushed_out_is_not_dialed_more_often_for_coming_back() {
    let mut book = AddressBook::new([], false, Rng::new(1));
    let victim = addr(1);
    let mut tries = 0;
    let mut named = 2;
    for second in 0..599 {
        let now = Time::from_secs(second);
        book.add(now, Source::Pex, &[victim]);
        while let Some(dialed) = book.next(now, true, |_| None) {
            tries += u32::from(dialed == victim);
            book.failed(now, dialed);
        }
        // Others push out who failed most often.
        for _ in 0..20 {
            named += 1;
            book.add(now, Source::Pex, &[addr(named)]);
        }
        book.check_invariants();
    }
    assert!(tries <= MAX_TRIES, "{tries} tries");
}

#[test]
fn a_host_is_dialed_at_few_ports_and_a_local_one_at_more() {
    for (ip, most) in [("5.6.7.8", 8), ("10.0.0.1", 64)] {
        let mut book = AddressBook::new([], false, Rng::new(1));
        let all: Vec<SocketAddr> = (2_000..10_000).map(|port| SocketAddr::new(ip.parse().unwrap(), port)).collect();
        book.add(Time::ZERO, Source::Dht, &all);
        book.check_invariants();
        assert_eq!(book.len(), most);
    }
}

#[test]
fn who_names_much_or_only_the_dead_is_not_listened_to() {
    let namer = "6.6.6.6".parse().unwrap();
    let mut book = AddressBook::new([], false, Rng::new(1));
    (0..1_000).for_each(|n| book.add_named(Time::ZERO, namer, addr(n)));
    assert_eq!(book.len(), bounds::MAX_NAMED as usize);
    let mut now = Time::ZERO;
    for _ in 0..50 {
        let dialed = book.next(now, true, |_| None).unwrap();
        book.failed(now, dialed);
        now = now + Duration::from_millis(1);
    }
    // Others are named meanwhile.
    book.add(now, Source::Tracker, &(1_000..2_700).map(addr).collect::<Vec<_>>());
    book.check_invariants();
    let before = book.len();
    book.add_named(now, namer, addr(5_000));
    assert!(book.len() == before && !book.known.contains_key(&addr(5_000)));
    book.add_named(now, "7.7.7.7".parse().unwrap(), addr(5_000));
    assert!(book.known.contains_key(&addr(5_000)));
}

#[test]
fn our_own_addresses_are_never_dialed_and_of_equals_the_best_match_is_first() {
    let ours: SocketAddr = "123.213.32.10:6881".parse().unwrap();
    let mut book = AddressBook::new([ours], false, Rng::new(1));
    book.add(Time::ZERO, Source::User, &[ours]);
    assert_eq!(book.len(), 0);
    let others: Vec<SocketAddr> =
        ["98.76.54.32:1", "123.213.32.234:1", "9.9.9.9:1"].map(|a| a.parse().unwrap()).to_vec();
    book.add(Time::ZERO, Source::Tracker, &others);
    let mut order: Vec<SocketAddr> = others.clone();
    order.sort_by_key(|addr| std::cmp::Reverse(priority(ours, *addr)));
    let dialed: Vec<SocketAddr> = std::iter::from_fn(|| book.next(Time::ZERO, true, |_| Some(ours))).collect();
    assert_eq!(dialed, order);
}

#[test]
fn a_private_torrent_forgets_what_others_than_trackers_named() {
    let mut book = AddressBook::new([], false, Rng::new(1));
    book.add(Time::ZERO, Source::Dht, &[addr(1), addr(2)]);
    book.add(Time::ZERO, Source::Lan, &[addr(3)]);
    book.add(Time::ZERO, Source::Tracker, &[addr(4)]);
    let dialed: Vec<_> = std::iter::from_fn(|| book.next(Time::ZERO, true, |_| None)).take(1).collect();
    assert_eq!(dialed, [addr(3)]);
    book.forget_public(Time::ZERO);
    assert!(!book.wants_dial(addr(3)), "a dial that has not gone out yet does not");
    book.failed(Time::ZERO, addr(3));
    book.add(Time::ZERO, Source::Pex, &[addr(5)]);
    assert_eq!(book.len(), 1);
    book.add(Time::ZERO, Source::Tracker, &[addr(2)]);
    book.check_invariants();
    let later = Time::from_secs(700);
    let mut dialed: Vec<_> = std::iter::from_fn(|| book.next(later, true, |_| None)).collect();
    dialed.sort();
    assert_eq!(dialed, [addr(2), addr(4)]);
}

#[test]
fn near_only_takes_local_addresses_and_what_the_user_typed() {
    let mut book = AddressBook::new([], true, Rng::new(1));
    let far: SocketAddr = "9.9.9.9:6881".parse().unwrap();
    for source in [Source::Link, Source::Lan, Source::Tracker, Source::Dht, Source::Pex] {
        book.add(Time::ZERO, source, &[far, "[2600::1]:6881".parse().unwrap()]);
    }
    assert_eq!(book.len(), 0);
    book.add(Time::ZERO, Source::Lan, &[addr(1), "[fe80::1]:6881".parse().unwrap()]);
    book.add(Time::ZERO, Source::User, &[far]);
    assert_eq!(book.len(), 3);
}

#[test]
fn a_flood_of_named_addresses_is_bounded_in_number() {
    let mut book = AddressBook::new([], false, Rng::new(1));
    for n in 0..200_000_u32 {
        let namer = IpAddr::from(std::net::Ipv4Addr::from(0x2000_0000 + n % 5_000));
        book.add_named(Time::ZERO, namer, addr(n));
    }
    book.check_invariants();
    assert_eq!(book.len(), MAX_KNOWN);
}
