//! Poisoners (reliability.md B4) and the binary: nine peers that have everything and damage one block in 20, and one honest seed.
//! The simulator has the same with more of each; here are real sockets and a real disk, and libtorrent as the one who says, or
//! is told, which blocks of a v2 piece are wrong (BEP 52).

use crate::support::clients::{Client, PYTHON, driver, needs};
use crate::support::net::Net;
use crate::support::peer::{BITFIELD, HAVE, PIECE, REQUEST, UNCHOKE, Wire, hash, numbers, request};
use crate::support::process::{Ended, Process, Stream};
use crate::support::shoal::{arg, create, download, seed, show};
use crate::support::tree;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const KIB: usize = 1 << 10;

/// A torrent of one file, and what poisoners need of it.
struct Target {
    net: Net,
    folder: tempfile::TempDir,
    source: PathBuf,
    torrent: PathBuf,
    content: Vec<u8>,
    info_hash: [u8; 20],
    piece_length: usize,
}

impl Target {
    fn new(net: Net, format: &str, pieces: usize, piece_length: usize) -> Arc<Target> {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let source = tree::file(&at("source"), "file", 31, pieces * piece_length);
        let piece = format!("{}KiB", piece_length / KIB);
        let torrent =
            create(&at("home"), &source, &at("file.torrent"), &["--format", format, "--piece-length", &piece]);
        let shown = show(&at("home"), arg(&torrent));
        let hex = if format == "v2" { &shown["info_hash_v2"] } else { &shown["info_hash_v1"] };
        let info_hash = hash(hex.as_str().unwrap());
        let content = std::fs::read(&source).unwrap();
        Arc::new(Target { net, folder, source, torrent, content, info_hash, piece_length })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pieces(&self) -> usize {
        self.content.len() / self.piece_length
    }

    fn bitfield(&self) -> Vec<u8> {
        let pieces = self.pieces();
        assert!(pieces.is_multiple_of(8), "no bits to spare");
        vec![0xff; pieces / 8]
    }

    /// Fetches it from these peers.
    fn download(&self, peers: &[SocketAddr]) -> Ended {
        let peers: Vec<String> = peers.iter().map(SocketAddr::to_string).collect();
        let mut more = vec!["-v"];
        more.extend(peers.iter().flat_map(|peer| ["--peer", peer]));
        let leech = download(&self.net, 3, &self.at("leech home"), arg(&self.torrent), &self.at("output"), &more);
        let ended = leech.wait().expect(0);
        tree::assert_same(&self.source, &self.at("output/file"));
        ended
    }

    /// libtorrent with these peers, that says what it hears and says of hashes.
    fn libtorrent(&self, n: u8, save: &std::path::Path, peers: &[SocketAddr]) -> (Process, SocketAddr) {
        std::fs::create_dir_all(save).unwrap();
        let addr = SocketAddr::new(self.net.ip(n), self.net.port());
        let peers: Vec<_> = peers.iter().map(|peer| json!([peer.ip(), peer.port()])).collect();
        let job = json!({"source": self.torrent, "save": save, "ip": addr.ip(), "port": addr.port(), "peers": peers,
            "up_limit": 1_000_000, "tell_hashes": true});
        (Process::start(PYTHON, &[arg(&driver()), "run", &job.to_string()], &self.at("libtorrent home")), addr)
    }
}

fn is_banned(ended: &Ended, addr: &SocketAddr) -> bool {
    ended.stderr.iter().any(|line| line.contains(&format!("banned {addr}")))
}

/// How much more than the torrent came, as a part of it: what the binary says at its end.
fn wasted(ended: &Ended, target: &Target) -> f64 {
    let done = ended.stderr.iter().find(|line| line.contains("done: file")).expect("it says what it received");
    let received = done.rsplit_once(", ").and_then(|(_, rest)| rest.split_once(" MiB")).expect("in MiB");
    received.0.parse::<f64>().unwrap() * (1 << 20) as f64 / target.content.len() as f64 - 1.0
}

/// Whether a liar damages a block: one in 20, others for each liar.
fn damages(liar: u64, begin: u64) -> bool {
    // SplitMix64's last steps mix well enough.
    let mut z = (begin + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (liar + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).is_multiple_of(20)
}

/// When a liar says what it has.
#[derive(Clone, Copy)]
enum Shows {
    AtOnce,
    /// Once the other has a piece of somebody else.
    Late,
}

/// Serves everything, at about 2 MB/s; what it damages has one wrong byte.
fn poison(mut wire: Wire, target: &Target, liar: u64, shows: Shows) -> std::io::Result<()> {
    match shows {
        Shows::AtOnce => wire.send(BITFIELD, &target.bitfield())?,
        Shows::Late => {
            wire.wait_for(HAVE)?;
            for piece in 0..target.pieces() {
                wire.send(HAVE, &numbers(&[piece as u32]))?;
            }
        }
    }
    wire.send(UNCHOKE, &[])?;
    loop {
        let (piece, begin, length) = request(&wire.wait_for(REQUEST)?);
        let at = piece as usize * target.piece_length + begin as usize;
        let mut body = numbers(&[piece, begin]);
        body.extend_from_slice(&target.content[at..at + length as usize]);
        if damages(liar, at as u64) {
            body[8 + 77] ^= 1;
        }
        // The rate of its line: this is no wait for anything.
        std::thread::sleep(Duration::from_millis(8));
        wire.send(PIECE, &body)?;
    }
}

/// Listens on an address of its own for as long as the process lives.
fn poisoner(target: &Arc<Target>, liar: u64, shows: Shows) -> SocketAddr {
    let listener = TcpListener::bind((target.net.ip(30 + liar as u8), 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let target = Arc::clone(target);
    std::thread::spawn(move || {
        let id = format!("-XX0001-poisoner{liar:04}");
        while let Ok(wire) = Wire::accept(&listener, target.info_hash, id.as_bytes().try_into().unwrap()) {
            let target = Arc::clone(&target);
            std::thread::spawn(move || poison(wire, &target, liar, shows));
        }
    });
    addr
}

fn poisoners_are_banned(format: &str) {
    // Two blocks a piece: who damaged one is not plain at once.
    let target = Target::new(Net::any(), format, 1024, 32 * KIB);
    let honest =
        seed(&target.net, 2, &target.at("honest home"), &target.torrent, &target.at("source"), &["--up", "3M"]);
    let liars: BTreeSet<SocketAddr> = (0..9).map(|liar| poisoner(&target, liar, Shows::AtOnce)).collect();
    let all: Vec<SocketAddr> = liars.iter().copied().chain([honest.addr]).collect();
    let ended = target.download(&all);
    assert!(liars.iter().all(|liar| is_banned(&ended, liar)), "all nine are banned: {:#?}", ended.stderr);
    assert!(!is_banned(&ended, &honest.addr), "{:#?}", ended.stderr);
    let wasted = wasted(&ended, &target);
    eprintln!("{format}: {:.1} % wasted", wasted * 100.0);
    // Of v2 the wrong blocks alone (reliability.md B4).
    assert!(wasted <= if format == "v2" { 0.01 } else { 0.05 }, "{:#?}", ended.stderr);
}

#[test]
fn nine_poisoners_of_v1_are_banned_and_the_honest_seed_is_not() {
    poisoners_are_banned("v1");
}

#[test]
fn nine_poisoners_of_v2_are_banned_and_the_honest_seed_is_not() {
    poisoners_are_banned("v2");
}

/// Of 16 pieces of 64 blocks whole ones thrown away would be 6 % each.
fn large_pieces(net: Net) -> Arc<Target> {
    Target::new(net, "v2", 16, 1024 * KIB)
}

/// Waits until libtorrent sent or got hashes of leaves: `way` is its log's arrow.
fn wait_for_leaves(libtorrent: &Process, way: &str) {
    libtorrent.wait_for(Stream::Out, "leaf hashes", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let message = event["message"].as_str()?;
        (event["event"] == "hashes" && message.contains(way) && message.contains("base: 0 ")).then_some(())
    });
}

#[test]
fn libtorrent_tells_which_blocks_are_wrong() {
    let Some(net) = needs(&[Client::Libtorrent]) else { return };
    let target = large_pieces(net);
    let (libtorrent, honest) = target.libtorrent(2, &target.at("source"), &[]);
    libtorrent.wait_for(Stream::Out, "a seed", |line| line.contains("finished").then_some(()));
    // libtorrent with a limit says nothing for half a second: a liar's piece is done by then, with nobody to ask.
    let liar = poisoner(&target, 0, Shows::Late);
    let ended = target.download(&[honest, liar]);
    wait_for_leaves(&libtorrent, "==> HASHES");
    assert!(is_banned(&ended, &liar) && !is_banned(&ended, &honest), "{:#?}", ended.stderr);
    let wasted = wasted(&ended, &target);
    eprintln!("{:.1} % wasted", wasted * 100.0);
    assert!(wasted < 0.05, "less than a piece: {:#?}", ended.stderr);
}

#[test]
fn libtorrent_is_told_which_blocks_are_wrong() {
    let Some(net) = needs(&[Client::Libtorrent]) else { return };
    let target = large_pieces(net);
    let honest =
        seed(&target.net, 2, &target.at("honest home"), &target.torrent, &target.at("source"), &["--up", "1M"]);
    let liar = poisoner(&target, 0, Shows::AtOnce);
    let (libtorrent, _) = target.libtorrent(3, &target.at("output"), &[honest.addr, liar]);
    wait_for_leaves(&libtorrent, "<== HASHES");
    libtorrent.wait_for(Stream::Out, "the end", |line| line.contains("finished").then_some(()));
    tree::assert_same(&target.source, &target.at("output/file"));
}
