//! Names that lead elsewhere, and names that another system cannot have (reliability.md A5, A7): what reaches the disk is
//! read from `strace`, not from what the program says.

use crate::support::net::Net;
use crate::support::process::Process;
use crate::support::shoal::{QUIET, SHOAL, arg, download, seed, shoal};
use crate::support::trace::can_trace;
use crate::support::tree;
use shoal_layout::FileIndex;
use shoal_metainfo::Torrent;
use shoal_storage::Place;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PIECE: usize = 16_384;
/// Bytes in each file: pieces lie over the borders of files.
const LENGTH: usize = 10_000;

/// A v1 torrent of these files, with its content below `data` under the names that a download gives them.
fn planted(data: &Path, torrent: &Path, name: &str, files: &[&[&str]]) -> Torrent {
    let text = |text: &str| format!("{}:{text}", text.len());
    let entry = |path: &&[&str]| {
        let path: String = path.iter().map(|component| text(component)).collect();
        format!("d6:lengthi{LENGTH}e4:pathl{path}ee")
    };
    let list: String = files.iter().map(entry).collect();
    let content = tree::bytes(21, files.len() * LENGTH);
    let hashes: Vec<u8> = content.chunks(PIECE).flat_map(shoal_hash::sha1).collect();
    let head = format!("d4:infod5:filesl{list}e4:name{}12:piece lengthi{PIECE}e6:pieces{}:", text(name), hashes.len());
    let bytes = [head.as_bytes(), &hashes, b"ee"].concat();
    fs::write(torrent, &bytes).unwrap();
    let read = Torrent::parse(&bytes).expect("names are cleaned, not refused");
    let place = Place::safe(&read.info, data, false);
    for (number, content) in content.chunks(LENGTH).enumerate() {
        let path = place.path(FileIndex(number as u32));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    read
}

/// Everything below a folder.
fn listed(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}

/// The calls that change or open something by a name, without those that failed.
fn calls(log: &str) -> impl Iterator<Item = &str> {
    const NAMES: [&str; 16] = [
        "open(",
        "openat(",
        "openat2(",
        "creat(",
        "mkdir(",
        "mkdirat(",
        "rename(",
        "renameat(",
        "renameat2(",
        "unlink(",
        "unlinkat(",
        "symlink(",
        "symlinkat(",
        "link(",
        "linkat(",
        "truncate(",
    ];
    // `123 openat2(...) = 5`: a call that another thread interrupted is split, and its name stands in both halves.
    log.lines()
        .filter_map(|line| line.split_once(' ').map(|(_, call)| call.trim_start()))
        .filter(|call| NAMES.iter().any(|name| call.starts_with(name)) && !call.contains(" = -1 "))
}

#[test]
fn no_name_opens_anything_outside_the_download_folder() {
    if !can_trace() {
        return;
    }
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let absolute = at("absolute");
    let files: [&[&str]; 14] = [
        &["..", "..", "up"],
        &["..", ".", "..", "..", "..", "..", "..", "..", "..", "..", "tmp", "shoal-root"],
        &["/etc/shoal-absolute"],
        &[arg(&absolute)],
        &["a/../../slash"],
        &["..\\..\\backslash"],
        &["nul\0byte"],
        &["", "empty"],
        &["\u{202e}bidi", "\u{200b}"],
        &["line\nfeed\u{1b}[2J"],
        &["~", "home"],
        &["$HOME", "`id`"],
        &["...", " "],
        &["plain"],
    ];
    let torrent = at("names.torrent");
    planted(&at("data"), &torrent, "../../above", &files);
    let seeder = seed(&net, 2, &at("seed home"), &torrent, &at("data"), &[]);
    let (output, log, home) = (at("output"), at("log"), at("home"));
    fs::create_dir_all(&output).unwrap();
    fs::create_dir_all(&home).unwrap();
    fs::write(&log, "").unwrap();
    let before = listed(folder.path());
    let (ip, peer) = (net.ip(3).to_string(), seeder.addr.to_string());
    let mut words = vec!["-f", "-y", "-o", arg(&log), "-e", "trace=%file", SHOAL, "download", arg(&torrent)];
    words.extend(["--output", arg(&output), "--port", "0", "--bind", &ip, "--peer", &peer]);
    words.extend(QUIET);
    Process::start("strace", &words, &home).wait().expect(0);
    seeder.process.interrupt().expect(0);
    tree::assert_same(&at("data"), &output);
    // The seed's own state aside, which is not this program's.
    let new: Vec<PathBuf> = listed(folder.path()).difference(&before).cloned().collect();
    let allowed = |path: &Path| [&output, &home, &at("seed home")].iter().any(|folder| path.starts_with(folder));
    assert!(new.iter().all(|path| allowed(path)), "{new:#?}");
    let text = fs::read_to_string(&log).unwrap();
    let (below, own) = (format!("<{}", output.display()), format!("\"{}", home.display()));
    let mut payload = 0;
    for call in calls(&text) {
        let writes =
            ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| call.contains(flag)) || !call.starts_with("open");
        if call.contains(&below) && call.starts_with("openat2(") {
            assert!(call.contains("RESOLVE_BENEATH") && call.contains("RESOLVE_NO_SYMLINKS"), "{call}");
            payload += usize::from(call.contains("O_CREAT"));
        } else if writes {
            // Its own state, or a folder below the handle of one of ours.
            let folder = call.starts_with("mkdirat(") && call.contains(&below) && !call.contains(", \"/");
            let state = call.contains(&own) || call.contains(&format!("<{}", home.display()));
            assert!(folder || state || call.contains("\"/dev/null\""), "{call}");
        } else {
            // Programs read libraries, certificates and /proc; what the torrent names is not among them.
            let named = ["up", "shoal-root", "shoal-absolute", "slash", "backslash", "absolute", "above", "plain"];
            let name = call.split('"').nth(1).and_then(|path| path.rsplit('/').next()).unwrap_or_default();
            assert!(!named.contains(&name), "{call}");
        }
    }
    assert!(payload >= files.len(), "{payload} files were created below a handle: the log shows it\n{text}");
}

