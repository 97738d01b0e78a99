//! One test a row of the rule in `docs/doctor.md`.

use super::*;

fn source(kind: SourceKind, state: SourceState) -> SourceStatus {
    let name = match kind {
        SourceKind::Tracker => "t.example",
        SourceKind::WebSeed => "w.example",
        _ => "",
    };
    SourceStatus { kind, name: name.to_owned(), state }
}

fn failed(kind: SourceKind, error: SourceErrorKind) -> SourceStatus {
    source(kind, SourceState::Failed(SourceError::new(error, "no such torrent")))
}

fn finding(sources: Vec<SourceStatus>) -> Situation {
    Situation { sources, ..Situation::default() }
}

fn connected(peers: u32) -> Situation {
    Situation { stage: Stage::Transfer, peers, ..Situation::default() }
}

#[track_caller]
fn says(situation: &Situation, code: &str, line: &str) {
    let reason = situation.reason().expect("a reason");
    assert_eq!((reason.code(), reason.to_string().as_str()), (code, line));
    assert!(line.chars().count() <= 80, "{line}");
}

use SourceErrorKind as Kind;
use SourceKind::{Dht, Lan, Tracker, WebSeed};
use SourceState::{Answered, Asking, Waiting};

#[test]
fn a_full_disk_comes_before_everything() {
    let situation =
        Situation { disk: Some("cannot write a: disk full".to_owned()), down_limit: Some(0), ..connected(3) };
    says(&situation, "disk_full", "cannot write a: disk full");
    let situation = Situation { disk: Some("a: permission denied".to_owned()), ..situation };
    says(&situation, "disk_error", "a: permission denied");
}

#[test]
fn a_limit_of_nothing_comes_before_peers() {
    let situation = Situation { down_limit: Some(0), ..connected(3) };
    says(&situation, "limit_zero", "the download limit is 0: nothing may come in; raise --down");
    assert!(Situation { down_limit: Some(1), ..connected(3) }.reason() != Some(Reason::LimitZero));
}

#[test]
fn what_is_complete_or_being_checked_has_no_reason() {
    for stage in [Stage::Complete, Stage::Preparing] {
        assert_eq!(Situation { stage, ..Situation::default() }.reason(), None);
    }
}

#[test]
fn connected_peers_without_metadata() {
    let mut situation = Situation { peers: 2, ..Situation::default() };
    says(&situation, "no_metadata", "2 peers, and none has the metadata yet; wait for a full copy");
    situation.offers = 1;
    says(&situation, "metadata_silent", "asked 1 peer for the metadata; none sends it");
}

#[test]
fn pieces_that_no_connected_peer_has_are_named() {
    let missing = Some(Missing { first: PieceIndex(7), nowhere: 3, lacking: 12 });
    let situation = Situation { missing, ..connected(3) };
    let line = "none of 3 peers has piece 7 and 2 more, of 12 missing; wait for a full copy";
    says(&situation, "missing_pieces", line);
    says(&connected(1), "nothing_wanted", "1 peer, and none has a piece that is missing here");
}

#[test]
fn choked_by_all_and_unchoked_without_data() {
    let mut situation = Situation { interesting: 2, ..connected(3) };
    says(&situation, "choked", "2 peers have pieces and let us wait (choked); it goes on by itself");
    situation.unchoking = 1;
    says(&situation, "not_sending", "asked 1 peer for pieces; none sends");
}

#[test]
fn known_peers_that_cannot_be_reached_are_counted_by_how() {
    let mut situation = finding(vec![source(Tracker, Answered(3))]);
    situation.reached = Reached { known: 3, refused: 1, silent: 2, ..Reached::default() };
    says(&situation, "peers_unreachable", "none of 3 known peers can be reached: 1 refused, 2 silent");
    situation.reached = Reached { known: 1, broke: 1, ..Reached::default() };
    says(&situation, "peers_unreachable", "the only known peer cannot be reached: 1 broke off");
    situation.reached = Reached { known: 2, no_route: 2, ..Reached::default() };
    says(&situation, "no_route", "no network route from here: is this computer online?");
}

#[test]
fn all_banned() {
    let mut situation = finding(vec![source(Dht, Answered(2))]);
    situation.reached.banned = 2;
    says(&situation, "all_banned", "all known peers sent bad data and are banned (2); wait for others");
}

