//! Downloads from web seeds (BEP 19), good ones and bad ones (reliability.md D5).

use crate::fake_web::{FakeWeb, Manner};
use crate::made::{Here, bytes, torrent, until};
use shoal_metainfo::{Format, Magnet, Torrent};
use shoal_session::{AddTorrent, Mode, TorrentEvent, TorrentEvents, TorrentHandle, TorrentSource, WebSeedOutcome};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const LENGTH: usize = 3_000_000;

fn with_seeds(torrent: &Torrent, urls: Vec<String>) -> TorrentSource {
    TorrentSource::Torrent(Arc::new(Torrent { web_seeds: urls, ..torrent.clone() }))
}

/// A session that may ask servers on loopback.
async fn open() -> Here {
    Here::with(|config| config.allow_private_networks = true).await
}

async fn trouble(events: &mut TorrentEvents) -> (WebSeedOutcome, String) {
    match until(events, |event| matches!(event, TorrentEvent::WebSeedTrouble { .. })).await {
        TorrentEvent::WebSeedTrouble { outcome, reason, .. } => (outcome, reason),
        other => panic!("{other:?}"),
    }
}

async fn complete(events: &mut TorrentEvents) {
    until(events, |event| matches!(event, TorrentEvent::Complete)).await;
}

async fn add(here: &Here, source: TorrentSource) -> (TorrentHandle, TorrentEvents) {
    here.add(AddTorrent::download(source, here.folder()), false).await
}

#[tokio::test]
async fn a_web_seed_alone_gives_everything_on_few_connections() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let data = bytes(LENGTH);
        let web = FakeWeb::start(Manner::Honest, &data).await;
        let here = open().await;
        let (handle, mut events) = add(&here, with_seeds(&torrent(format, &data), vec![web.url()])).await;
        complete(&mut events).await;
        assert!(here.downloaded() == data, "{format}");
        handle.stop().await;
        let progress = handle.progress().borrow().clone();
        assert_eq!((progress.downloaded, progress.wasted), (LENGTH as u64, 0));
        assert!(web.connections.load(Ordering::Relaxed) <= 4, "{:?} connections", web.connections);
        here.session.shutdown().await;
    }
}

#[tokio::test]
async fn a_server_that_closes_each_time_and_one_that_redirects_serve_as_well() {
    let data = bytes(LENGTH);
    let closes = FakeWeb::start(Manner::Closes, &data).await;
    let redirects = FakeWeb::start(Manner::Redirects(closes.url()), &data).await;
    let here = open().await;
    let (_handle, mut events) = add(&here, with_seeds(&torrent(Format::V1, &data), vec![redirects.url()])).await;
    complete(&mut events).await;
    assert!(here.downloaded() == data);
    let (hops, served) = (redirects.requests.load(Ordering::Relaxed), closes.requests.load(Ordering::Relaxed));
    assert!(hops <= 4 && served > hops, "where it leads is remembered: {hops} redirects, {served} answers");
    here.session.shutdown().await;
}

