//! Hostile peers on the wire: the download completes from the honest one, memory stays bounded, the liar is banned.

use crate::support::net::Net;
use crate::support::peer::{
    BITFIELD, CANCEL, CHOKE, HAVE, INTERESTED, PIECE, REQUEST, UNCHOKE, Wire, hash, numbers, request,
};
use crate::support::shoal::{Seed, arg, create, download, seed, show};
use crate::support::{tree, until};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes in the file of these tests: 92 pieces of 16 KiB.
const LENGTH: usize = 1_500_000;
/// What a process may grow by under attack. Chosen: far below what the attacks would take if each byte asked for were kept
/// (the flood asks for 3 GB), far above the noise of an allocator.
const GROWTH: u64 = 48 << 20;

struct Scene {
    net: Net,
    folder: tempfile::TempDir,
    torrent: PathBuf,
    info_hash: [u8; 20],
}

impl Scene {
    fn new(format: &str) -> Scene {
        let net = Net::any();
        let folder = tempfile::tempdir().unwrap();
        let source = tree::file(&folder.path().join("source"), "file", 11, LENGTH);
        let torrent = create(folder.path(), &source, &folder.path().join("file.torrent"), &["--format", format]);
        let shown = show(folder.path(), arg(&torrent));
        let hex = if format == "v2" { &shown["info_hash_v2"] } else { &shown["info_hash_v1"] };
        let info_hash = hash(hex.as_str().unwrap());
        Scene { net, folder, torrent, info_hash }
    }

    fn honest(&self, more: &[&str]) -> Seed {
        let at = |name: &str| self.folder.path().join(name);
        seed(&self.net, 2, &at("honest home"), &self.torrent, &at("source"), more)
    }

    /// Downloads with these peers and checks every byte.
    fn completes(&self, name: &str, peers: &[SocketAddr]) -> Vec<String> {
        let peers: Vec<String> = peers.iter().map(SocketAddr::to_string).collect();
        let mut more = vec!["-v"];
        for peer in &peers {
            more.extend(["--peer", peer]);
        }
        let at = |suffix: &str| self.folder.path().join(format!("{name} {suffix}"));
        let process = download(&self.net, 3, &at("home"), arg(&self.torrent), &at("output"), &more);
        let ended = process.wait().expect(0);
        tree::assert_same(&self.folder.path().join("source/file"), &at("output").join("file"));
        ended.stderr
    }