#[test]
fn nobody_may_be_asked() {
    let none = "nobody to ask: no tracker, DHT and LAN are off; name a --peer HOST:PORT";
    says(&finding(vec![]), "no_source", none);
    let private = Situation { private: true, ..Situation::default() };
    let line = "private torrent, and it has no tracker: name a peer with --peer HOST:PORT";
    says(&private, "private_without_tracker", line);
    let lan_only = Situation { lan_only: true, ..Situation::default() };
    says(&lan_only, "no_source", "--lan-only and --no-lan leave nobody to ask: name a --peer HOST:PORT");
}

#[test]
fn peers_on_forbidden_networks() {
    let mut situation = finding(vec![source(Tracker, Answered(0))]);
    situation.reached.forbidden = 4;
    let line = "4 peers named, all on private networks; --allow-private-networks if meant";
    says(&situation, "private_networks", line);
    let tracker = finding(vec![failed(Tracker, Kind::Forbidden)]);
    let line = "tracker t.example is on a private network; --allow-private-networks if meant";
    says(&tracker, "private_networks", line);
}

#[test]
fn no_route_is_said_when_every_source_fails_by_it() {
    let offline = finding(vec![failed(Tracker, Kind::NoRoute), failed(Dht, Kind::Dns), source(Lan, Answered(0))]);
    says(&offline, "no_route", "no network route from here: is this computer online?");
    let no_ipv6 = finding(vec![failed(Tracker, Kind::NoRoute), source(Tracker, Answered(0))]);
    assert_eq!(no_ipv6.reason().unwrap().code(), "tracker_nobody");
    let refusal = finding(vec![failed(Tracker, Kind::NoRoute), failed(Tracker, Kind::Refusal)]);
    assert_eq!(refusal.reason().unwrap().code(), "tracker_error");
}

#[test]
fn what_can_be_mended_here_comes_before_what_a_source_says() {
    let line = "DNS fails: t.example has no address; check the network or the name";
    says(&finding(vec![failed(Tracker, Kind::Refusal), failed(Tracker, Kind::Dns)]), "dns", line);
    let line = "DNS fails: no bootstrap name of the DHT has an address; check the network";
    says(&finding(vec![failed(Dht, Kind::Dns)]), "dns", line);
    let line = "tracker t.example: certificate not valid yet; check this computer's clock";
    says(&finding(vec![failed(Tracker, Kind::Tls), failed(Tracker, Kind::Clock)]), "clock", line);
    let line = "tracker t.example: TLS refused: no such torrent";
    says(&finding(vec![failed(Tracker, Kind::Refusal), failed(Tracker, Kind::Tls)]), "tls", line);
}

#[test]
fn what_a_source_says_comes_before_silence_and_nobody() {
    let sources = vec![source(Dht, Answered(0)), source(Tracker, Asking), failed(Tracker, Kind::Refusal)];
    says(&finding(sources), "tracker_error", "tracker t.example: no such torrent");
    let refused = finding(vec![failed(Tracker, Kind::Refused)]);
    says(&refused, "tracker_error", "tracker t.example cannot be reached: connection refused");
    let web = finding(vec![source(Dht, Answered(0)), failed(WebSeed, Kind::Refusal)]);
    says(&web, "web_seed_error", "web seed w.example: no such torrent");
}

#[test]
fn silent_sources() {
    let line = "tracker t.example does not answer; it is asked again by itself";
    for state in [Asking, SourceState::Failed(SourceError::new(Kind::Silent, "no answer within 30 s"))] {
        says(&finding(vec![source(Tracker, state.clone()), source(Dht, Answered(0))]), "tracker_silent", line);
        let line = "the DHT does not answer; does a firewall block UDP? try --dht-bootstrap";
        says(&finding(vec![source(Dht, state), source(Lan, Answered(0))]), "dht_silent", line);
    }
}

#[test]
fn sources_that_know_nobody() {
    let line = "the DHT knows nobody who has it; does anyone share it now?";
    says(&finding(vec![source(Dht, Answered(0)), source(Lan, Answered(0))]), "dht_nobody", line);
    let line = "tracker t.example knows nobody else; does anyone share it now?";
    says(&finding(vec![source(Tracker, Answered(0)), source(Dht, Asking)]), "tracker_nobody", line);
    let mut lan = finding(vec![source(Lan, Answered(0))]);
    says(&lan, "lan_nobody", "nobody on this network has it yet; no tracker, DHT is off");
    lan.lan_only = true;
    says(&lan, "lan_nobody", "nobody on this network has it yet, and --lan-only asks nobody else");
    says(&finding(vec![source(Tracker, Waiting)]), "waiting", "about to ask for peers");
}
