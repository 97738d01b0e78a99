//! `shoal doctor [X]`: whether this computer can share and fetch, and why a torrent does not move.
//!
//! Without a target it looks at the machine (`machine.rs`), with one also at the torrent (`torrent.rs`), which it joins for a few
//! seconds as a leech that asks for no block and writes no file. Each look is a [`Finding`]: a name, a verdict, what was
//! seen, and for a problem one advice. `docs/doctor.md` has the schema of `--json`.

mod machine;
mod table;
mod torrent;

use super::{Outcome, network};
use crate::args::DoctorArgs;
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::run::Context;
use crate::target::Target;
use serde::Serialize;

/// How a look ended.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// As it should be.
    Ok,
    /// Worse than it could be.
    Warn,
    /// It keeps shoal from working.
    Fail,
}

/// One look.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
struct Finding {
    /// What was looked at: a stable word.
    check: &'static str,
    verdict: Verdict,
    /// What was seen; not escaped.
    text: String,
    /// What to do about it, where something is to be done.
    advice: Option<String>,
    /// What a failure means for the exit code.
    #[serde(skip)]
    exit: Exit,
}

impl Finding {
    fn ok(check: &'static str, text: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Ok, text: text.into(), advice: None, exit: Exit::Done }
    }

    fn warn(check: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Warn, advice: Some(advice.into()), ..Finding::ok(check, text) }
    }

    fn fail(check: &'static str, exit: Exit, text: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Fail, advice: Some(advice.into()), exit, ..Finding::ok(check, text) }
    }
}

/// The one object of `--json`.
#[derive(Serialize, Debug)]
struct Report {
    schema: u32,
    healthy: bool,
    checks: Vec<Finding>,
    torrent: Option<torrent::Seen>,
}

/// Looks and tells. The exit code is that of the first failure.
pub(super) async fn run(args: DoctorArgs, context: &Context, interrupt: Interrupt) -> Outcome {
    let target = args.target.as_deref().map(Target::read).transpose()?;
    let (mut checks, session) = machine::look(&args, context).await;
    let mut seen = None;
    if let (Some(target), Some(session)) = (target, &session) {
        tokio::select! {
            () = interrupt.raised() => {}
            looked = torrent::look(&args, target, session) => {
                let (found, looked) = looked?;
                checks.push(found);
                seen = Some(looked);
            }
        }
    }
    if let Some(session) = session {
        network::stop(&session).await;
    }
    let exit = checks.iter().find(|check| check.verdict == Verdict::Fail).map_or(Exit::Done, |check| check.exit);
    let report = Report { schema: crate::report::SCHEMA, healthy: exit == Exit::Done, checks, torrent: seen };
    if args.json.json {
        let line = serde_json::to_string(&report).unwrap_or_default();
        context.reporter.print(&crate::escape::escape_json(&line));
    } else {
        context.reporter.print(&table::lines(&report.checks, report.torrent.as_ref()).join("\n"));
    }
    Ok(exit)
}
