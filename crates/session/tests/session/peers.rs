//! A session and hand-made peers, honest and not.

use crate::fake_peer::{FakePeer, Said};
use crate::made::{Here, PIECE_LENGTH, bytes, patiently, torrent, until};
use shoal_metainfo::Format;
use shoal_session::{TorrentEvent, TorrentSource};
use shoal_wire::{Message, RawBlock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_leech_gets_the_blocks_that_it_asks_for() {
    let data = bytes(100_000);
    let torrent = torrent(Format::Hybrid, &data);
    let here = Here::new().await;
    let (_seed, _events) = here.seed(&torrent, &data).await;
    for hash in torrent.info.hashes().all_wire() {
        let mut leech = FakePeer::dial(here.addr(), hash).await;
        assert_eq!(leech.handshake.info_hash, hash, "answered by the hash that was asked for");
        leech.say(&Message::HaveNone).await;
        leech.say(&Message::Interested).await;
        leech.hear_message(|message| *message == Message::Unchoke).await;
        let asked = [
            RawBlock { piece: 0, begin: 16_384, length: 16_384 },
            RawBlock { piece: 3, begin: 0, length: 1_696 },
            RawBlock { piece: 1, begin: 5, length: 7 },
        ];
        for block in asked {
            leech.say(&Message::Request(block)).await;
        }
        let mut got = 0;
        while got < asked.len() {
            if let Said::Piece(block, payload) = leech.hear().await.unwrap() {
                assert!(asked.contains(&block));
                let start = block.piece as usize * PIECE_LENGTH + block.begin as usize;
                assert!(payload == data[start..start + payload.len()]);
                got += 1;
            }
        }
    }
    here.session.shutdown().await;
}

#[tokio::test]
async fn a_seed_that_only_knows_the_wire_is_downloaded_from() {
    let data = bytes(200_000);
    let torrent = torrent(Format::V1, &data);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let hash = torrent.info.hashes().wire();
    let seeded = data.clone();
    let seed = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        FakePeer::greet(tcp, hash).await.seed(&seeded, PIECE_LENGTH, |_, _| {}).await;
    });
    let here = Here::new().await;
    let (_download, mut events) = here.download(TorrentSource::Torrent(torrent), addr).await;
    until(&mut events, |event| matches!(event, TorrentEvent::Complete)).await;
    assert!(here.downloaded() == data);
    here.session.shutdown().await;
    patiently(seed).await.unwrap();
}

#[tokio::test]
async fn a_liar_is_banned_and_nothing_of_it_is_counted() {
    let data = bytes(200_000);
    let torrent = torrent(Format::V2, &data);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let hash = torrent.info.hashes().wire();
    let seeded = data.clone();
    let liar = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        FakePeer::greet(tcp, hash).await.seed(&seeded, PIECE_LENGTH, |_, payload| payload[0] ^= 1).await;
    });
    let here = Here::new().await;
    let (download, mut events) = here.download(TorrentSource::Torrent(torrent), addr).await;
    until(&mut events, |event| matches!(event, TorrentEvent::Banned { .. })).await;
    assert_eq!(download.progress().borrow().pieces_done, 0);
    patiently(liar).await.unwrap();
    here.session.shutdown().await;
}

#[tokio::test]
async fn what_is_no_message_ends_the_connection_and_nothing_else() {
    let data = bytes(100_000);
    let torrent = torrent(Format::V1, &data);
    let here = Here::new().await;
    let (_seed, _events) = here.seed(&torrent, &data).await;
    let hash = torrent.info.hashes().wire();
    for nonsense in [&[0xff; 5][..], &[0, 0, 0, 1, 5, 9, 9, 9, 9], &[0, 0, 0, 3, 4, 0, 0], &[0, 16, 0, 10, 7]] {
        let mut bad = FakePeer::dial(here.addr(), hash).await;
        bad.write(nonsense).await;
        while bad.hear().await.is_some() {}
    }
    let mut good = FakePeer::dial(here.addr(), hash).await;
    good.say(&Message::Interested).await;
    good.hear_message(|message| *message == Message::Unchoke).await;
    here.session.shutdown().await;
}

#[tokio::test]
async fn who_asks_for_an_unknown_torrent_or_speaks_another_protocol_is_closed() {
    let here = Here::new().await;
    let unknown = shoal_wire::Handshake::new([7; 20], [1; 20], false, false).encode();
    for first in [&unknown[..], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut tcp = TcpStream::connect(here.addr()).await.unwrap();
        tcp.write_all(first).await.unwrap();
        let mut rest = Vec::new();
        // Closed, with or without a reset.
        let _ = patiently(tcp.read_to_end(&mut rest)).await;
        assert!(rest.is_empty());
    }
    here.session.shutdown().await;
}

#[tokio::test]
async fn blocks_that_nobody_asked_for_are_not_taken() {
    let data = bytes(100_000);
    let torrent = torrent(Format::V1, &data);
    let here = Here::new().await;
    let hash = torrent.info.hashes().wire();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (download, mut events) = here.download(TorrentSource::Torrent(torrent), listener.local_addr().unwrap()).await;
    let (tcp, _) = patiently(listener.accept()).await.unwrap();
    let mut peer = FakePeer::greet(tcp, hash).await;
    let block = RawBlock { piece: 0, begin: 0, length: 16_384 };
    peer.send_piece(block, &data[..16_384]).await;
    peer.seed(&data, PIECE_LENGTH, |_, _| {}).await;
    // It was closed for that, or what it sent later counted once.
    let progress = download.progress().borrow().clone();
    if progress.pieces_done > 0 {
        until(&mut events, |event| matches!(event, TorrentEvent::Complete)).await;
    }
    here.session.shutdown().await;
}

#[tokio::test]
async fn a_flood_of_silent_connections_keeps_nobody_out_and_is_closed() {
    const SILENT: usize = 300;
    const SLOW: usize = 30;
    let data = bytes(1_000_000);
    let torrent = torrent(Format::V1, &data);
    let timeout = std::time::Duration::from_secs(3);
    let from = Here::with(|config| config.handshake_timeout = timeout).await;
    let to = Here::new().await;
    let (_seed, _seed_events) = from.seed(&torrent, &data).await;
    let mut flood = tokio::task::JoinSet::new();
    let begun = std::time::Instant::now();
    for number in 0..SILENT + SLOW {
        let mut tcp = TcpStream::connect(from.addr()).await.unwrap();
        flood.spawn(async move {
            let handshake = shoal_wire::Handshake::new([7; 20], [1; 20], false, false).encode();
            let mut drip = handshake.iter();
            let mut pause = tokio::time::interval(std::time::Duration::from_secs(1));
            loop {
                let mut byte = [0];
                tokio::select! {
                    read = tcp.read(&mut byte) => if matches!(read, Ok(0) | Err(_)) { return },
                    // One byte a second, as slow as one that never ends.
                    _ = pause.tick(), if number >= SILENT => {
                        let _ = tcp.write_all(&[*drip.next().unwrap()]).await;
                    }
                }
            }
        });
    }
    let (_download, mut events) = to.download(TorrentSource::Torrent(torrent), from.addr()).await;
    until(&mut events, |event| matches!(event, TorrentEvent::Complete)).await;
    assert!(begun.elapsed() < timeout, "nobody had to wait for the silent ones: {:?}", begun.elapsed());
    assert!(!flood.is_empty());
    patiently(async { while flood.join_next().await.is_some() {} }).await;
    assert!(begun.elapsed() < timeout * 2, "{:?}", begun.elapsed());
    from.session.shutdown().await;
    to.session.shutdown().await;
}
