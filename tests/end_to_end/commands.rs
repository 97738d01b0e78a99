//! The commands that need no network, as scripts meet them: stdout, exit codes, one line on stderr.

use crate::support::shoal::{arg, create, json, shoal, show};
use crate::support::tree;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn show_prints_one_documented_object() {
    let folder = tempfile::tempdir().unwrap();
    let source = tree::awkward(folder.path(), "tree", 1);
    for format in ["v1", "v2", "hybrid"] {
        let torrent = folder.path().join(format).with_extension("torrent");
        let more = ["--format", format, "--comment", "a comment", "--source", "here", "--private"];
        let more =
            [&more[..], &["--tracker", "http://one.example/announce", "--webseed", "http://web.example/"]].concat();
        create(folder.path(), &source, &torrent, &more);
        let shown = show(folder.path(), arg(&torrent));
        let mut expected = vec![
            "name",
            "info_hash_v1",
            "info_hash_v2",
            "format",
            "total_length",
            "piece_length",
            "piece_count",
            "private",
            "source",
            "comment",
            "created_by",
            "creation_date",
            "trackers",
            "web_seeds",
            "nodes",
            "peers",
            "select",
            "files",
            "warnings",
        ];
        let mut found = keys(&shown);
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(shown["format"], format);
        assert_eq!(shown["info_hash_v1"].is_null(), format == "v2");
        assert_eq!(shown["info_hash_v2"].is_null(), format == "v1");
        assert_eq!(shown["trackers"], serde_json::json!([["http://one.example/announce"]]));
        assert_eq!(shown["web_seeds"], serde_json::json!(["http://web.example/"]));
        assert_eq!((&shown["private"], &shown["source"]), (&Value::from(true), &Value::from("here")));
        let contents = tree::contents(&source);
        let files = shown["files"].as_array().unwrap();
        assert_eq!(files.len(), contents.len(), "padding is not among the files");
        let total: usize = contents.values().map(Vec::len).sum();
        assert_eq!(shown["total_length"], total);
        for file in files {
            let path: Vec<&str> = file["path"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
            assert_eq!(file["length"], contents[Path::new(&path.join("/"))].len());
        }
        assert_eq!(shown["warnings"], serde_json::json!([]));
    }
}

#[test]
fn the_same_tree_gives_the_same_hashes_wherever_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("some where else"));
    for parent in [&a, &b] {
        tree::awkward(parent, "tree", 1);
    }
    for format in ["v1", "v2", "hybrid"] {
        let hashes = [&a, &b].map(|parent| {
            let torrent = create(parent, &parent.join("tree"), &parent.join(format), &["--format", format]);
            let shown = show(parent, arg(&torrent));
            (shown["info_hash_v1"].clone(), shown["info_hash_v2"].clone())
        });
        assert_eq!(hashes[0], hashes[1], "{format}");
    }
}

#[test]
fn the_link_of_a_torrent_leads_back_to_its_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let source = tree::file(folder.path(), "file", 1, 100_000);
    let torrent =
        create(folder.path(), &source, &folder.path().join("t"), &["--tracker", "http://one.example/announce"]);
    let ended = shoal(folder.path(), &["link", arg(&torrent)]).expect(0);
    assert_eq!(ended.stdout.len(), 1);
    let (of_file, of_link) = (show(folder.path(), arg(&torrent)), show(folder.path(), &ended.stdout[0]));
    for key in ["name", "info_hash_v1", "info_hash_v2", "trackers"] {
        assert_eq!(of_file[key], of_link[key], "{key}");
    }
}

#[test]
fn verify_names_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let source = tree::awkward(folder.path(), "tree", 1);
    let torrent = create(folder.path(), &source, &folder.path().join("t"), &[]);
    shoal(folder.path(), &["verify", arg(&torrent), arg(folder.path())]).expect(0);
    let mut bytes = fs::read(source.join("large")).unwrap();
    bytes[345_678] ^= 1;
    fs::write(source.join("large"), bytes).unwrap();
    fs::remove_file(source.join("한국어")).unwrap();
    let ended = shoal(folder.path(), &["verify", arg(&torrent), arg(folder.path())]).expect(6);
    let said = ended.stdout.join("\n");
    assert!(said.contains("large") && said.contains("한국어"), "{said}");
    assert!(!said.contains("café"), "{said}");
}

