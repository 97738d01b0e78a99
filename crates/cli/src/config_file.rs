//! The configuration file: TOML in the XDG folder, one table per command, keys named as the flags; and files that hold one such
//! table alone, as scenarios do.
//!
//! Its values become the defaults of the command line, so that flag > variable > file > default holds by construction and
//! each value goes through the very parser of its flag. The whole file is checked whatever command runs: a typing mistake
//! in `[share]` must not wait until the next share. The file is only ever read.

use clap::builder::OsStr as ClapOsStr;
use clap::{Arg, ArgAction, Command};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is wrong with the file. One line each, with the file's name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not TOML.
    #[error("{}: {message}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        message: String,
    },
    /// No command has this name.
    #[error("{}: unknown table [{table}]; there is one per command: {known}", .path.display())]
    UnknownTable {
        /// The file.
        path: PathBuf,
        /// The name.
        table: String,
        /// All names.
        known: String,
    },
    /// The command has no such flag.
    #[error("{}: unknown key '{key}' in [{table}]; see shoal {} --help", .path.display(), .table.replace('.', " "))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The table.
        table: String,
        /// The key.
        key: String,
    },
    /// The flag does not take this value.
    #[error("{}: [{table}] {key}: {message}", .path.display())]
    BadValue {
        /// The file.
        path: PathBuf,
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        message: String,
    },
}

/// The checked values of one table: flag, words.
type Flags = BTreeMap<String, Vec<String>>;

/// The checked values of a file: command (of a command's command both names, as in `sim.swarm`), flag, words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfigFile {
    tables: BTreeMap<String, Flags>,
}

/// Bytes of a configuration file, at most. Chosen: a hundred times what all flags need; reading takes about a hundred times as
/// much memory in the worst case (`[` and nothing else).
const MAX_BYTES: u64 = 256 << 10;

impl ConfigFile {
    /// Reads and checks the file against the command line; a file that is not there is an empty one.
    pub(crate) fn load(path: &Path, root: &Command) -> Result<ConfigFile, ConfigError> {
        match read(path) {
            Ok(text) => ConfigFile::parse(path, &text, root),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(ConfigFile::default()),
            Err(source) => Err(ConfigError::Read { path: path.to_path_buf(), source }),
        }
    }

    /// Reads and checks a file that is the table of one command, as in `sim.swarm`; it must be there.
    pub(crate) fn load_table(path: &Path, root: &Command, table: &str) -> Result<ConfigFile, ConfigError> {
        let text = read(path).map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
        let values = document(path, &text)?;
        let mut tables = BTreeMap::new();
        if let Some(command) = find(root, table) {
            tables.insert(table.to_owned(), flags(path, table, &values, command)?);
        }
        Ok(ConfigFile { tables })
    }

    fn parse(path: &Path, text: &str, root: &Command) -> Result<ConfigFile, ConfigError> {
        let mut tables = BTreeMap::new();
        for (table, values) in document(path, text)? {
            let unknown = |table: String, among: &Command| {
                let known: Vec<&str> = among.get_subcommands().map(Command::get_name).collect();
                ConfigError::UnknownTable { path: path.to_path_buf(), table, known: known.join(", ") }
            };
            let (Some(command), Some(values)) = (root.find_subcommand(&table), values.as_table()) else {
                return Err(unknown(table, root));
            };
            if !command.has_subcommands() {
                let checked = flags(path, &table, values, command)?;
                tables.insert(table, checked);
                continue;
            }
            for (inner, values) in values {
                let name = format!("{table}.{inner}");
                let (Some(command), Some(values)) = (command.find_subcommand(inner), values.as_table()) else {
                    return Err(unknown(name, command));
                };
                let checked = flags(path, &name, values, command)?;
                tables.insert(name, checked);
            }
        }
        Ok(ConfigFile { tables })
    }

    /// Puts the values in the place of the defaults.
    pub(crate) fn apply(&self, root: Command) -> Command {
        self.tables.iter().fold(root, |root, (table, flags)| match table.split_once('.') {
            Some((outer, inner)) => {
                root.mut_subcommand(outer, |outer| outer.mut_subcommand(inner, |sub| with_defaults(sub, flags)))
            }
            None => root.mut_subcommand(table, |sub| with_defaults(sub, flags)),
        })
    }
}

