//! One run of the program: arguments, configuration, streams in; an exit code out.

use crate::args::{Cli, Color, Command, Experiment};
use crate::commands;
use crate::config_file::ConfigFile;
use crate::escape::shell_quote;
use crate::exit::{Exit, Failure};
use crate::log;
use crate::report::{Level, Reporter, Streams, Style};
use crate::variables::{variable, with_variables};
use clap::{CommandFactory, FromArgMatches};
use etcetera::BaseStrategy;
use shoal_discovery::Authorities;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Bytes of `SSL_CERT_FILE` that are read. Chosen: a whole system's list has a quarter of a megabyte.
const MAX_CERTIFICATES_BYTES: u64 = 8 << 20;

/// What a run takes from outside.
pub(crate) struct Env {
    /// The words, the program's name first.
    pub(crate) args: Vec<OsString>,
    /// Where results and talk go.
    pub(crate) streams: Streams,
    /// The configuration file, which need not exist; `None` where no home is known.
    pub(crate) config: Option<PathBuf>,
    /// Where resume state is kept; `None` where no home is known.
    pub(crate) state: Option<PathBuf>,
    /// `NO_COLOR` is set and not empty (no-color.org), or the terminal is dumb.
    pub(crate) no_color: bool,
    /// The terminal cannot move its cursor.
    pub(crate) dumb: bool,
    /// `SHOAL_HASH_PATH`: the instructions to hash with, instead of the best.
    pub(crate) hash_path: Option<OsString>,
    /// `SSL_CERT_FILE`: certificates of authorities that are believed beside Mozilla's list.
    pub(crate) certificates: Option<PathBuf>,
}

impl Env {
    /// The process's own.
    pub(crate) fn of_process() -> Env {
        let folders = etcetera::base_strategy::Xdg::new().ok();
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Env {
            args: std::env::args_os().collect(),
            streams: Streams::of_process(),
            config: folders.as_ref().map(|f| f.config_dir().join("shoal").join("config.toml")),
            state: folders.as_ref().and_then(|f| f.state_dir()).map(|dir| dir.join("shoal")),
            no_color: set("NO_COLOR") || dumb,
            dumb,
            hash_path: std::env::var_os("SHOAL_HASH_PATH"),
            certificates: std::env::var_os("SSL_CERT_FILE").filter(|value| !value.is_empty()).map(PathBuf::from),
        }
    }
}

/// What a command works with.
pub(crate) struct Context {
    /// Who is told.
    pub(crate) reporter: Reporter,
    /// The configuration file, which need not exist.
    pub(crate) config: Option<PathBuf>,
    /// Where resume state is kept.
    pub(crate) state: Option<PathBuf>,
    args: Vec<OsString>,
    certificates: Option<PathBuf>,
}

impl Context {
    /// Whose certificates are believed. A file that cannot be used is told and left out: nobody is believed for that.
    pub(crate) fn authorities(&self) -> Authorities {
        let Some(path) = &self.certificates else { return Authorities::default() };
        let unusable = |why: String| {
            let line = format!("note: SSL_CERT_FILE={} is not used: {why}", path.display());
            self.reporter.say(Level::Normal, &line);
            Authorities::default()
        };
        let mut pem = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_CERTIFICATES_BYTES).read_to_end(&mut pem));
        match read {
            Ok(_) => Authorities::with_pem(&pem).unwrap_or_else(|error| unusable(error.to_string())),
            Err(error) => unusable(error.to_string()),
        }
    }

    /// What was typed, to be typed again, without a flag that takes a value.
    pub(crate) fn command_line_without(&self, flag: &str) -> String {
        let mut line = "shoal".to_owned();
        let mut words = self.args.iter().skip(1).map(|word| word.to_string_lossy());
        while let Some(word) = words.next() {
            if word == flag {
                words.next();
            } else if word.strip_prefix(flag).is_none_or(|value| !value.starts_with('=')) {
                line.push(' ');
                line.push_str(&shell_quote(&word));
            }
        }
        line
    }
}

