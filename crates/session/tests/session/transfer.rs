//! Two sessions and a torrent.

use crate::fake_peer::FakePeer;
use crate::made::{Here, NAME, PIECE_LENGTH, bytes, no_task_is_left, patiently, torrent, until};
use shoal_metainfo::{Format, InfoHashes, Magnet};
use shoal_session::{AddTorrent, Check, Files, Phase, SessionError, TorrentEvent, TorrentSource};
use std::time::{Duration, Instant};

async fn transfers(format: Format, by_magnet: bool, length: usize) {
    let data = bytes(length);
    let torrent = torrent(format, &data);
    let (from, to) = (Here::new().await, Here::new().await);
    let (seed, _seed_events) = from.seed(&torrent, &data).await;
    let source = if by_magnet {
        TorrentSource::Magnet(Magnet::new(torrent.info.hashes()))
    } else {
        TorrentSource::Torrent(torrent)
    };
    let (download, mut events) = to.download(source, from.addr()).await;
    let mut pieces = 0;
    loop {
        match patiently(events.next()).await.expect("it still runs") {
            TorrentEvent::Piece(_) => pieces += 1,
            TorrentEvent::Complete => break,
            TorrentEvent::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
    assert_eq!(pieces, length.div_ceil(PIECE_LENGTH));
    assert!(to.downloaded() == data, "every byte is the same");
    download.stop().await;
    let last = download.progress().borrow().clone();
    assert_eq!((last.phase, last.done_bytes, last.total_bytes), (Phase::Stopped, length as u64, length as u64));
    assert_eq!(last.downloaded, length as u64, "nothing is fetched twice");
    // It said so before it left, however soon that was.
    patiently(seed.progress().wait_for(|progress| progress.full_copies_seen == 1)).await.unwrap();
    from.session.shutdown().await;
    to.session.shutdown().await;
    no_task_is_left().await;
}

#[tokio::test]
async fn a_v1_torrent_is_transferred() {
    transfers(Format::V1, false, 700_001).await;
}

#[tokio::test]
async fn a_v2_torrent_is_transferred() {
    transfers(Format::V2, false, 700_001).await;
}

#[tokio::test]
async fn a_hybrid_torrent_is_transferred() {
    transfers(Format::Hybrid, false, 700_001).await;
}

#[tokio::test]
async fn a_torrent_of_one_short_block_is_transferred() {
    transfers(Format::Hybrid, false, 1).await;
}

#[tokio::test]
async fn a_v1_link_is_enough() {
    transfers(Format::V1, true, 700_001).await;
}

#[tokio::test]
async fn a_v2_link_is_enough() {
    transfers(Format::V2, true, 700_001).await;
}

#[tokio::test]
async fn a_hybrid_link_is_enough() {
    transfers(Format::Hybrid, true, 700_001).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_pieces_go_through_on_two_threads() {
    transfers(Format::Hybrid, true, 30_000_000).await;
}

#[tokio::test]
async fn a_download_goes_on_where_it_was_stopped() {
    // Whole pieces, whichever come first.
    let data = bytes(92 * PIECE_LENGTH);
    let torrent = torrent(Format::V1, &data);
    let from = Here::with(|config| config.up_limit_bytes_per_s = Some(1_000_000)).await;
    let (_seed, _seed_events) = from.seed(&torrent, &data).await;
    let to = Here::new().await;
    let source = TorrentSource::Torrent(torrent.clone());
    let (first, mut events) = to.download(source.clone(), from.addr()).await;
    for _ in 0..5 {
        until(&mut events, |event| matches!(event, TorrentEvent::Piece(_))).await;
    }
    first.stop().await;
    from.session.set_limits(None, None);
    let had = first.progress().borrow().pieces_done;
    assert!(had >= 5);
    let (second, mut events) = to.download(source, from.addr()).await;
    let found = until(&mut events, |event| matches!(event, TorrentEvent::Checked { .. })).await;
    assert!(matches!(found, TorrentEvent::Checked { pieces } if pieces == had), "{found:?}, not {had}");
    until(&mut events, |event| matches!(event, TorrentEvent::Complete)).await;
    second.stop().await;
    let fetched = second.progress().borrow().downloaded;
    let rest = data.len() as u64 - u64::from(had) * PIECE_LENGTH as u64;
    assert!(fetched <= rest, "{fetched} bytes came, {rest} were missing");
    assert!(to.downloaded() == data);
}

#[tokio::test]
async fn what_somebody_else_has_there_is_not_overwritten() {
    let data = bytes(100_000);
    let torrent = torrent(Format::V1, &data);
    let to = Here::new().await;
    std::fs::write(to.folder().join(NAME), b"a letter").unwrap();
    let add = AddTorrent::download(TorrentSource::Torrent(torrent), to.folder());
    let (handle, mut events) = to.add(add, false).await;
    let failed = loop {
        match patiently(events.next()).await {
            Some(TorrentEvent::Failed(error)) => break error,
            Some(_) => {}
            None => panic!("it says why"),
        }
    };
    assert!(matches!(failed, SessionError::Storage(_)), "{failed}");
    patiently(handle.stop()).await;
    assert_eq!(to.downloaded(), b"a letter");
    assert!(patiently(events.next()).await.is_none());
}

#[tokio::test]
async fn the_same_torrent_is_in_a_session_once() {
    let data = bytes(1000);
    let torrent = torrent(Format::Hybrid, &data);
    let here = Here::new().await;
    let (seed, _events) = here.seed(&torrent, &data).await;
    let again = AddTorrent::seed(torrent.clone(), Files::Folder(here.folder().to_path_buf()), Check::Full);
    assert!(matches!(here.session.add(again).await, Err(SessionError::Duplicate)));
    seed.stop().await;
    let (_seed, _events) = here.seed(&torrent, &data).await;
    here.session.shutdown().await;
    let late = AddTorrent::seed(torrent, Files::Folder(here.folder().to_path_buf()), Check::Full);
    assert!(matches!(here.session.add(late).await, Err(SessionError::Stopping)));
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_peer_that_never_answers() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = Here::new().await;
    let torrent = torrent(Format::V1, &bytes(100_000));
    let (download, _events) = to.download(TorrentSource::Torrent(torrent), listener.local_addr().unwrap()).await;
    let _held = patiently(listener.accept()).await.unwrap();
    let before = Instant::now();
    download.stop().await;
    to.session.shutdown().await;
    assert!(before.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_link_with_one_hash_of_a_hybrid_finds_the_other() {
    let data = bytes(300_000);
    let torrent = torrent(Format::Hybrid, &data);
    let hashes = torrent.info.hashes();
    let (from, to, last) = (Here::new().await, Here::new().await, Here::new().await);
    let (_seed, _seed_events) = from.seed(&torrent, &data).await;
    let v1 = Magnet::new(InfoHashes { v2: None, ..hashes });
    let (_download, mut events) = to.download(TorrentSource::Magnet(v1), from.addr()).await;
    until(&mut events, |event| matches!(event, TorrentEvent::Complete)).await;
    // It is reached by the hash that its own link did not have.
    let v2 = Magnet::new(InfoHashes { v1: None, ..hashes });
    let (_download, mut events) = last.download(TorrentSource::Magnet(v2), to.addr()).await;
    until(&mut events, |event| matches!(event, TorrentEvent::Complete)).await;
    assert!(last.downloaded() == data);
    for here in [from, to, last] {
        here.session.shutdown().await;
    }
}

#[tokio::test]
async fn many_torrents_share_a_session() {
    let (from, to) = (Here::new().await, Here::new().await);
    let mut downloads = Vec::new();
    for number in 0..8 {
        let data = bytes(50_000 + number);
        let torrent = torrent(Format::Hybrid, &data);
        let (source, target) = (from.folder().join(number.to_string()), to.folder().join(number.to_string()));
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join(NAME), &data).unwrap();
        from.add(AddTorrent::seed(torrent.clone(), Files::Folder(source), Check::JustHashed), true).await;
        let add = AddTorrent::download(TorrentSource::Torrent(torrent), &target).with_peer(from.addr());
        downloads.push((to.add(add, false).await, target, data));
    }
    for ((_handle, mut events), target, data) in downloads {
        until(&mut events, |event| matches!(event, TorrentEvent::Complete)).await;
        assert!(std::fs::read(target.join(NAME)).unwrap() == data);
    }
    from.session.shutdown().await;
    to.session.shutdown().await;
    no_task_is_left().await;
}

#[tokio::test]
async fn a_transfer_over_ipv6_works_like_any() {
    let here = |config: &mut shoal_session::SessionConfig| config.bind = vec!["::1".parse().unwrap()];
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        // This machine has no IPv6.
        return;
    }
    let data = bytes(100_000);
    let torrent = torrent(Format::V2, &data);
    let (from, to) = (Here::with(here).await, Here::with(here).await);
    let (_seed, _seed_events) = from.seed(&torrent, &data).await;
    let (_download, mut events) = to.download(TorrentSource::Torrent(torrent), from.addr()).await;
    until(&mut events, |event| matches!(event, TorrentEvent::Complete)).await;
    assert!(to.downloaded() == data);
    from.session.shutdown().await;
    to.session.shutdown().await;
}

#[tokio::test]
async fn a_download_resumed_by_its_link_needs_no_peer_to_know_what_it_is() {
    let data = bytes(300_000);
    let torrent = torrent(Format::V1, &data);
    let link = TorrentSource::Magnet(Magnet::new(torrent.info.hashes()));
    let (from, to) = (Here::new().await, Here::new().await);
    let (_seed, _seed_events) = from.seed(&torrent, &data).await;
    let (first, mut events) = to.download(link.clone(), from.addr()).await;
    until(&mut events, |event| matches!(event, TorrentEvent::Complete)).await;
    first.stop().await;
    from.session.shutdown().await;
    let (_again, mut events) = to.add(AddTorrent::download(link, to.folder()), false).await;
    until(&mut events, |event| matches!(event, TorrentEvent::Complete)).await;
    to.session.shutdown().await;
}

#[tokio::test]
async fn piece_layers_that_were_fetched_once_are_known_to_the_next_run() {
    let data = bytes(300_000);
    let torrent = torrent(Format::V2, &data);
    let hash = torrent.info.hashes().wire();
    let link = TorrentSource::Magnet(Magnet::new(torrent.info.hashes()));
    let (from, to) = (Here::new().await, Here::new().await);
    let (_seed, _seed_events) = from.seed(&torrent, &data).await;
    let (first, mut events) = to.download(link.clone(), from.addr()).await;
    until(&mut events, |event| matches!(event, TorrentEvent::Complete)).await;
    first.stop().await;
    from.session.shutdown().await;
    std::fs::remove_file(to.folder().join(NAME)).unwrap();
    // A seed that has neither metadata nor layers to give.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let seeded = data.clone();
    let seed = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        FakePeer::greet(tcp, hash).await.seed(&seeded, PIECE_LENGTH, |_, _| {}).await;
    });
    let (_again, mut events) = to.download(link, addr).await;
    until(&mut events, |event| matches!(event, TorrentEvent::Complete)).await;
    assert!(to.downloaded() == data);
    to.session.shutdown().await;
    patiently(seed).await.unwrap();
}

#[tokio::test]
async fn two_torrents_do_not_write_the_same_file() {
    let (one, other) = (torrent(Format::V1, &bytes(100_000)), torrent(Format::V2, &bytes(200_000)));
    let here = Here::new().await;
    let add = |torrent| AddTorrent::download(TorrentSource::Torrent(torrent), here.folder());
    let (first, mut events) = here.add(add(one), false).await;
    until(&mut events, |event| matches!(event, TorrentEvent::Checked { .. })).await;
    // The same folder, written another way.
    let through = here.folder().join("..").join(here.folder().file_name().unwrap());
    let refused = AddTorrent { files: Files::Folder(through), ..add(other.clone()) };
    let (_second, mut events) = here.add(refused, false).await;
    let failed = loop {
        if let TorrentEvent::Failed(error) = patiently(events.next()).await.expect("it says why") {
            break error;
        }
    };
    assert!(
        matches!(&failed, SessionError::SameFile { path, other } if path.ends_with(NAME) && other == NAME),
        "{failed}"
    );
    let (third, mut events) = here
        .add(AddTorrent { files: Files::Folder(here.folder().join("elsewhere")), ..add(other.clone()) }, false)
        .await;
    until(&mut events, |event| matches!(event, TorrentEvent::Checked { .. })).await;
    third.stop().await;
    // When the first has ended the file may be written.
    first.stop().await;
    let (_fourth, mut events) = here.add(add(other), false).await;
    until(&mut events, |event| matches!(event, TorrentEvent::Checked { .. })).await;
    here.session.shutdown().await;
}
