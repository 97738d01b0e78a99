//! `shoal download URL`, and what servers may do to those who ask them.

use crate::support::net::Net;
use crate::support::process::{Process, Stream};
use crate::support::shoal::{QUIET, SHOAL, arg, create, seed};
use crate::support::tree;
use crate::support::web::{Authority, Own, Web, answer, self_signed};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;

/// A torrent file of something small.
fn torrent(folder: &Path) -> Vec<u8> {
    let file = tree::file(folder, "file", 5, 100_000);
    std::fs::read(create(folder, &file, &folder.join("file.torrent"), &["--piece-length", "16KiB"])).unwrap()
}

fn list<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["download", url, "--list", "--port", "0", "--bind", "127.0.0.1"][..], more].concat()
}

#[test]
fn a_torrent_file_is_fetched_by_its_url_and_then_its_data_by_its_peers() {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let bytes = torrent(&folder.path().join("source"));
    let source = folder.path().join("source");
    let redirect = answer("302 Found", "Location: /file.torrent?key=1\r\n", b"");
    let web = Web::start(net.ip(1), None, &[("/a", redirect), ("/file.torrent", answer("200 OK", "", &bytes))]);
    let seed = seed(&net, 2, &folder.path().join("seed"), &source.join("file.torrent"), &source, &[]);
    let (url, peer, ip) = (format!("http://{}/a", web.addr), seed.addr.to_string(), net.ip(3).to_string());
    let output = folder.path().join("output");
    let mut args = vec!["download", &url, "--output", arg(&output), "--peer", &peer, "--port", "0", "--bind", &ip];
    args.extend(QUIET);
    let ended = Process::start(SHOAL, &args, &folder.path().join("home")).wait().expect(0);
    assert_eq!(ended.stdout, [arg(&output.join("file"))]);
    tree::assert_same(&source.join("file"), &output.join("file"));
}

#[test]
fn what_is_no_torrent_file_is_told_with_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let html = "Content-Type: text/html\r\n";
    let paths = [
        ("/page", answer("200 OK", html, b"<!doctype html><title>log in</title>")),
        ("/rubbish", answer("200 OK", "", b"not bencode")),
        ("/busy", answer("503 Service Unavailable", html, b"<html>")),
        ("/round", answer("302 Found", "Location: /round\r\n", b"")),
        ("/file", answer("302 Found", "Location: file:///etc/passwd\r\n", b"")),
    ];
    let web = Web::start("127.0.0.1".parse().unwrap(), None, &paths);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://{}/a", silent.local_addr().unwrap());
    for (url, more, code, says) in [
        (format!("http://{}/page", web.addr), &[][..], 4, "web page"),
        (format!("http://{}/rubbish", web.addr), &[][..], 6, "bad torrent file"),
        (format!("http://{}/busy", web.addr), &[][..], 4, "answered 503"),
        (format!("http://{}/nothing", web.addr), &[][..], 4, "answered 404"),
        (format!("http://{}/round", web.addr), &[][..], 4, "too many redirects"),
        (format!("http://{}/file", web.addr), &[][..], 4, "file is not supported here"),
        (format!("http://{closed}/a"), &[][..], 4, "cannot connect"),
        (format!("https://{}/page", web.addr), &[][..], 4, "no secure connection"),
        ("http://no-such-host.invalid/a".to_owned(), &[][..], 4, "cannot resolve"),
        (silent_url, &["--timeout", "1s"][..], 3, "no torrent file within 1s"),
        ("http://".to_owned(), &[][..], 2, "bad URL"),
    ] {
        let ended = Process::start(SHOAL, &list(&url, more), folder.path()).wait().expect(code);
        let last = ended.stderr.last().unwrap();
        assert!(last.contains(says) && ended.stdout.is_empty(), "{url}: {last}");
    }
}

#[test]
fn bad_certificates_are_refused_and_a_good_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = torrent(folder.path());
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let pem = folder.path().join("authority.pem");
    std::fs::write(&pem, &ours.pem).unwrap();
    let fetch = |own: Own| {
        let web = Web::start("127.0.0.1".parse().unwrap(), Some(own), &[("/a", answer("200 OK", "", &bytes))]);
        let url = format!("https://{}/a", web.addr);
        Process::start_with(SHOAL, &list(&url, &[]), folder.path(), &[("SSL_CERT_FILE", arg(&pem))]).wait()
    };
    let ended = fetch(ours.sign("127.0.0.1", false)).expect(0);
    assert!(ended.stdout[0].ends_with("file"), "{:?}", ended.stdout);
    for (own, says) in [
        (ours.sign("127.0.0.1", true), "its certificate has expired"),
        (ours.sign("other.example", false), "its certificate is for another name"),
        (self_signed("127.0.0.1"), "signed by itself or by an authority that is not known here"),
        (theirs.sign("127.0.0.1", false), "signed by itself or by an authority that is not known here"),
    ] {
        let ended = fetch(own).expect(4);
        assert!(ended.stderr.last().unwrap().contains(says), "{:?}", ended.stderr);
    }
}

#[test]
fn a_tracker_that_sends_a_gibibyte_in_a_mebibyte_costs_less_than_eight_mebibytes() {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    torrent(&source);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    (0..1024).for_each(|_| encoder.write_all(&zeros).unwrap());
    let bomb = answer("200 OK", "Content-Encoding: gzip\r\n", &encoder.finish().unwrap());
    let harmless = answer("200 OK", "", b"d14:failure reason4:nonee");
    let web = Web::start(net.ip(1), None, &[("/announce/bomb", bomb), ("/announce/harmless", harmless)]);
    let peak = |path: &str, says: &str| {
        let torrent = folder.path().join(path).with_extension("torrent");
        let url = format!("http://{}/announce/{path}", web.addr);
        create(folder.path(), &source.join("file"), &torrent, &["--tracker", &url]);
        let seed = seed(&net, 2, &folder.path().join(path), &torrent, &source, &["-v"]);
        seed.process.wait_for(Stream::Err, says, |line| line.contains(says).then_some(()));
        seed.process.peak_memory()
    };
    let (without, with) = (peak("harmless", "refused: none"), peak("bomb", "is too long"));
    println!("peak memory {} KiB without, {} KiB with the bomb", without >> 10, with >> 10);
    assert!(with < without + (8 << 20), "{without} and {with} bytes");
}
