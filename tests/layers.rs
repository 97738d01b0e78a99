//! The layer rule of `docs/architecture.md`, as a test: each crate uses only layers below its own, the pure crates stay pure,
//! every source file says what it is, and `unsafe` stands in `hash` alone.
//!
//! It reads manifests and sources rather than a build's output, so it also sees what is behind a feature or a `cfg`.

#[cfg(test)]
mod rules {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::{Path, PathBuf};

    /// The layer of each crate, lowest first.
    const LAYERS: [(&str, u8); 16] = [
        ("machine", 0),
        ("layout", 0),
        ("bencode", 0),
        ("hash", 0),
        ("metainfo", 1),
        ("wire", 1),
        ("pieces", 1),
        ("utp", 1),
        ("swarm", 2),
        ("storage", 2),
        ("overlay", 2),
        ("discovery", 3),
        ("trace", 3),
        ("session", 4),
        ("sim", 4),
        ("cli", 5),
    ];

    /// Crates that decide and never touch the world; their `clippy.toml` disallows clocks, sockets and files.
    /// `metainfo` is absent: creating a torrent reads files. `storage` too: it carries out what its machine orders.
    const PURE: [&str; 10] =
        ["machine", "layout", "bencode", "hash", "wire", "pieces", "utp", "swarm", "overlay", "trace"];

    /// What a pure crate's `clippy.toml` must name at least.
    const DISALLOWED: [&str; 4] =
        ["std::time::Instant", "std::time::SystemTime", "std::net::TcpStream", "std::fs::File"];

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
    }

    fn layer(name: &str) -> Option<u8> {
        LAYERS.iter().find(|(known, _)| *known == name).map(|&(_, layer)| layer)
    }

    /// Folder name and parsed manifest of every crate.
    fn manifests() -> BTreeMap<String, toml::Table> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(root().join("crates")).unwrap() {
            let folder = entry.unwrap().path();
            let text = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            found.insert(name, text.parse().unwrap());
        }
        assert!(found.len() > 5, "the crates folder holds the workspace");
        found
    }

    /// Our own crates that a manifest names, in any kind of dependency and for any platform.
    fn own_dependencies(manifest: &toml::Table) -> Vec<String> {
        let mut tables = vec![manifest];
        if let Some(targets) = manifest.get("target").and_then(|t| t.as_table()) {
            tables.extend(targets.values().filter_map(|t| t.as_table()));
        }
        let mut names = Vec::new();
        for table in tables {
            for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
                for (key, value) in table.get(kind).and_then(|d| d.as_table()).into_iter().flatten() {
                    // `foo = { package = "shoal-x" }` must not slip through.
                    let package = value.get("package").and_then(|p| p.as_str()).unwrap_or(key);
                    names.extend(package.strip_prefix("shoal-").map(str::to_owned));
                }
            }
        }
        names
    }

    fn layer_faults(manifests: &BTreeMap<String, toml::Table>) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, manifest) in manifests {
            let Some(own) = layer(name) else {
                faults.push(format!("crates/{name} has no layer: add it to the table and to docs/architecture.md"));
                continue;
            };
            for dependency in own_dependencies(manifest) {
                match layer(&dependency) {
                    Some(below) if below < own => {}
                    Some(other) => {
                        faults.push(format!("{name} (layer {own}) depends on {dependency} (layer {other})"));
                    }
                    None => faults.push(format!("{name} depends on {dependency}, which has no layer")),
                }
            }
        }
        faults
    }

    fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                rust_files(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }

    fn sources() -> Vec<(PathBuf, String)> {
        let mut files = Vec::new();
        rust_files(&root().join("crates"), &mut files);
        rust_files(&root().join("tests"), &mut files);
        rust_files(&root().join("fuzz").join("fuzz_targets"), &mut files);
        files.sort();
        files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
    }

    /// Whether a line of code (not a comment, not a lint's name) holds the keyword.
    fn holds_unsafe(line: &str) -> bool {
        let code = line.split("//").next().unwrap_or_default();
        code.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == "unsafe") && !code.contains('"')
    }

    #[test]
    fn each_crate_uses_only_layers_below_its_own() {
        let faults = layer_faults(&manifests());
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn the_layer_rule_sees_upward_sideways_renamed_and_platform_dependencies() {
        let manifest = |text: &str| text.parse::<toml::Table>().unwrap();
        for (name, text) in [
            ("wire", "[dependencies]\nshoal-swarm.workspace = true"),
            ("wire", "[dependencies]\nshoal-metainfo.workspace = true"),
            ("swarm", "[dev-dependencies]\nshoal-sim.workspace = true"),
            ("hash", "[build-dependencies]\nx = { package = \"shoal-cli\", path = \"../cli\" }"),
            ("storage", "[target.'cfg(unix)'.dependencies]\nshoal-session.workspace = true"),
            ("surprise", ""),
        ] {
            let faults = layer_faults(&BTreeMap::from([(name.to_owned(), manifest(text))]));
            assert_eq!(faults.len(), 1, "{name}: {text}: {faults:?}");
        }
    }

    #[test]
    fn pure_crates_disallow_clocks_sockets_and_files() {
        for name in manifests().keys().filter(|name| PURE.contains(&name.as_str())) {
            let path = root().join("crates").join(name).join("clippy.toml");
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            for word in DISALLOWED {
                assert!(text.contains(word), "{} does not disallow {word}", path.display());
            }
        }
    }

    #[test]
    fn every_crate_takes_the_workspace_lints() {
        for (name, manifest) in manifests() {
            let lints = manifest.get("lints").and_then(|l| l.as_table());
            let whole = lints.and_then(|l| l.get("workspace")).and_then(|w| w.as_bool()) == Some(true);
            // `hash` may set its own: it is the only crate with `unsafe`.
            assert!(
                whole || name == "hash" && lints.is_some(),
                "crates/{name}/Cargo.toml lacks `[lints] workspace = true`"
            );
        }
    }

    #[test]
    fn every_source_file_says_what_it_is() {
        let silent: Vec<_> =
            sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(path, _)| path).collect();
        assert!(silent.is_empty(), "these do not open with `//!`: {silent:#?}");
    }

    #[test]
    fn unsafe_stands_in_hash_alone() {
        let hash = root().join("crates").join("hash");
        for (path, text) in sources().iter().filter(|(path, _)| !path.starts_with(&hash)) {
            for (number, line) in text.lines().enumerate() {
                assert!(!holds_unsafe(line), "{}:{}: {line}", path.display(), number + 1);
            }
        }
    }
}
