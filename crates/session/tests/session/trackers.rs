//! Sessions that find each other by a tracker.

use crate::fake_tracker::FakeTracker;
use crate::made::{Here, NAME, bytes, no_task_is_left, patiently, torrent, until};
use shoal_metainfo::Format;
use shoal_session::{AddTorrent, Check, Files, TorrentEvent, TorrentSource};
use std::time::{Duration, Instant};

#[tokio::test]
async fn two_sessions_find_each_other_and_say_goodbye() {
    let data = bytes(300_000);
    let torrent = torrent(Format::V1, &data);
    let mut tracker = FakeTracker::start().await;
    let (from, to) = (Here::new().await, Here::new().await);
    std::fs::write(from.folder().join(NAME), &data).unwrap();
    let mut seed = AddTorrent::seed(torrent.clone(), Files::Folder(from.folder().to_path_buf()), Check::Full);
    seed.typed_trackers = vec![tracker.url()];
    let (_seed, _seed_events) = from.add(seed, true).await;
    let asked = patiently(tracker.asked.recv()).await.unwrap();
    assert!(asked.contains("event=started") && asked.contains("left=0&"), "{asked}");
    let mut add = AddTorrent::download(TorrentSource::Torrent(torrent), to.folder());
    add.typed_trackers = vec![tracker.url()];
    let (download, mut events) = to.add(add, false).await;
    let asked = patiently(tracker.asked.recv()).await.unwrap();
    assert!(asked.contains("event=started") && asked.contains("left=300000&"), "{asked}");
    until(&mut events, |event| matches!(event, TorrentEvent::Complete)).await;
    assert!(to.downloaded() == data);
    let asked = patiently(tracker.asked.recv()).await.unwrap();
    assert!(
        asked.contains("event=completed") && asked.contains("left=0&") && asked.contains("downloaded=300000&"),
        "{asked}"
    );
    download.stop().await;
    let asked = patiently(tracker.asked.recv()).await.unwrap();
    assert!(asked.contains("event=stopped"), "{asked}");
    from.session.shutdown().await;
    let asked = patiently(tracker.asked.recv()).await.unwrap();
    assert!(asked.contains("event=stopped") && asked.contains("uploaded=300000&"), "{asked}");
    to.session.shutdown().await;
}

#[tokio::test]
async fn a_torrents_tracker_on_loopback_is_refused_unless_that_is_allowed() {
    let tracker = FakeTracker::start().await;
    let data = bytes(1000);
    let torrent = torrent(Format::V1, &data);
    let mut with_tracker = (*torrent).clone();
    with_tracker.trackers = vec![vec![tracker.url()]];
    let here = Here::new().await;
    std::fs::write(here.folder().join(NAME), &data).unwrap();
    let files = Files::Folder(here.folder().to_path_buf());
    let seed = AddTorrent::seed(with_tracker.clone().into(), files, Check::Full);
    let (_seed, mut events) = here.add(seed, false).await;
    let said = until(&mut events, |event| matches!(event, TorrentEvent::TrackerError { .. })).await;
    assert!(matches!(said, TorrentEvent::TrackerError { reason, .. } if reason.contains("--allow-private-networks")));
    here.session.shutdown().await;
    let mut tracker = tracker;
    assert!(tracker.asked.try_recv().is_err(), "it was not even asked");
    let open = Here::with(|config| config.allow_private_networks = true).await;
    let (_seed, _events) = open.seed(&with_tracker.into(), &data).await;
    assert!(patiently(tracker.asked.recv()).await.is_some());
    open.session.shutdown().await;
}

#[tokio::test]
async fn stopping_waits_two_seconds_for_a_silent_tracker_and_no_longer() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let data = bytes(1000);
    let here = Here::new().await;
    std::fs::write(here.folder().join(NAME), &data).unwrap();
    let files = Files::Folder(here.folder().to_path_buf());
    let mut seed = AddTorrent::seed(torrent(Format::V1, &data), files, Check::Full);
    seed.typed_trackers = vec![format!("http://{}/announce", silent.local_addr().unwrap())];
    let (seed, _events) = here.add(seed, true).await;
    let _held = patiently(silent.accept()).await.unwrap();
    let before = Instant::now();
    seed.stop().await;
    here.session.shutdown().await;
    assert!(before.elapsed() < Duration::from_secs(4), "{:?}", before.elapsed());
    no_task_is_left().await;
}