#[test]
fn portable_names_are_those_that_windows_takes_and_are_found_again() {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let files: [&[&str]; 8] =
        [&["COM1"], &["aux.txt"], &["a."], &["a "], &["b?c<d>|"], &["folder.", "x:y"], &["A_"], &["plain"]];
    let torrent = at("names.torrent");
    planted(&at("data"), &torrent, "con", &files);
    let names = |output: &Path| -> BTreeSet<String> {
        tree::contents(output).keys().map(|path| path.to_str().unwrap().to_owned()).collect()
    };
    let as_they_are = ["COM1", "aux.txt", "a.", "a ", "b?c<d>|", "folder./x:y", "A_", "plain"];
    let cleaned = ["_COM1", "_aux.txt", "a_", "a_.1", "b_c_d__", "folder_/x_y", "A_.2", "plain"];
    for (flag, root, expected) in [(None, "con", as_they_are), (Some("--portable"), "_con", cleaned)] {
        let seeder = seed(&net, 2, &at("seed home"), &torrent, &at("data"), &[]);
        let peer = seeder.addr.to_string();
        let output = at(root);
        let mut more = vec!["--peer", peer.as_str()];
        more.extend(flag);
        let ended = download(&net, 3, &at("home"), arg(&torrent), &output, &more).wait().expect(0);
        let done = ended.stdout.iter().find(|line| line.contains("\"done\"")).expect("done is told");
        assert!(done.contains(arg(&output.join(root))), "{done}");
        assert_eq!(names(&output), expected.iter().map(|name| format!("{root}/{name}")).collect(), "{flag:?}");
        seeder.process.interrupt().expect(0);
        // Found again, whatever they are called, by those who only read.
        for place in [output.clone(), output.join(root)] {
            shoal(&at("home"), &["verify", arg(&torrent), arg(&place)]).expect(0);
        }
        let again = seed(&net, 2, &at("again home"), &torrent, &output, &[]);
        let third = at("third");
        let peer = again.addr.to_string();
        download(&net, 4, &at("third home"), arg(&torrent), &third, &["--peer", &peer]).wait().expect(0);
        tree::assert_same(&at("data"), &third);
        fs::remove_dir_all(&third).unwrap();
        fs::remove_dir_all(at("third home")).unwrap();
        again.process.interrupt().expect(0);
    }
}
