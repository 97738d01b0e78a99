//! `shoal sim replay`: a trace run again.
//!
//! Reading, feeding and comparing are `shoal_trace`'s; here are the file, the last events for who wants to read them, and what a
//! panic of the machine means: a trace may end with the event that the recorded program did not survive either.

mod json;
mod text;

use crate::args::ReplayArgs;
use crate::commands::Outcome;
use crate::exit::{Exit, Failure, OrExit};
use crate::interrupt::Interrupt;
use crate::run::Context;
use shoal_sim::faults::panic_text;
use shoal_swarm::Event;
use shoal_trace::{Account, Difference, Entry, Head, Player, Reader, Tail, TraceError};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// Characters of an event or an effect that are shown. Chosen: a request, a handshake; not a whole bitfield.
const SHOWN: usize = 300;
/// Events that are kept to be shown, at most. Chosen.
const MAX_SHOWN: usize = 100_000;
/// Events between two looks at whether the user wants it to end. Chosen: some milliseconds.
const TURN: u64 = 4096;

/// Why a replay ended.
#[derive(Debug)]
enum Ended {
    /// With the trace, which ended so.
    Trace(Tail),
    /// At `--until`.
    Until,
    /// The machine ordered something else.
    Differs(Difference),
    /// The machine panicked: with what it said, and whether the recorded one ended in that event too.
    Panicked { said: String, both: bool },
    /// The trace cannot be read further.
    Unreadable(TraceError),
    /// The user wants no more.
    Interrupted,
}

/// What there is to report.
struct Replay {
    head: Head,
    account: Account,
    player: Player,
    /// The last events and their effects, in lines.
    lines: VecDeque<String>,
    ended: Ended,
    wall: Duration,
}

/// Runs it and tells.
pub(super) async fn run(args: ReplayArgs, context: &Context, interrupt: Interrupt) -> Outcome {
    let stop = interrupt.flag();
    let (path, is_json) = (args.trace.clone(), args.json.json);
    let replay = tokio::task::spawn_blocking(move || {
        let file = File::open(&args.trace).or_exit(Exit::Other, || format!("cannot read {}", args.trace.display()))?;
        let interrupted = || stop.load(std::sync::atomic::Ordering::Relaxed);
        replay(BufReader::new(file), &args, &interrupted).map_err(|error| unreadable(&args.trace, error))
    });
    let replay = replay.await.or_exit(Exit::Other, || "the replay broke off".to_owned())??;
    context.reporter.print(&if is_json { json::render(&replay) } else { text::render(&replay) });
    match replay.ended {
        Ended::Trace(_) | Ended::Until => Ok(Exit::Done),
        Ended::Interrupted => Ok(Exit::Interrupted),
        Ended::Differs(difference) => Err(Failure::new(
            Exit::Other,
            format!(
                "event {} of {} gives something else than it did: {difference}; with --events 20 it shows what led to it",
                difference.event,
                path.display()
            ),
        )),
        Ended::Panicked { said, .. } => Err(Failure::new(
            Exit::Other,
            format!("event {} of {} ends the machine: {said}", replay.player.events(), path.display()),
        )),
        Ended::Unreadable(error) => Err(unreadable(&path, error)),
    }
}

fn unreadable(path: &Path, error: TraceError) -> Failure {
    let exit = if matches!(error, TraceError::Io(_)) { Exit::Other } else { Exit::BadTorrent };
    Failure { exit, error: anyhow::Error::new(error).context(format!("cannot replay {}", path.display())) }
}

/// Feeds a machine until the trace, the user's interest or the agreement ends.
fn replay(input: impl Read, args: &ReplayArgs, interrupted: &dyn Fn() -> bool) -> Result<Replay, TraceError> {
    let begun = Instant::now();
    let (head, mut reader) = Reader::open(input)?;
    let (mut player, mut account) = (Player::new(&head), Account::default());
    let mut lines = Lines { kept: VecDeque::new(), events: VecDeque::new(), most: args.events.min(MAX_SHOWN) };
    let ended = loop {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break Ended::Trace(reader.tail().unwrap_or(Tail::Silent)),
            Err(error) => break Ended::Unreadable(error),
        };
        let since_begun = entry.at.since(account.began.unwrap_or(entry.at));
        if args.until.is_some_and(|until| since_begun > until) {
            break Ended::Until;
        }
        if player.events() % TURN == 0 && interrupted() {
            break Ended::Interrupted;
        }
        lines.event(player.events() + 1, since_begun, &entry);
        account.before(entry.at, &entry.event, &player);
        let survived = entry.answer.is_some();
        let played = catch_unwind(AssertUnwindSafe(|| player.play(entry)));
        lines.effects(&player);
        match played {
            Ok(Ok(())) => account.after(&player),
            Ok(Err(difference)) => break Ended::Differs(difference),
            Err(panic) => break Ended::Panicked { said: panic_text(panic.as_ref()), both: !survived },
        }
    };
    if !matches!(ended, Ended::Panicked { .. }) {
        account.finish(&player);
    }
    Ok(Replay { head, account, player, lines: lines.kept, ended, wall: begun.elapsed() })
}

/// The last events as they are shown.
struct Lines {
    kept: VecDeque<String>,
    /// How many lines each event has.
    events: VecDeque<usize>,
    most: usize,
}

impl Lines {
    fn event(&mut self, number: u64, at: Duration, entry: &Entry) {
        if self.most == 0 {
            return;
        }
        if self.events.len() == self.most {
            let lines = self.events.pop_front().unwrap_or(0);
            self.kept.drain(..lines);
        }
        self.events.push_back(1);
        let what = match &entry.event {
            // All its hashes are of no use to anybody.
            Event::Ready { info, have, .. } => {
                format!("Ready: {}, {} of {} pieces", info.name(), have.count(), have.len())
            }
            event => shown(event),
        };
        self.kept.push_back(format!("{number} {:.6}s {}", at.as_secs_f64(), crate::escape::escape(&what)));
    }

    fn effects(&mut self, player: &Player) {
        let Some(lines) = self.events.back_mut() else { return };
        for effect in player.effects() {
            *lines += 1;
            self.kept.push_back(format!("    {}", crate::escape::escape(&shown(effect))));
        }
    }
}

/// A value as programmers see it, cut.
fn shown(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    }
}