fn with_defaults(command: Command, flags: &Flags) -> Command {
    command.mut_args(|arg| match arg.get_long().and_then(|flag| flags.get(flag)) {
        Some(words) => arg.default_values(words.iter().map(|w| ClapOsStr::from(w.clone()))),
        None => arg,
    })
}

/// The command that a table is named after.
fn find<'a>(root: &'a Command, table: &str) -> Option<&'a Command> {
    table.split('.').try_fold(root, |command, name| command.find_subcommand(name))
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    if file.take(MAX_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_BYTES {
        let message = format!("it is longer than {} KiB", MAX_BYTES >> 10);
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

fn document(path: &Path, text: &str) -> Result<toml::Table, ConfigError> {
    text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        ConfigError::Syntax { path: path.to_path_buf(), message: format!("line {line}: {}", e.message()) }
    })
}

/// Checks a table's values, each by its flag's own parser.
fn flags(path: &Path, table: &str, values: &toml::Table, command: &Command) -> Result<Flags, ConfigError> {
    let mut flags = BTreeMap::new();
    for (key, value) in values {
        let flag = command.get_arguments().find(|a| a.get_long() == Some(key) && key != "help" && key != "version");
        let Some(flag) = flag else {
            return Err(ConfigError::UnknownKey {
                path: path.to_path_buf(),
                table: table.to_owned(),
                key: key.clone(),
            });
        };
        let checked = words(flag, value).and_then(|words| check(command, flag, &words).map(|()| words));
        let words = checked.map_err(|message| ConfigError::BadValue {
            path: path.to_path_buf(),
            table: table.to_owned(),
            key: key.clone(),
            message,
        })?;
        flags.insert(key.clone(), words);
    }
    Ok(flags)
}

/// A TOML value as the words that one would type.
fn words(flag: &Arg, value: &toml::Value) -> Result<Vec<String>, String> {
    let word = |value: &toml::Value| match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(on) => Ok(on.to_string()),
        other => Err(format!("a {} does not fit", other.type_str())),
    };
    match value {
        toml::Value::Array(list) if matches!(flag.get_action(), ArgAction::Append) => list.iter().map(word).collect(),
        toml::Value::Array(_) => Err("takes one value, not a list".to_owned()),
        single => Ok(vec![word(single)?]),
    }
}