    /// A listener that plays `part` on each connection; counts the connections.
    fn peer(
        &self,
        part: impl Fn(Wire) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind((self.net.ip(9), 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (info_hash, counter, part) = (self.info_hash, Arc::clone(&connections), Arc::new(part));
        std::thread::spawn(move || {
            loop {
                let Ok(wire) = Wire::accept(&listener, info_hash, b"-XX0001-hostile-peer") else { continue };
                counter.fetch_add(1, Ordering::SeqCst);
                let part = Arc::clone(&part);
                std::thread::spawn(move || part(wire));
            }
        });
        (addr, connections)
    }

    /// A bitfield that says that everything is there.
    fn everything() -> Vec<u8> {
        let pieces = LENGTH.div_ceil(16384);
        let mut bits = vec![0xff; pieces / 8];
        bits.push(0xff << (8 - pieces % 8));
        bits
    }
}

/// Answers every request with bytes that are wrong.
fn liar(mut wire: Wire) -> std::io::Result<()> {
    wire.send(BITFIELD, &Scene::everything())?;
    wire.send(UNCHOKE, &[])?;
    loop {
        let (piece, begin, length) = request(&wire.wait_for(REQUEST)?);
        let mut body = numbers(&[piece, begin]);
        body.resize(8 + length as usize, 0x5a);
        wire.send(PIECE, &body)?;
    }
}

fn a_liar_is_banned(format: &str) {
    let scene = Scene::new(format);
    // The honest one is slow, so that the liar is asked.
    let honest = scene.honest(&["--up", "600k"]);
    let (addr, connections) = scene.peer(liar);
    let said = scene.completes("leech", &[addr, honest.addr]);
    assert_eq!(connections.load(Ordering::SeqCst), 1, "a banned peer is not dialed again");
    let banned: Vec<_> = said.iter().filter(|line| line.contains("banned")).collect();
    assert_eq!(banned.len(), 1, "{said:#?}");
    assert!(banned[0].contains(&addr.to_string()), "{banned:?}");
}

#[test]
fn who_sends_corrupt_blocks_of_v1_is_banned() {
    a_liar_is_banned("v1");
}

#[test]
fn who_sends_corrupt_blocks_of_v2_is_banned() {
    a_liar_is_banned("v2");
}

#[test]
fn who_never_answers_does_not_hold_a_download_up() {
    let scene = Scene::new("hybrid");
    let honest = scene.honest(&[]);
    let (addr, connections) = scene.peer(|mut wire| {
        wire.send(BITFIELD, &Scene::everything())?;
        wire.send(UNCHOKE, &[])?;
        loop {
            wire.receive()?;
        }
    });
    scene.completes("leech", &[addr, honest.addr]);
    assert!(connections.load(Ordering::SeqCst) > 0, "the mute one took part");
}

#[test]
fn who_does_not_even_shake_hands_does_not_hold_a_download_up() {
    let scene = Scene::new("hybrid");
    let honest = scene.honest(&[]);
    let mute = TcpListener::bind((scene.net.ip(9), 0)).unwrap();
    scene.completes("leech", &[mute.local_addr().unwrap(), honest.addr]);
}

#[test]
fn a_flood_of_requests_is_bounded_and_others_are_served() {
    let scene = Scene::new("hybrid");
    let honest = scene.honest(&[]);
    let before = honest.process.peak_memory();
    let mut flooder = Wire::dial(honest.addr, scene.info_hash, b"-XX0001-flooder-peer").unwrap();
    let mut reader = flooder.split().unwrap();
    flooder.send(INTERESTED, &[]).unwrap();
    reader.wait_for(UNCHOKE).unwrap();
    let mut frames = Vec::new();
    for n in 0..1_000_000_u32 {
        frames.extend_from_slice(&numbers(&[13]));
        frames.push(REQUEST);
        frames.extend_from_slice(&numbers(&[n % 91, 0, 16384]));
    }
    // It never reads. Once the seed does not take more, or has closed, the flood is over.
    let flood = std::thread::spawn(move || flooder.send_raw(&frames));
    scene.completes("leech", &[honest.addr]);
    let grown = honest.process.peak_memory() - before;
    // reliability.md B2.
    assert!(grown < 10 << 20, "{grown} bytes more");
    assert_eq!(honest.process.interrupt().code(), 0);
    drop(reader);
    let _ = flood.join();
}

/// The quick form of `tests/measure/churn.py`.
#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let scene = Scene::new("v1");
    let mut honest = scene.honest(&[]);
    let descriptors = |process: &crate::support::process::Process| {
        std::fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap().count()
    };
    let cycle = |n: u32| {
        let id = format!("-XX0001-{n:012}");
        match n % 3 {
            0 => drop(std::net::TcpStream::connect(honest.addr)),
            _ => {
                let wire = Wire::dial(honest.addr, scene.info_hash, id.as_bytes().try_into().unwrap());
                if let (Ok(mut wire), 1) = (wire, n % 3) {
                    let _ = wire.send(INTERESTED, &[]);
                }
            }
        }
    };
    // Long enough that addresses and ids are kept up to their bounds.
    (0..2_500).for_each(cycle);
    let (before, memory) = (descriptors(&honest.process), honest.process.peak_memory());
    (2_500..5_000).for_each(cycle);
    until("what they held is given back", || descriptors(&honest.process) <= before + 2);
    let grown = honest.process.peak_memory() - memory;
    assert!(grown < 2 << 20, "{grown} bytes more");
    assert!(honest.process.is_running());
    scene.completes("leech", &[honest.addr]);
}

/// One frame: its length and its bytes.
fn frame(length: u32, bytes: &[u8]) -> Vec<u8> {
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(bytes);
    frame
}

fn message(number: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number];
    bytes.extend_from_slice(body);
    frame(u32::try_from(bytes.len()).unwrap(), &bytes)
}

