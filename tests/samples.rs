//! The sample torrents under `torrents/`: whoever makes them anew gets the same bytes.
//!
//! They pin the canonical info dictionary (docs/cli.md, "Canonical torrents"): a change that would give the same files another
//! info hash fails here.

use std::path::{Path, PathBuf};
use std::process::Command;

/// v1 and v2 info hash of each sample, as `show --json` has them.
const V1: [&str; 2] = ["\"8c5a99d2861a93cb26f83fd40b586ee3bb5794f2\"", "null"];
const V2: [&str; 2] = ["null", "\"a8d5300759c2edd3de063bc705065b686e11a6e070ee56ee1f1a15e7fd235c08\""];
const HYBRID: [&str; 2] = [
    "\"4924837aff02a83983a87a95fd89ac910a21bafc\"",
    "\"aae9523609fd69a53eb56bae36863852d4642668f4ef4cb536513d4419726d81\"",
];

fn torrents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../torrents")
}

fn shoal(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_shoal"))
        .args(args)
        .current_dir(torrents())
        .env_clear()
        .env("HOME", std::env::temp_dir())
        .output()
        .expect("the binary starts");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("results are UTF-8")
}

/// The info hashes in a line of `show --json`.
fn hashes(shown: &str) -> Vec<String> {
    ["info_hash_v1", "info_hash_v2"]
        .map(|key| {
            let value = shown.split(&format!("\"{key}\":")).nth(1).expect("the key is there");
            value.split(',').next().expect("it has a value").to_owned()
        })
        .to_vec()
}

#[test]
fn creating_a_sample_anew_gives_its_info_hashes() {
    for format in ["v1", "v2", "hybrid"] {
        let kept = format!("sample-{format}.torrent");
        let folder = tempfile::tempdir().expect("a folder");
        let made = folder.path().join("made.torrent");
        let made = made.to_str().expect("a UTF-8 path");
        shoal(&["create", "sample", "-o", made, "--format", format]);
        assert_eq!(hashes(&shoal(&["show", &kept, "--json"])), hashes(&shoal(&["show", made, "--json"])), "{format}");
    }
}

#[test]
fn the_samples_have_the_hashes_that_they_always_had() {
    let expected = [("v1", V1), ("v2", V2), ("hybrid", HYBRID)];
    for (format, hashes_of_it) in expected {
        assert_eq!(hashes(&shoal(&["show", &format!("sample-{format}.torrent"), "--json"])), hashes_of_it, "{format}");
    }
}

#[test]
fn the_sample_data_is_whole() {
    for format in ["v1", "v2", "hybrid"] {
        shoal(&["verify", &format!("sample-{format}.torrent"), "."]);
    }
}