/// Runs the program and says how it ended.
pub(crate) fn run(env: Env) -> u8 {
    let command = match parse(&env) {
        Ok(command) => command,
        Err(Early::Clap(error)) => {
            let asked_for =
                matches!(error.kind(), clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion);
            let (mut stream, terminal) = if error.use_stderr() {
                (env.streams.err, env.streams.err_is_terminal)
            } else {
                (env.streams.out, env.streams.out_is_terminal)
            };
            let text = error.render();
            let mut text = if terminal && !env.no_color { text.ansi().to_string() } else { text.to_string() };
            if let Some(variable) = blamed_variable(&error, &env.args) {
                text.push_str(&format!("\nThe value comes from the variable {variable}.\n"));
            }
            // Help into a closed pipe is nobody's loss.
            let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
            return if asked_for { Exit::Done.code() } else { Exit::Usage.code() };
        }
        Err(Early::Failure(failure)) => {
            let style =
                Style { quiet: true, verbose: 0, bars: false, color: env.streams.err_is_terminal && !env.no_color };
            Reporter::new(env.streams, style, false, false).fail(0, &failure);
            return failure.exit.code();
        }
    };
    let talk = command.talk();
    let color = match talk.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => env.streams.err_is_terminal && !env.no_color,
    };
    let bars = env.streams.err_is_terminal && !env.dumb && !talk.quiet;
    let style = Style { quiet: talk.quiet, verbose: talk.verbose, bars, color };
    let reporter = Reporter::new(env.streams, style, command.json_events(), commands::is_many(&command));
    log::start(&reporter, talk.verbose);
    let context = Context {
        reporter: reporter.clone(),
        config: env.config,
        state: env.state,
        args: env.args,
        certificates: env.certificates,
    };
    let outcome = commands::dispatch(command, &context).and_then(|exit| reporter.finish().map(|()| exit));
    match outcome {
        Ok(exit) => exit.code(),
        Err(failure) => {
            // Bars must be gone before the last line; what else could not be written is less than this failure.
            let _ = reporter.finish();
            if failure.is_broken_pipe() {
                return Exit::Done.code();
            }
            reporter.fail(0, &failure);
            failure.exit.code()
        }
    }
}

/// The variable that a bad value came from, if it was not typed: the value alone would send the user looking in vain.
fn blamed_variable(error: &clap::Error, args: &[OsString]) -> Option<String> {
    use clap::error::{ContextKind, ContextValue};
    let Some(ContextValue::String(usage)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = usage.split([' ', '=']).find_map(|word| word.strip_prefix("--"))?;
    let typed = |word: &OsString| word.to_str().is_some_and(|word| word.starts_with(&format!("--{flag}")));
    let mut words = args.iter().skip(1).filter_map(|word| word.to_str()).filter(|word| !word.starts_with('-'));
    let command = words.next()?;
    let named = [variable(command, flag), variable(&format!("{command} {}", words.next().unwrap_or_default()), flag)];
    named.into_iter().find(|name| !args.iter().any(typed) && std::env::var_os(name).is_some())
}

/// Why there is no command to run.
enum Early {
    /// Help, version or wrong arguments.
    Clap(clap::Error),
    /// The configuration file.
    Failure(Failure),
}

/// Has all hashing use what `SHOAL_HASH_PATH` says, if it says anything.
fn set_hash_path(name: &OsStr) -> Result<(), Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Usage, format!("SHOAL_HASH_PATH={}: {error}", shell_quote(&name.to_string_lossy())))
    };
    let path = shoal_hash::Path::parse(&name.to_string_lossy()).map_err(|error| wrong(&error))?;
    shoal_hash::set_path(path).map_err(|error| wrong(&error))
}

fn parse(env: &Env) -> Result<Command, Early> {
    let root = with_variables(Cli::command());
    // Once without the file, so that help and wrong arguments do not depend on it.
    let matches = root.clone().try_get_matches_from(&env.args).map_err(Early::Clap)?;
    let command = Cli::from_arg_matches(&matches).map_err(Early::Clap)?.command;
    if let Some(name) = &env.hash_path {
        set_hash_path(name).map_err(Early::Failure)?;
    }
    if matches!(command, Command::Completions(_) | Command::Man(_)) {
        return Ok(command);
    }
    let usage = |error| Early::Failure(Failure::new(Exit::Usage, error));
    let mut with_files = None;
    if let Some(path) = &env.config {
        with_files = Some(ConfigFile::load(path, &root).map_err(usage)?.apply(root.clone()));
    }
    if let Some(path) = scenario(&command) {
        let file = ConfigFile::load_table(path, &root, "sim.swarm").map_err(usage)?;
        with_files = Some(file.apply(with_files.unwrap_or(root)));
    }
    let Some(root) = with_files else { return Ok(command) };
    let matches = root.try_get_matches_from(&env.args).map_err(Early::Clap)?;
    Ok(Cli::from_arg_matches(&matches).map_err(Early::Clap)?.command)
}