#[tokio::test]
async fn each_bad_web_seed_is_told_with_its_reason_and_a_good_one_gives_all() {
    let data = bytes(LENGTH);
    for (manner, outcome, reason) in [
        (Manner::Lies, Some(WebSeedOutcome::Banned), "corrupt"),
        (Manner::IgnoresRanges, Some(WebSeedOutcome::GivenUp), "ignores ranges"),
        (Manner::Breaks, None, "too early"),
        (Manner::Loops, Some(WebSeedOutcome::GivenUp), "too many redirects"),
        (Manner::Redirects("ftp://a.example/x".to_owned()), Some(WebSeedOutcome::GivenUp), "ftp"),
        (Manner::Fails("404 Not Found"), Some(WebSeedOutcome::GivenUp), "404"),
        (Manner::Fails("403 Forbidden"), Some(WebSeedOutcome::GivenUp), "403"),
        (Manner::Fails("500 Oh"), None, "500"),
        (Manner::Fails("206 Partial"), Some(WebSeedOutcome::GivenUp), "does not say which"),
        (Manner::Fails("200 OK\r\nContent-Encoding: gzip"), Some(WebSeedOutcome::GivenUp), "compresses"),
    ] {
        let bad = FakeWeb::start(manner.clone(), &data).await;
        let here = open().await;
        let torrent = torrent(Format::V1, &data);
        let (_handle, mut events) = add(&here, with_seeds(&torrent, vec![bad.url()])).await;
        let told = trouble(&mut events).await;
        match outcome {
            Some(outcome) => assert_eq!(told.0, outcome, "{manner:?}: {}", told.1),
            None => assert!(matches!(told.0, WebSeedOutcome::Waits(_)), "{manner:?}: {told:?}"),
        }
        assert!(told.1.contains(reason), "{manner:?}: {}", told.1);
        here.session.shutdown().await;
        let good = FakeWeb::start(Manner::Honest, &data).await;
        let here = open().await;
        let (_handle, mut events) = add(&here, with_seeds(&torrent, vec![bad.url(), good.url()])).await;
        complete(&mut events).await;
        assert!(here.downloaded() == data, "{manner:?}");
        here.session.shutdown().await;
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_where_the_range_ends() {
    let data = bytes(LENGTH);
    let web = FakeWeb::start(Manner::Endless, &data).await;
    let here = open().await;
    let (_handle, mut events) = add(&here, with_seeds(&torrent(Format::V1, &data), vec![web.url()])).await;
    complete(&mut events).await;
    assert!(here.downloaded() == data);
    here.session.shutdown().await;
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again() {
    let data = bytes(100_000);
    let web = FakeWeb::start(Manner::BusyOnce, &data).await;
    let here = open().await;
    let (_handle, mut events) = add(&here, with_seeds(&torrent(Format::V1, &data), vec![web.url()])).await;
    let (outcome, reason) = trouble(&mut events).await;
    assert!(matches!(outcome, WebSeedOutcome::Waits(wait) if wait >= Duration::from_secs(1)), "{outcome:?}");
    assert!(reason.contains("503") && reason.contains("busy"), "{reason}");
    complete(&mut events).await;
    here.session.shutdown().await;
}

#[tokio::test]
async fn stalling_and_trickling_servers_are_given_up_after_thirty_seconds() {
    let data = bytes(LENGTH);
    let torrent = torrent(Format::V1, &data);
    let start = Instant::now();
    let reason = async |manner| {
        let web = FakeWeb::start(manner, &data).await;
        let here = open().await;
        let (_handle, mut events) = add(&here, with_seeds(&torrent, vec![web.url()])).await;
        let told = trouble(&mut events).await;
        here.session.shutdown().await;
        told
    };
    let ((stalled, said), (trickled, _)) = tokio::join!(reason(Manner::Stalls), reason(Manner::Trickles));
    assert!(matches!((stalled, trickled), (WebSeedOutcome::Waits(_), WebSeedOutcome::Waits(_))));
    assert!(said.contains("30 s"), "{said}");
    assert!(start.elapsed() < Duration::from_secs(35), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_web_seed_that_stalls_holds_up_no_download_from_peers() {
    let data = bytes(LENGTH);
    let torrent = torrent(Format::V1, &data);
    let web = FakeWeb::start(Manner::Stalls, &data).await;
    let (from, here) = (Here::new().await, open().await);
    let (_seed, _seed_events) = from.seed(&torrent, &data).await;
    let add = AddTorrent::download(with_seeds(&torrent, vec![web.url()]), here.folder()).with_peer(from.addr());
    let start = Instant::now();
    let (_handle, mut events) = here.add(add, false).await;
    complete(&mut events).await;
    assert!(here.downloaded() == data && start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    here.session.shutdown().await;
    from.session.shutdown().await;
}

#[tokio::test]
async fn a_web_seed_on_loopback_is_refused_unless_that_is_allowed() {
    let data = bytes(1_000);
    let web = FakeWeb::start(Manner::Honest, &data).await;
    let here = Here::new().await;
    let (_handle, mut events) = add(&here, with_seeds(&torrent(Format::V1, &data), vec![web.url()])).await;
    let (outcome, reason) = trouble(&mut events).await;
    assert_eq!(outcome, WebSeedOutcome::GivenUp);
    assert!(reason.contains("--allow-private-networks"), "{reason}");
    assert_eq!(web.connections.load(Ordering::Relaxed), 0, "it was not even connected to");
    here.session.shutdown().await;
}

#[tokio::test]
async fn a_links_web_seeds_are_used_once_peers_gave_the_metadata() {
    let data = bytes(LENGTH);
    let torrent = torrent(Format::V1, &data);
    let web = FakeWeb::start(Manner::Honest, &data).await;
    let (from, here) = (Here::with(|config| config.up_limit_bytes_per_s = Some(20_000)).await, open().await);
    let (_seed, _seed_events) = from.seed(&torrent, &data).await;
    let mut magnet = Magnet::new(torrent.info.hashes());
    magnet.web_seeds = vec![web.url()];
    let add = AddTorrent::download(TorrentSource::Magnet(magnet), here.folder()).with_peer(from.addr());
    let (_handle, mut events) = here.add(add, false).await;
    complete(&mut events).await;
    assert!(here.downloaded() == data);
    assert!(web.requests.load(Ordering::Relaxed) > 0);
    here.session.shutdown().await;
    from.session.shutdown().await;
}

#[tokio::test]
async fn a_limit_holds_for_web_seeds_too() {
    let data = bytes(2_000_000);
    let web = FakeWeb::start(Manner::Honest, &data).await;
    let here = Here::with(|config| {
        config.allow_private_networks = true;
        config.down_limit_bytes_per_s = Some(1_000_000);
    })
    .await;
    let (_handle, mut events) = add(&here, with_seeds(&torrent(Format::V1, &data), vec![web.url()])).await;
    until(&mut events, |event| matches!(event, TorrentEvent::Piece(_))).await;
    let start = Instant::now();
    complete(&mut events).await;
    let rate = 2_000_000.0 / start.elapsed().as_secs_f64();
    assert!(rate < 1_300_000.0 && rate > 700_000.0, "{rate}");
    here.session.shutdown().await;
}

#[tokio::test]
async fn stopping_in_the_middle_leaves_nothing_behind() {
    let data = bytes(LENGTH);
    let web = FakeWeb::start(Manner::Honest, &data).await;
    let stalls = FakeWeb::start(Manner::Stalls, &data).await;
    let here = Here::with(|config| {
        config.allow_private_networks = true;
        config.down_limit_bytes_per_s = Some(500_000);
    })
    .await;
    let torrent = torrent(Format::V1, &data);
    let source = with_seeds(&torrent, vec![stalls.url(), web.url()]);
    let (handle, mut events) = add(&here, source.clone()).await;
    until(&mut events, |event| matches!(event, TorrentEvent::Piece(_))).await;
    let start = Instant::now();
    handle.stop().await;
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    // And the rest another time.
    here.session.set_limits(None, None);
    let mut again = AddTorrent::download(source, here.folder());
    assert!(matches!(again.mode, Mode::Download { .. }));
    again.peers.clear();
    let (_handle, mut events) = here.add(again, false).await;
    complete(&mut events).await;
    assert!(here.downloaded() == data);
    here.session.shutdown().await;
    drop((web, stalls));
}