/// What no honest peer sends.
fn absurdities() -> Vec<(&'static str, Vec<u8>)> {
    let max = u32::MAX;
    let extended = |id: u8, payload: &[u8]| {
        let mut body = vec![id];
        body.extend_from_slice(payload);
        message(20, &body)
    };
    vec![
        ("a length of 4 GiB", frame(max, &[PIECE])),
        ("a bitfield of 1 GiB", frame(1 << 30, &[BITFIELD])),
        ("an extended message of 2 GiB", frame(1 << 31, &[20, 0])),
        ("a have of the last number", message(HAVE, &numbers(&[max]))),
        ("a have that is too short", message(HAVE, &[0, 0])),
        ("a bitfield that is too long", message(BITFIELD, &[0xff; 4096])),
        ("a request past the end", message(REQUEST, &numbers(&[91, 16384, 16384]))),
        ("a request whose end overflows", message(REQUEST, &numbers(&[0, max, max]))),
        ("a request of nothing", message(REQUEST, &numbers(&[0, 0, 0]))),
        ("a request of 4 GiB", message(REQUEST, &numbers(&[0, 0, max]))),
        ("a request of a piece that is not", message(REQUEST, &numbers(&[max, 0, 16384]))),
        ("a cancel of nothing that was asked", message(CANCEL, &numbers(&[max, max, max]))),
        ("a block nobody asked for", message(PIECE, &[0xff; 40_000])),
        ("a piece message without a block", message(PIECE, &[0; 4])),
        ("a choke with a body", message(CHOKE, &[1; 9])),
        ("a message of an unknown kind", message(211, &[7; 1000])),
        ("an extended handshake without end", extended(0, "l".repeat(200_000).as_bytes())),
        ("an extended handshake of lies", extended(0, b"d1:md11:ut_metadatai999ee13:metadata_sizei-5e4:reqqi-1ee")),
        ("a request for metadata that is not there", extended(1, b"d8:msg_typei0e5:piecei4294967295ee")),
        ("a hash request of everything", message(21, &[0xff; 48])),
        ("hashes nobody asked for", message(22, &[0xff; 48 + 64])),
    ]
}

#[test]
fn absurd_messages_harm_a_seed_in_no_way() {
    let scene = Scene::new("hybrid");
    let mut honest = scene.honest(&[]);
    let before = honest.process.peak_memory();
    for (what, bytes) in absurdities() {
        for with_interest in [false, true] {
            let id = format!("-XX0001-{:012}", what.len());
            let id: &[u8; 20] = id.as_bytes().try_into().unwrap();
            let mut wire =
                Wire::dial(honest.addr, scene.info_hash, id).unwrap_or_else(|e| panic!("refused before {what}: {e}"));
            if with_interest {
                let _ = wire.send(INTERESTED, &[]);
            }
            let _ = wire.send_raw(&bytes);
        }
        assert!(honest.process.is_running(), "{what} ended it");
    }
    scene.completes("leech", &[honest.addr]);
    let grown = honest.process.peak_memory() - before;
    assert!(grown < GROWTH, "{grown} bytes more");
    assert_eq!(honest.process.interrupt().code(), 0);
}

#[test]
fn absurd_messages_harm_a_download_in_no_way() {
    let scene = Scene::new("hybrid");
    let honest = scene.honest(&["--up", "600k"]);
    let table = Arc::new(absurdities());
    let turn = Arc::new(AtomicUsize::new(0));
    let mut peers: Vec<SocketAddr> = table
        .iter()
        .map(|_| {
            let (table, turn) = (Arc::clone(&table), Arc::clone(&turn));
            let (addr, _) = scene.peer(move |mut wire| {
                let (_, bytes) = &table[turn.fetch_add(1, Ordering::SeqCst) % table.len()];
                wire.send(BITFIELD, &Scene::everything())?;
                wire.send(UNCHOKE, &[])?;
                wire.send_raw(bytes)?;
                wire.wait_closed()
            });
            addr
        })
        .collect();
    peers.push(honest.addr);
    scene.completes("leech", &peers);
    assert!(turn.load(Ordering::SeqCst) >= table.len() / 2, "most of them took part");
}

#[test]
fn a_choked_peer_is_served_nothing() {
    let scene = Scene::new("v1");
    let honest = scene.honest(&[]);
    // The only source gives slots to those who see nothing yet, interested or not; after this one it is not the only one.
    scene.completes("first", &[honest.addr]);
    let mut wire = Wire::dial(honest.addr, scene.info_hash, b"-XX0001-impatient-pe").unwrap();
    // Not interested, so never unchoked; no fast extension, so no rejects either.
    for piece in 0..20 {
        wire.send(REQUEST, &numbers(&[piece, 0, 16384])).unwrap();
    }
    // The seed goes on with others meanwhile; whatever it sent to us in that time is in the socket.
    scene.completes("leech", &[honest.addr]);
    honest.process.interrupt().expect(0);
    while let Ok((number, _)) = wire.receive() {
        assert_ne!(number, PIECE, "a choked peer got a block");
    }
}

#[test]
fn another_torrents_handshake_is_turned_away() {
    let scene = Scene::new("v1");
    let honest = scene.honest(&[]);
    assert!(Wire::dial(honest.addr, [7; 20], b"-XX0001-lost-peer-xx").is_err());
    until("it still serves", || Wire::dial(honest.addr, scene.info_hash, b"-XX0001-found-peer-x").is_ok());
}
