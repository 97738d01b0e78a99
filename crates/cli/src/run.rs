//! One run of the program: arguments, configuration, streams in; an exit code out.

use crate::args::{Cli, Color, Command};
use crate::commands;
use crate::config_file::ConfigFile;
use crate::escape::shell_quote;
use crate::exit::{Exit, Failure};
use crate::log;
use crate::report::{Reporter, Streams, Style};
use crate::variables::with_variables;
use clap::{CommandFactory, FromArgMatches};
use etcetera::BaseStrategy;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

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
        }
    }
}

/// What a command works with.
pub(crate) struct Context {
    /// Who is told.
    pub(crate) reporter: Reporter,
    /// Where resume state is kept.
    pub(crate) state: Option<PathBuf>,
    args: Vec<OsString>,
}

impl Context {
    /// What was typed, to be typed again.
    pub(crate) fn command_line(&self) -> String {
        let words = self.args.iter().skip(1).map(|word| shell_quote(&word.to_string_lossy()));
        std::iter::once("shoal".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
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
            let text = if terminal && !env.no_color { text.ansi().to_string() } else { text.to_string() };
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
    let context = Context { reporter: reporter.clone(), state: env.state, args: env.args };
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

/// Why there is no command to run.
enum Early {
    /// Help, version or wrong arguments.
    Clap(clap::Error),
    /// The configuration file.
    Failure(Failure),
}

fn parse(env: &Env) -> Result<Command, Early> {
    let root = with_variables(Cli::command());
    // Once without the file, so that help and wrong arguments do not depend on it.
    let matches = root.clone().try_get_matches_from(&env.args).map_err(Early::Clap)?;
    let command = Cli::from_arg_matches(&matches).map_err(Early::Clap)?.command;
    let Some(path) = &env.config else { return Ok(command) };
    if matches!(command, Command::Completions(_) | Command::Man(_)) {
        return Ok(command);
    }
    let file = ConfigFile::load(path, &root).map_err(|e| Early::Failure(Failure::new(Exit::Usage, e)))?;
    let matches = file.apply(root).try_get_matches_from(&env.args).map_err(Early::Clap)?;
    Ok(Cli::from_arg_matches(&matches).map_err(Early::Clap)?.command)
}
