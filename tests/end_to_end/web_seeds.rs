//! Web seeds (BEP 19) with a real web server: shoal from torrents that it or others made, others from what shoal made.

use crate::support::clients::{Client, PYTHON, driver, needs};
use crate::support::net::Net;
use crate::support::nginx::{self, Nginx};
use crate::support::process::Process;
use crate::support::shoal::{QUIET, SHOAL, arg, create, download, show};
use crate::support::tree;
use crate::support::until;
use serde_json::json;
use std::path::Path;

/// A network, and nginx in it that serves the folder `source` below `folder`.
fn served(folder: &Path, clients: &[Client]) -> Option<(Net, Nginx)> {
    let net = needs(clients).filter(|_| nginx::is_here())?;
    std::fs::create_dir_all(folder.join("source")).unwrap();
    let nginx = Nginx::start(&net, 9, &folder.join("source"), &folder.join("nginx"));
    Some((net, nginx))
}

#[test]
fn a_tree_of_awkward_names_comes_from_a_web_seed_alone_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let Some((net, nginx)) = served(folder.path(), &[Client::Shoal]) else { return };
    let source = tree::awkward(&at("source"), "tree", 31);
    for format in ["v1", "hybrid", "v2"] {
        let torrent = at(&format!("{format}.torrent"));
        let more = ["--format", format, "--webseed", &nginx.url(), "--piece-length", "32KiB"];
        create(folder.path(), &source, &torrent, &more);
        assert_eq!(show(folder.path(), arg(&torrent))["web_seeds"], json!([nginx.url()]));
        let to = at(format);
        download(&net, 2, folder.path(), arg(&torrent), &to, &[]).wait().expect(0);
        tree::assert_same(&source, &to.join("tree"));
    }
}

#[test]
fn a_single_file_comes_from_its_url_and_from_its_folder_and_a_wrong_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let Some((net, nginx)) = served(folder.path(), &[Client::Shoal]) else { return };
    let source = tree::file(&at("source"), "one file.bin", 32, 3_000_000);
    for (name, url) in [("by url", format!("{}one%20file.bin", nginx.url())), ("by folder", nginx.url())] {
        let torrent = at(&format!("{name}.torrent"));
        create(folder.path(), &source, &torrent, &["--webseed", &url]);
        download(&net, 2, folder.path(), arg(&torrent), &at(name), &[]).wait().expect(0);
        assert_eq!(std::fs::read(at(name).join("one file.bin")).unwrap(), std::fs::read(&source).unwrap());
    }
    let torrent = at("wrong.torrent");
    create(folder.path(), &source, &torrent, &["--webseed", &format!("{}nothing", nginx.url())]);
    let mut args = vec!["download", arg(&torrent), "--output", arg(folder.path()), "--timeout", "8s", "--port", "0"];
    args.extend(QUIET);
    let ended = Process::start(SHOAL, &args, folder.path()).wait();
    assert_ne!(ended.code(), 0);
    let said = ended.stderr.join("\n");
    assert!(said.contains("404") && said.contains("not asked any more"), "{said}");
}

#[test]
fn others_fetch_from_the_web_seeds_of_what_shoal_makes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let Some((net, nginx)) = served(folder.path(), &[Client::Libtorrent, Client::Aria2]) else { return };
    let source = tree::awkward(&at("source"), "tree", 33);
    let expected = tree::awkward(&at("expected"), "tree", 33);
    tree::remove_empty(&expected);
    let torrent = at("tree.torrent");
    create(folder.path(), &source, &torrent, &["--format", "v1", "--webseed", &nginx.url(), "--piece-length", "32KiB"]);

    let ip = net.ip(3).to_string();
    let job = json!({"source": torrent, "save": at("libtorrent"), "ip": ip, "port": net.port()});
    let libtorrent = Process::start(PYTHON, &[arg(&driver()), "run", &job.to_string()], folder.path());
    until("libtorrent has the tree", || tree::same(&source, &at("libtorrent/tree")));
    drop(libtorrent.interrupt());

    let to = format!("--dir={}", at("aria2").display());
    let args = ["--no-conf", "--enable-dht=false", "--bt-enable-lpd=false", "--seed-time=0", "--file-allocation=none"];
    let args: Vec<&str> = args.into_iter().chain([to.as_str(), arg(&torrent)]).collect();
    let _aria2 = Process::start("aria2c", &args, folder.path());
    let arrived = || tree::same(&source, &at("aria2/tree")) || tree::same(&expected, &at("aria2/tree"));
    until("aria2 has the tree", arrived);
}

#[test]
fn shoal_fetches_from_the_web_seeds_of_what_libtorrent_makes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let Some((net, nginx)) = served(folder.path(), &[Client::Libtorrent]) else { return };
    let source = tree::awkward(&at("source"), "tree", 34);
    for format in ["v1", "hybrid", "v2"] {
        let torrent = at(&format!("{format}.torrent"));
        let job = json!({"path": source, "parent": at("source"), "output": torrent, "format": format,
            "piece_length": 32768, "web_seeds": [nginx.url()]});
        Process::start(PYTHON, &[arg(&driver()), "create", &job.to_string()], folder.path()).wait().expect(0);
        let to = at(format);
        download(&net, 2, folder.path(), arg(&torrent), &to, &[]).wait().expect(0);
        tree::assert_same(&source, &to.join("tree"));
    }
}

#[test]
fn shoal_fetches_from_the_web_seeds_of_what_mktorrent_makes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let Some((net, nginx)) = served(folder.path(), &[Client::Shoal]) else { return };
    let is_here = std::process::Command::new("mktorrent").arg("-h").output().is_ok();
    if !is_here {
        return crate::support::skip("mktorrent is not installed");
    }
    let source = tree::awkward(&at("source"), "tree", 35);
    let torrent = at("tree.torrent");
    let url = nginx.url();
    let args = ["-a", "http://tracker.example/announce", "-w", &url, "-l", "15", "-o", arg(&torrent), arg(&source)];
    Process::start("mktorrent", &args, folder.path()).wait().expect(0);
    download(&net, 2, folder.path(), arg(&torrent), &at("to"), &[]).wait().expect(0);
    tree::assert_same(&source, &at("to/tree"));
}
