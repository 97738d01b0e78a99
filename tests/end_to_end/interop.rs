//! Both directions with other clients: a tree goes from shoal to the other client, and from there to another shoal; torrent
//! files and magnet links; what one makes the other reads with the same hashes.

use crate::support::clients::{Client, needs};
use crate::support::tracker::Tracker;
use crate::support::tree;
use crate::support::until;
use std::path::Path;

/// How the ones that fetch learn what to fetch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    File,
    Magnet,
}

/// `outer` seeds a tree, `inner` fetches it; then `outer` fetches it from `inner` alone. All bytes must be the same.
pub(crate) fn there_and_back(outer: Client, inner: Client, format: &str, by: By) {
    let Some(net) = needs(&[outer, inner]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = tree::awkward(&at("source"), "tree", 7);
    let tracker = Tracker::start(net.ip(1));
    let torrent = at("tree.torrent");
    outer.create(&source, &torrent, format, &tracker.url(), &at("create"));
    let what = match by {
        By::File => torrent.to_str().unwrap().to_owned(),
        By::Magnet => magnet(outer, &torrent, &tracker, &at("create")),
    };

    let mut first = outer.start(&net, 2, &tracker, torrent.to_str().unwrap(), &at("source"), &at("first"));
    first.wait_complete(&tracker);
    first.wait_listening();
    let middle = inner.start(&net, 3, &tracker, &what, &at("middle data"), &at("middle"));
    middle.wait_complete(&tracker);
    if middle.makes_empty_files() {
        arrives(&source, &at("middle data/tree"));
    } else {
        let expected = tree::awkward(&at("expected"), "tree", 7);
        tree::remove_empty(&expected);
        arrives(&expected, &at("middle data/tree"));
    }

    let gone = first.addr.port();
    drop(first.process.interrupt());
    // Whoever did not say goodbye is still listed, and is not there: part of the test.
    let last = outer.start(&net, 4, &tracker, &what, &at("last data"), &at("last"));
    last.wait_complete(&tracker);
    arrives(&source, &at("last data/tree"));
    assert_ne!(gone, last.addr.port());
}

/// Some clients write their last blocks, or empty files, a moment after they announce that they are complete.
pub(crate) fn arrives(from: &Path, to: &Path) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    until("every byte is there", || tree::same(from, to) || std::time::Instant::now() > end);
    tree::assert_same(from, to);
}

fn magnet(maker: Client, torrent: &Path, tracker: &Tracker, home: &Path) -> String {
    let hashes = maker.hashes(torrent, home);
    let mut link = "magnet:?".to_owned();
    for topic in [hashes.v1.map(|h| format!("xt=urn:btih:{h}&")), hashes.v2.map(|h| format!("xt=urn:btmh:1220{h}&"))] {
        link.push_str(&topic.unwrap_or_default());
    }
    let url: String = tracker
        .url()
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect();
    link + "dn=tree&tr=" + &url
}

#[test]
fn transmission_v1_by_file() {
    there_and_back(Client::Shoal, Client::Transmission, "v1", By::File);
}

#[test]
fn transmission_v1_by_magnet() {
    there_and_back(Client::Shoal, Client::Transmission, "v1", By::Magnet);
}

#[test]
fn aria2_v1_by_file() {
    there_and_back(Client::Shoal, Client::Aria2, "v1", By::File);
}

#[test]
fn aria2_v1_by_magnet() {
    there_and_back(Client::Shoal, Client::Aria2, "v1", By::Magnet);
}

#[test]
fn libtorrent_v1_by_file() {
    there_and_back(Client::Shoal, Client::Libtorrent, "v1", By::File);
}

#[test]
fn libtorrent_v1_by_magnet() {
    there_and_back(Client::Shoal, Client::Libtorrent, "v1", By::Magnet);
}

#[test]
fn libtorrent_hybrid_by_file() {
    there_and_back(Client::Shoal, Client::Libtorrent, "hybrid", By::File);
}

#[test]
fn libtorrent_hybrid_by_magnet() {
    // libtorrent 2.0.8 now and then gives up a hybrid that it begins without piece layers, also one that libtorrent itself
    // seeds: 13 of 100 runs, against none of 250 from shoal (tests/measure/libtorrent_hybrids.py); it happened here once. On that
    // error, and no other, it is begun anew.
    const ITS_OWN_FAULT: &str = "v1 and v2 hashes do not describe the same data";
    let run = || there_and_back(Client::Shoal, Client::Libtorrent, "hybrid", By::Magnet);
    again_if(|message| message.contains(ITS_OWN_FAULT), run);
}

/// Runs a test up to four times: again only where the panic's message is another program's `own_fault`.
pub(crate) fn again_if(own_fault: impl Fn(&str) -> bool, run: impl Fn() + std::panic::RefUnwindSafe) {
    for attempt in 1..=4 {
        let Err(panic) = std::panic::catch_unwind(&run) else { return };
        if attempt == 4 || !panic.downcast_ref::<String>().is_some_and(|message| own_fault(message)) {
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn libtorrent_v2_by_file() {
    there_and_back(Client::Shoal, Client::Libtorrent, "v2", By::File);
}

#[test]
fn libtorrent_v2_by_magnet() {
    there_and_back(Client::Shoal, Client::Libtorrent, "v2", By::Magnet);
}

/// What `maker` writes of the awkward tree, each of `readers` must see with the hashes that the maker sees.
fn same_hashes(maker: Client, format: &str, readers: &[Client]) {
    let mut clients = readers.to_vec();
    clients.push(maker);
    let Some(_net) = needs(&clients) else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = tree::awkward(&at("source"), "tree", 8);
    let torrent = at("tree.torrent");
    maker.create(&source, &torrent, format, "http://tracker.example/announce", &at("create"));
    let made = maker.hashes(&torrent, &at("maker"));
    for &reader in readers {
        let mut expected = maker.hashes(&torrent, &at("maker"));
        let seen = reader.hashes(&torrent, &at("reader"));
        if matches!(reader, Client::Transmission | Client::Aria2) || maker == Client::Transmission {
            expected.v2 = None;
        }
        assert_eq!(seen, expected, "{reader:?} of a {format} torrent by {maker:?}");
    }
    assert_eq!(made.v1.is_some(), format != "v2");
}

#[test]
fn others_see_the_hashes_of_what_shoal_creates() {
    same_hashes(Client::Shoal, "v1", &[Client::Transmission, Client::Aria2, Client::Libtorrent]);
    same_hashes(Client::Shoal, "hybrid", &[Client::Libtorrent]);
    same_hashes(Client::Shoal, "v2", &[Client::Libtorrent]);
}

#[test]
fn shoal_sees_the_hashes_of_what_others_create() {
    same_hashes(Client::Transmission, "v1", &[Client::Shoal, Client::Aria2, Client::Libtorrent]);
    for format in ["v1", "hybrid", "v2"] {
        same_hashes(Client::Libtorrent, format, &[Client::Shoal]);
    }
}
