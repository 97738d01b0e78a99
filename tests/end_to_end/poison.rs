//! Poisoners (reliability.md B4) and the binary: nine peers that have everything and damage one block in 20, and one honest seed.
//! The simulator has the same with more of each; here are real sockets and a real disk.

use crate::support::net::Net;
use crate::support::peer::{BITFIELD, PIECE, REQUEST, UNCHOKE, Wire, hash, numbers, request};
use crate::support::shoal::{arg, create, download, seed, show};
use crate::support::tree;
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

const PIECES: usize = 1024;
const BLOCK: usize = 16 << 10;
/// Two blocks: who damaged a piece is not plain at once.
const PIECE_LENGTH: usize = 2 * BLOCK;

/// Whether a liar damages a block: one in 20, others for each liar.
fn damages(liar: u64, begin: u64) -> bool {
    // SplitMix64's last steps mix well enough.
    let mut z = (begin + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (liar + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).is_multiple_of(20)
}

/// Serves everything, at about 2 MB/s; what it damages has one wrong byte.
fn poison(mut wire: Wire, content: &[u8], liar: u64) -> std::io::Result<()> {
    wire.send(BITFIELD, &[0xff; PIECES / 8])?;
    wire.send(UNCHOKE, &[])?;
    loop {
        let (piece, begin, length) = request(&wire.wait_for(REQUEST)?);
        let at = piece as usize * PIECE_LENGTH + begin as usize;
        let mut body = numbers(&[piece, begin]);
        body.extend_from_slice(&content[at..at + length as usize]);
        if damages(liar, at as u64) {
            body[8 + 77] ^= 1;
        }
        // The rate of its line: this is no wait for anything.
        std::thread::sleep(Duration::from_millis(8));
        wire.send(PIECE, &body)?;
    }
}

/// Listens on an address of its own for as long as the process lives.
fn poisoner(net: &Net, liar: u64, content: &Arc<Vec<u8>>, info_hash: [u8; 20]) -> SocketAddr {
    let listener = TcpListener::bind((net.ip(30 + liar as u8), 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let content = Arc::clone(content);
    std::thread::spawn(move || {
        while let Ok(wire) =
            Wire::accept(&listener, info_hash, format!("-XX0001-poisoner{liar:04}").as_bytes().try_into().unwrap())
        {
            let content = Arc::clone(&content);
            std::thread::spawn(move || poison(wire, &content, liar));
        }
    });
    addr
}

fn poisoners_are_banned(format: &str) {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = tree::file(&at("source"), "file", 31, PIECES * PIECE_LENGTH);
    let torrent = create(&at("home"), &source, &at("file.torrent"), &["--format", format, "--piece-length", "32KiB"]);
    let shown = show(&at("home"), arg(&torrent));
    let hex = if format == "v2" { &shown["info_hash_v2"] } else { &shown["info_hash_v1"] };
    let info_hash = hash(hex.as_str().unwrap());
    let content = Arc::new(std::fs::read(&source).unwrap());
    let honest = seed(&net, 2, &at("honest home"), &torrent, &at("source"), &["--up", "3M"]);
    let liars: BTreeSet<SocketAddr> = (0..9).map(|liar| poisoner(&net, liar, &content, info_hash)).collect();
    let all: Vec<String> = liars.iter().chain([&honest.addr]).map(SocketAddr::to_string).collect();
    let mut more = vec!["-v"];
    more.extend(all.iter().flat_map(|peer| ["--peer", peer]));
    let ended = download(&net, 3, &at("leech home"), arg(&torrent), &at("output"), &more).wait().expect(0);
    tree::assert_same(&source, &at("output/file"));
    let banned = |addr: &SocketAddr| ended.stderr.iter().any(|line| line.contains(&format!("banned {addr}")));
    assert!(liars.iter().all(banned), "all nine are banned: {:#?}", ended.stderr);
    assert!(!banned(&honest.addr), "{:#?}", ended.stderr);
    let done = ended.stderr.iter().find(|line| line.contains("done: file")).expect("it says what it received");
    let received = done.rsplit_once(", ").and_then(|(_, rest)| rest.split_once(" MiB")).expect("in MiB");
    let received: f64 = received.0.parse().unwrap();
    let wasted = received / 32.0 - 1.0;
    eprintln!("{format}: {:.1} % wasted", wasted * 100.0);
    // Of v2 the wrong blocks alone (reliability.md B4).
    assert!(wasted <= if format == "v2" { 0.01 } else { 0.05 }, "{done}");
}

#[test]
fn nine_poisoners_of_v1_are_banned_and_the_honest_seed_is_not() {
    poisoners_are_banned("v1");
}

#[test]
fn nine_poisoners_of_v2_are_banned_and_the_honest_seed_is_not() {
    poisoners_are_banned("v2");
}