/// Asks the flag's own parser about each word.
fn check(command: &Command, flag: &Arg, words: &[String]) -> Result<(), String> {
    if matches!(flag.get_action(), ArgAction::SetTrue) {
        return match words {
            [word] if word == "true" || word == "false" => Ok(()),
            _ => Err("takes true or false".to_owned()),
        };
    }
    if matches!(flag.get_action(), ArgAction::Count) {
        return match words {
            [word] if word.parse::<u8>().is_ok() => Ok(()),
            _ => Err("takes a small number".to_owned()),
        };
    }
    for word in words {
        // The flag alone, as if typed: its parser speaks, and nothing else can.
        let long = flag.get_long().unwrap_or_default();
        let alone = Arg::new("value").long(long.to_owned()).value_parser(flag.get_value_parser().clone());
        let trial = Command::new(command.get_name().to_owned()).arg(alone.action(ArgAction::Set));
        let typed = [command.get_name().to_owned(), format!("--{long}={word}")];
        if let Err(error) = trial.try_get_matches_from(typed) {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            return Err(line.strip_prefix("error: ").unwrap_or(line).to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command as Cmd, DownloadArgs, Experiment};
    use crate::variables::with_variables;
    use clap::{CommandFactory, FromArgMatches};

    fn parse(text: &str) -> Result<ConfigFile, ConfigError> {
        ConfigFile::parse(Path::new("/c/config.toml"), text, &Cli::command())
    }

    fn download(file: &str, words: &[&str]) -> DownloadArgs {
        let root = parse(file).unwrap().apply(with_variables(Cli::command()));
        root.clone().debug_assert();
        let matches = root.try_get_matches_from([&["shoal", "download", "x"], words].concat()).unwrap();
        match Cli::from_arg_matches(&matches).unwrap().command {
            Cmd::Download(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_of_every_kind_become_defaults_and_flags_go_before_them() {
        let file = "[download]\noutput = '/srv'\nport = 7000\nsequential = true\nverbose = 2\n\
                    peer = ['a:1', 'b:2']\ntimeout = '5m'\nup = '2MiB'\nselect = '*.iso'\n";
        let args = download(file, &[]);
        assert_eq!(args.output, Path::new("/srv"));
        assert_eq!(args.network.port, Some(7000));
        assert!(args.sequential);
        assert_eq!(args.talk.verbose, 2);
        assert_eq!(args.peer, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!(args.network.up.unwrap().0, Some(2 << 20));
        assert_eq!(args.select.len(), 1);
        let args = download(file, &["-o", "here", "--peer", "c:3", "--port", "0"]);
        assert_eq!(args.output, Path::new("here"));
        assert_eq!(args.network.port, Some(0));
        assert_eq!(args.peer, [("c".to_owned(), 3)]);
    }

    #[test]
    fn a_commands_command_has_a_table_and_a_file_of_its_own() {
        let swarm = |file: ConfigFile| {
            let root = file.apply(with_variables(Cli::command()));
            let matches = root.try_get_matches_from(["shoal", "sim", "swarm", "--seeds", "3"]).unwrap();
            match Cli::from_arg_matches(&matches).unwrap().command {
                Cmd::Sim(args) => match args.experiment {
                    Experiment::Swarm(args) => (args.peers, args.seeds, args.faults.len()),
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(swarm(parse("[sim.swarm]\npeers = 7\nfaults = ['liars', 'resets=3s']").unwrap()), (7, 3, 2));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scenario.toml");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            ConfigFile::load_table(&path, &Cli::command(), "sim.swarm")
        };
        assert_eq!(swarm(load("peers = 9\nseeds = 8\n").unwrap()), (9, 3, 0));
        let error = load("pears = 9").unwrap_err().to_string();
        assert!(error.contains("'pears'") && error.contains("shoal sim swarm --help"), "{error}");
        let error = load("loss = '40 cows'").unwrap_err().to_string();
        assert!(error.contains("loss") && error.contains("not a share"), "{error}");
        assert!(ConfigFile::load_table(Path::new("/nonexistent"), &Cli::command(), "sim.swarm").is_err());
        for (text, named) in [("[sim]\npeers = 1", "[sim.peers]"), ("[sim.swam]\npeers = 1", "[sim.swam]")] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("swarm"), "{error}");
        }
    }

    #[test]
    fn tables_of_other_commands_do_not_leak() {
        assert_eq!(download("[seed]\nport = 1\n", &[]).network.port, None);
    }

    #[test]
    fn unknown_tables_and_keys_are_named() {
        let error = parse("[dowload]\noutput = 'x'").unwrap_err().to_string();
        assert!(
            error.contains("[dowload]") && error.contains("download") && error.contains("/c/config.toml"),
            "{error}"
        );
        let error = parse("[download]\noutptu = 'x'").unwrap_err().to_string();
        assert!(error.contains("'outptu'") && error.contains("[download]"), "{error}");
        let error = parse("output = 'x'").unwrap_err().to_string();
        assert!(error.contains("[output]"), "{error}");
        for key in ["help", "version", "targets"] {
            assert!(matches!(parse(&format!("[download]\n{key} = 'x'")), Err(ConfigError::UnknownKey { .. })), "{key}");
        }
    }

    #[test]
    fn bad_values_are_refused_in_the_words_of_their_flag() {
        for (line, part) in [
            ("port = 70000", "70000"),
            ("port = 'x'", "x"),
            ("up = 'fast'", "not a rate"),
            ("peer = ['a:1', 'b']", "HOST:PORT"),
            ("output = ['a', 'b']", "one value"),
            ("sequential = 1", "true or false"),
            ("verbose = 'much'", "number"),
            ("color = 'blue'", "blue"),
            ("timeout = 2020-01-01", "datetime"),
        ] {
            let error = parse(&format!("[download]\n{line}")).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("[download]") && !error.contains('\n'), "{line}: {error}");
        }
    }

    #[test]
    fn broken_toml_is_told_with_its_line() {
        let error = parse("[download]\noutput = \n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_file_that_is_too_long_is_refused_and_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, format!("[share]\nport = 7000\n{}", "#".repeat(MAX_BYTES as usize))).unwrap();
        let error = ConfigFile::load(&path, &Cli::command()).unwrap_err();
        assert!(error.to_string().contains("longer than 256 KiB"), "{error}");
    }

    #[test]
    fn no_file_is_an_empty_file() {
        let missing = ConfigFile::load(Path::new("/nonexistent/config.toml"), &Cli::command()).unwrap();
        assert_eq!(missing, ConfigFile::default());
    }
}