#[test]
fn edit_changes_trackers_and_keeps_the_hash() {
    let folder = tempfile::tempdir().unwrap();
    let source = tree::file(folder.path(), "file", 1, 100_000);
    let torrent =
        create(folder.path(), &source, &folder.path().join("t"), &["--tracker", "http://one.example/announce"]);
    let before = show(folder.path(), arg(&torrent));
    let args = ["edit", arg(&torrent), "--clear-trackers", "--tracker", "http://two.example/announce"];
    shoal(folder.path(), &args).expect(0);
    let after = show(folder.path(), arg(&torrent));
    assert_eq!(after["trackers"], serde_json::json!([["http://two.example/announce"]]));
    assert_eq!(after["info_hash_v1"], before["info_hash_v1"]);
    assert_eq!(after["info_hash_v2"], before["info_hash_v2"]);
}

#[test]
fn refusals_are_one_line_and_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    fs::write(home.join("not a torrent"), "hello").unwrap();
    fs::write(home.join("deep"), "l".repeat(1 << 20)).unwrap();
    fs::write(home.join("no info"), "d8:announce3:urle").unwrap();
    let long =
        "d4:infod6:lengthi99999999999999999999999e4:name1:x12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
    fs::write(home.join("too long"), long).unwrap();
    for (args, code) in [
        (vec!["show", "not a torrent"], 6),
        (vec!["show", "deep"], 6),
        (vec!["show", "no info"], 6),
        (vec!["show", "too long"], 6),
        (vec!["show", "magnet:?dn=nothing"], 6),
        (vec!["link", "not a torrent"], 6),
        (vec!["download", "not a torrent"], 6),
    ] {
        let ended = shoal(home, &args);
        assert_eq!(ended.code(), code, "{args:?}: {:?}", ended.stderr);
        assert_eq!((ended.stdout.len(), ended.stderr.len()), (0, 1), "{args:?}: {:?}", ended.stderr);
    }
    for command in ["share", "create"] {
        let ended = shoal(home, &[command, "photos"]).expect(2);
        let [line] = &ended.stderr[..] else { panic!("{:?}", ended.stderr) };
        let said = line.contains("no file or folder photos in /") && line.ends_with("; check the path");
        assert!(said, "what is missing, where it was looked for, and what to do: {line}");
    }
    for args in [vec!["download"], vec!["share"], vec!["frobnicate"], vec!["create", "x", "--format", "v3"]] {
        let ended = shoal(home, &args).expect(2);
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn flags_go_before_variables_and_variables_before_the_file() {
    use crate::support::process::Process;
    use crate::support::shoal::SHOAL;
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    tree::file(home, "file", 1, 100_000);
    fs::create_dir_all(home.join("config/shoal")).unwrap();
    fs::write(home.join("config/shoal/config.toml"), "[create]\ncomment = \"file\"\n").unwrap();
    let comment = |name: &str, variables: &[(&str, &str)], more: &[&str]| {
        let mut args = vec!["create", "file", "-o", name];
        args.extend(more);
        Process::start_with(SHOAL, &args, home, variables).wait().expect(0);
        show(home, name)["comment"].as_str().map(str::to_owned)
    };
    let variable = [("SHOAL_CREATE_COMMENT", "variable")];
    assert_eq!(comment("1", &[], &[]).as_deref(), Some("file"));
    assert_eq!(comment("2", &variable, &[]).as_deref(), Some("variable"));
    assert_eq!(comment("3", &variable, &["--comment", "flag"]).as_deref(), Some("flag"));
}

#[test]
fn a_torrent_file_is_not_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let source = tree::file(folder.path(), "file", 1, 100_000);
    let torrent = create(folder.path(), &source, &folder.path().join("t"), &[]);
    let args = ["create", arg(&source), "-o", arg(&torrent)];
    assert_ne!(shoal(folder.path(), &args).code(), 0);
    shoal(folder.path(), &[&args[..], &["--overwrite"]].concat()).expect(0);
}

#[test]
fn completions_and_man_pages_are_written() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let ended = shoal(folder.path(), &["completions", shell]).expect(0);
        assert!(ended.stdout.join("\n").contains("download"));
    }
    shoal(folder.path(), &["man", "pages"]).expect(0);
    assert!(folder.path().join("pages/shoal-download.1").is_file());
}

#[test]
fn json_output_of_create_and_link_is_json() {
    let folder = tempfile::tempdir().unwrap();
    tree::file(folder.path(), "file", 1, 100_000);
    for args in [&["create", "file", "-o", "t", "--link", "--json"][..], &["link", "t", "--json"]] {
        let ended = shoal(folder.path(), args).expect(0);
        let events: Vec<Value> = ended.stdout.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(events[0]["schema"], 1, "{args:?}");
        assert!(events.iter().any(|e| e["event"] == "link" && e["magnet"].as_str().is_some()), "{args:?}: {events:?}");
    }
    drop(json(&shoal(folder.path(), &["show", "t", "--json"]).expect(0)));
}