/// The scenario file that a command names.
fn scenario(command: &Command) -> Option<&Path> {
    match command {
        Command::Sim(args) => match &args.experiment {
            Experiment::Swarm(args) => args.scenario.as_deref(),
            Experiment::Faults(_) | Experiment::Replay(_) => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Stream;
    use crate::report::tests::Tape;

    /// Runs in this process, below a folder of its own: code, standard output, standard error.
    fn shoal(home: &Path, words: &[&str]) -> (u8, String, String) {
        let (out, err) = (Tape::default(), Tape::default());
        let streams = Streams {
            out: Stream::new(out.clone()),
            out_is_terminal: false,
            err: Stream::new(err.clone()),
            err_is_terminal: false,
        };
        let code = run(Env {
            args: std::iter::once("shoal").chain(words.iter().copied()).map(OsString::from).collect(),
            streams,
            config: Some(home.join("config.toml")),
            state: Some(home.join("state")),
            no_color: true,
            dumb: false,
            hash_path: None,
            certificates: None,
        });
        (code, out.text(), err.text())
    }

    fn home() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn help_goes_to_standard_output_and_wrong_words_to_standard_error() {
        let home = home();
        let (code, out, err) = shoal(home.path(), &["download", "--help"]);
        assert!(code == 0 && out.contains("--sequential") && err.is_empty());
        let (code, out, err) = shoal(home.path(), &["download", "--no-such-flag"]);
        assert!(code == 2 && out.is_empty() && err.contains("--no-such-flag"), "{err}");
        assert_eq!(shoal(home.path(), &[]).0, 2);
        assert_eq!(shoal(home.path(), &["--version"]).0, 0);
    }

    #[test]
    fn fault_seeds_have_one_object_and_the_codes_of_scripts() {
        let home = home();
        let faults = |words: &[&str]| shoal(home.path(), &[&["sim", "faults"], words].concat());
        let (code, out, err) = faults(&["--seeds", "3..5", "--scenario", "one-byte", "one-block", "--json", "-q"]);
        assert_eq!((code, err.as_str()), (0, ""));
        let object: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&object["experiment"], &object["params"]["seeds"]), (&"faults".into(), &"3..5".into()));
        assert_eq!(object["rows"].as_array().unwrap().len(), 4);
        assert!(object["events"].as_u64() > Some(100) && object["digest"].as_str().unwrap().len() == 16, "{out}");
        assert_eq!(object["violations"], serde_json::json!([]));
        let (code, out, _) = faults(&["--list"]);
        assert!(code == 0 && out.lines().count() >= 120 && out.contains("tracker-refusing"));
        for (words, said) in [
            (vec![], "--seeds"),
            (vec!["--threads", "2"], "--seeds"),
            (vec!["--seeds", "7"], "0..500"),
            (vec!["--seeds", "7..7"], "0..500"),
            (vec!["--seeds", "0..9000000"], "in parts"),
            (vec!["--seeds", "0..2", "--watch", "1"], "one seed"),
            (vec!["--scenario", "no-such"], "--list"),
        ] {
            let (code, out, err) = faults(&words);
            assert!(code == 2 && out.is_empty() && err.contains(said), "{words:?}: {code} {err}");
        }
    }

    // Whatever is set meanwhile, other tests get the same hashes.
    #[test]
    fn hash_paths_are_known_by_name_and_others_refused() {
        for (name, is_right) in [("", true), ("auto", true), ("portable", true), ("auto", true), ("sse9", false)] {
            match set_hash_path(OsStr::new(name)) {
                Ok(()) => assert!(is_right, "{name}"),
                Err(failure) => {
                    assert!(!is_right && failure.exit == Exit::Usage, "{name}");
                    let text = failure.error.to_string();
                    assert!(text.contains("SHOAL_HASH_PATH=sse9") && text.contains("avx2"), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_bad_configuration_file_stops_every_command_but_not_help() {
        let home = home();
        std::fs::write(home.path().join("config.toml"), "[share]\nprot = 1\n").unwrap();
        let (code, out, err) = shoal(home.path(), &["show", "x"]);
        assert!(code == 2 && out.is_empty() && err.contains("'prot'") && err.lines().count() == 1, "{err}");
        assert_eq!(shoal(home.path(), &["show", "--help"]).0, 0);
        assert_eq!(shoal(home.path(), &["completions", "bash"]).0, 0);
    }

    #[test]
    fn what_is_created_is_shown_edited_and_verified() {
        let home = home();
        let data = home.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("a"), vec![1; 40_000]).unwrap();
        std::fs::write(data.join("b"), "bb").unwrap();
        let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
        for format in ["v1", "v2", "hybrid"] {
            let file = at(&format!("{format}.torrent"));
            let (code, out, err) =
                shoal(home.path(), &["create", &at("data"), "-o", &file, "--format", format, "--link"]);
            assert_eq!(code, 0, "{err}");
            let lines: Vec<&str> = out.lines().collect();
            assert!(lines[0] == file && lines[1].starts_with("magnet:?") && lines.len() == 2, "{out}");

            let (code, out, _) = shoal(home.path(), &["show", &file, "--json"]);
            let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!((code, &shown["format"], out.lines().count()), (0, &format.into(), 1));
            assert_eq!(shown["total_length"], 40_002);

            let (code, out, err) = shoal(home.path(), &["edit", &file, "--tracker", "http://t/announce", "--json"]);
            assert_eq!(code, 0, "{err}");
            let edited: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!(edited["trackers"], serde_json::json!([["http://t/announce"]]));
            assert_eq!(
                (&edited["info_hash_v1"], &edited["info_hash_v2"]),
                (&shown["info_hash_v1"], &shown["info_hash_v2"])
            );

            assert_eq!(shoal(home.path(), &["verify", &file, &at("")]).0, 0);
        }
        std::fs::write(data.join("a"), vec![2; 40_000]).unwrap();
        let (code, out, err) = shoal(home.path(), &["verify", &at("v2.torrent"), &at("")]);
        assert_eq!((code, out.lines().count()), (6, 1), "{out}{err}");
        assert!(out.ends_with("data/a\n"));
    }

    /// Two messages of one SHA-1.
    fn shattered() -> [Vec<u8>; 2] {
        let text = include_str!("../../../tests/collision/shattered.hex");
        let digits = |part: &str| part.chars().filter_map(|c| c.to_digit(16)).collect::<Vec<_>>();
        let bytes = |part: &str| digits(part).chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
        let parts: Vec<Vec<u8>> = text.split("\n\n").skip(1).map(bytes).collect();
        parts.try_into().unwrap()
    }

    #[test]
    fn a_collision_passes_for_the_right_piece_unless_it_is_looked_for_or_the_torrent_has_v2() {
        let home = home();
        let [shown, swapped] = shattered();
        let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
        let data = home.path().join("data");
        for (format, is_fooled) in [("v1", true), ("v2", false), ("hybrid", false)] {
            std::fs::write(&data, &shown).unwrap();
            let file = at(&format!("{format}.torrent"));
            assert_eq!(shoal(home.path(), &["create", &at("data"), "-o", &file, "--format", format]).0, 0);
            std::fs::write(&data, &swapped).unwrap();
            assert_eq!(shoal(home.path(), &["verify", &file, &at("")]).0, if is_fooled { 0 } else { 6 }, "{format}");
            for content in [&shown, &swapped] {
                std::fs::write(&data, content).unwrap();
                let (code, out, err) = shoal(home.path(), &["verify", &file, &at(""), "--paranoid"]);
                let is_right_v2 = format == "v2" && content == &shown;
                assert_eq!(code, if is_right_v2 { 0 } else { 6 }, "{format} {err}");
                assert_eq!(err.contains("attack"), format == "v1" || format == "hybrid" && content == &shown, "{err}");
                assert!(is_right_v2 || out.ends_with("data\n"), "{out}");
            }
        }
        std::fs::write(&data, vec![7; 100_000]).unwrap();
        assert_eq!(shoal(home.path(), &["create", &at("data"), "-o", &at("t"), "--format", "v1"]).0, 0);
        assert_eq!(shoal(home.path(), &["verify", &at("t"), &at(""), "--paranoid"]).0, 0);
    }

    #[test]
    fn a_bench_is_one_object_and_names_what_limits() {
        let home = home();
        let data = home.path().join("data");
        std::fs::write(&data, vec![1; 3_000_000]).unwrap();
        let path = data.to_str().unwrap();
        let (code, out, err) = shoal(home.path(), &["bench", path, "--read", "1MiB", "--json", "-q"]);
        assert_eq!((code, out.lines().count(), err.as_str()), (0, 1, ""));
        let report: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&report["read"]["bytes"], &report["read"]["path"]), (&(1 << 20).into(), &path.into()));
        let kernels = report["kernels"].as_array().unwrap();
        for hash in ["sha1", "sha256"] {
            let of = |path: &str| kernels.iter().filter(|k| k["hash"] == hash && k["path"] == path).count();
            assert!(of("auto") == 12 && of("portable") == 12, "{out}");
        }
        assert!(kernels.iter().all(|kernel| kernel["bytes_per_s"].as_u64() > Some(0)), "{out}");
        let formats: Vec<_> =
            report["limits"].as_array().unwrap().iter().map(|limit| limit["format"].clone()).collect();
        assert_eq!(formats, ["v1", "v2", "hybrid"]);
        for (words, named) in [(["bench", "/no/such"], "/no/such"), (["bench", "--read=x"], "'x'")] {
            let (code, out, err) = shoal(home.path(), &words);
            assert!(code == 2 && out.is_empty() && err.contains(named), "{err}");
        }
    }

    #[test]
    fn a_missing_file_does_not_accuse_those_that_share_its_pieces() {
        let home = home();
        let data = home.path().join("data");
        std::fs::create_dir(&data).unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(data.join(name), name).unwrap();
        }
        let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
        let (file, folder) = (at("v1.torrent"), at(""));
        assert_eq!(shoal(home.path(), &["create", &at("data"), "-o", &file, "--format", "v1"]).0, 0);
        std::fs::remove_file(data.join("b")).unwrap();
        let (code, out, _) = shoal(home.path(), &["verify", &file, &folder, "-q"]);
        assert!(code == 6 && out.lines().count() == 1 && out.ends_with("data/b\n"), "{out}");
        std::fs::write(data.join("b"), "x").unwrap();
        let (code, out, _) = shoal(home.path(), &["verify", &file, &folder, "-q"]);
        assert!(code == 6 && out.lines().count() == 3, "any of the three may be the wrong one: {out}");
    }

    #[test]
    fn what_is_refused_is_one_line_and_exit_6() {
        let home = home();
        let file = home.path().join("x.torrent");
        std::fs::write(&file, "d4:infode").unwrap();
        for words in
            [["show", file.to_str().unwrap()], ["show", "magnet:?xt=urn:btih:xyz"], ["link", file.to_str().unwrap()]]
        {
            let (code, out, err) = shoal(home.path(), &words);
            assert_eq!((code, out.as_str(), err.lines().count()), (6, "", 1), "{err}");
        }
    }

    #[test]
    fn json_errors_are_events_too() {
        let home = home();
        let (code, out, err) = shoal(home.path(), &["download", "no-such-file", "--json"]);
        let event: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (code, &event["event"], &event["code"], &event["schema"]),
            (2, &"error".into(), &2.into(), &1.into())
        );
        assert_eq!(err.lines().count(), 1);
    }

    #[test]
    fn a_bare_hash_that_nobody_has_ends_with_3_in_time() {
        let home = home();
        let (code, out, err) = shoal(
            home.path(),
            &[
                "download",
                &"0".repeat(40),
                "-o",
                home.path().to_str().unwrap(),
                "--timeout",
                "1s",
                "--port",
                "0",
                "--bind",
                "127.0.0.1",
                "--no-dht",
            ],
        );
        assert_eq!((code, out.as_str()), (3, ""), "{err}");
        assert!(err.contains("--peer"), "{err}");
    }

    #[test]
    fn man_pages_are_written_one_a_command() {
        let home = home();
        let folder = home.path().join("man");
        assert_eq!(shoal(home.path(), &["man", folder.to_str().unwrap()]).0, 0);
        for page in ["shoal.1", "shoal-bench.1", "shoal-download.1", "shoal-share.1"] {
            assert!(folder.join(page).is_file(), "{page}");
        }
    }
}
