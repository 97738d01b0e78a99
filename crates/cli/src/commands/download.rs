//! `shoal download`: one session, a task for each target.
//!
//! Targets are independent: one that fails does not end the others, and the exit code is that of the first failure in
//! their order.

use super::fetch::Fetch;
use super::show::{self, file_list};
use super::transfer::{Follow, Role, Step};
use super::{Outcome, network, on_complete, trace};
use crate::args::DownloadArgs;
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::report::{self, Event, Level, Reporter};
use crate::run::Context;
use crate::select;
use crate::size;
use crate::target::{Target, Word};
use shoal_layout::{FileIndex, Selection};
use shoal_metainfo::Info;
use shoal_session::{AddTorrent, Files, Mode, Phase, SelectFiles, Session, TorrentSource, TraceFile};
use shoal_storage::Place;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Fetches all targets.
pub(super) async fn run(args: DownloadArgs, context: &Context, interrupt: Interrupt) -> Outcome {
    let reporter = &context.reporter;
    // A bad word is told before anything is begun.
    let words = args.targets.iter().map(|word| Word::read(word)).collect::<Result<Vec<_>, _>>()?;
    if args.list && words.iter().all(|word| matches!(word, Word::Known(Target::Torrent(_)))) {
        return list_all(&args, &words, reporter);
    }
    let mut trace = match &args.trace {
        Some(_) if words.len() > 1 => return Err(Failure::new(Exit::Usage, "--trace is for one target; name one")),
        Some(path) => Some(trace::create(path)?),
        None => None,
    };
    let session = network::start(&args.network, args.down, context).await?;
    reporter.say(Level::Verbose, &format!("listening on {}", network::listening(&session)));
    let args = Arc::new(args);
    let deadline = args.timeout.map(|after| Instant::now() + after);
    let fetch = Fetch::new(&args.network, args.timeout.zip(deadline), interrupt.clone(), context);
    let mut tasks = Vec::new();
    for (number, word) in words.into_iter().enumerate() {
        let (args, reporter, interrupt) = (Arc::clone(&args), reporter.clone(), interrupt.clone());
        let (session, fetch) = (session.clone(), fetch.clone());
        let trace = trace.take().map(|file| TraceFile { file, limit: args.trace_limit });
        tasks.push(tokio::spawn(async move {
            let target = fetch.target(word, &reporter).await?;
            One { number, target, args, reporter, interrupt, session, deadline }.run(trace).await
        }));
    }
    let many = tasks.len() > 1;
    let mut first_failure = None;
    for (number, task) in tasks.into_iter().enumerate() {
        let outcome = task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        if let Err(failure) = outcome {
            // A single failure is said by the caller; of several, each is said with its target.
            if many && failure.exit != Exit::Interrupted {
                reporter.fail(number, &failure);
            }
            first_failure.get_or_insert(failure);
        }
    }
    network::stop(&session).await;
    if let Some(path) = &args.trace {
        trace::tell(path, reporter);
    }
    match first_failure {
        None => Ok(Exit::Done),
        Some(failure) if failure.exit == Exit::Interrupted => {
            reporter
                .say(Level::Normal, &format!("interrupted; resume with: {}", context.command_line_without("--trace")));
            Ok(Exit::Interrupted)
        }
        Some(failure) if many => Ok(failure.exit),
        Some(failure) => Err(failure),
    }
}

fn list_all(args: &DownloadArgs, words: &[Word], reporter: &Reporter) -> Outcome {
    for word in words {
        if let Word::Known(Target::Torrent(torrent)) = word {
            list(args, &[], &torrent.info, reporter)?;
        }
    }
    Ok(Exit::Done)
}

/// Prints the numbered files; with a choice, those that it picks.
fn list(args: &DownloadArgs, chosen: &[RangeInclusive<u32>], info: &Info, reporter: &Reporter) -> Result<(), Failure> {
    let wanted = wanted(args, chosen, info).map_err(|message| Failure::new(Exit::Usage, message))?;
    let text = file_list(info.files().map(|file| (file.path.joined(), file.length, show::letters(file.attributes))));
    for (line, _) in text.lines().zip(wanted).filter(|(_, wanted)| *wanted) {
        reporter.print(line);
    }
    Ok(())
}

/// The files that a link itself chooses (`so`, BEP 53); none means all.
fn chosen_by_link(target: &Target) -> Vec<RangeInclusive<u32>> {
    match target {
        Target::Magnet(magnet) => magnet.select.clone(),
        Target::Torrent(_) => Vec::new(),
    }
}

/// What `--select` picks; without it, what the link chooses.
fn wanted(args: &DownloadArgs, chosen: &[RangeInclusive<u32>], info: &Info) -> Result<Vec<bool>, String> {
    if args.select.is_empty() && !chosen.is_empty() {
        let numbers = (0..info.layout().files()).map(|file| info.so_number(FileIndex(file)));
        let wanted: Vec<bool> = numbers.map(|number| chosen.iter().any(|range| range.contains(&number))).collect();
        return if wanted.contains(&true) {
            Ok(wanted)
        } else {
            Err("the link chooses files that the torrent does not have; choose others with --select".to_owned())
        };
    }
    let paths: Vec<Vec<&str>> = info.files().map(|file| file.path.components().collect()).collect();
    select::wanted(&args.select, &paths)
}

/// One target.
struct One {
    number: report::Target,
    target: Target,
    args: Arc<DownloadArgs>,
    reporter: Reporter,
    interrupt: Interrupt,
    session: Session,
    deadline: Option<Instant>,
}

impl One {
    async fn run(self, trace: Option<TraceFile>) -> Result<(), Failure> {
        let source = match &self.target {
            Target::Torrent(torrent) => TorrentSource::Torrent(Arc::clone(torrent)),
            Target::Magnet(magnet) => TorrentSource::Magnet(magnet.as_ref().clone()),
        };
        let add = AddTorrent {
            source,
            files: Files::Folder(self.args.output.clone()),
            mode: Mode::Download {
                overwrite: self.args.overwrite,
                portable: self.args.portable,
                sequential: self.args.sequential,
                select: self.select_files(),
            },
            peers: self.args.peer.clone(),
            typed_trackers: Vec::new(),
            trace,
        };
        let name = self.target.name().map_or_else(|| self.target.hashes().to_string(), str::to_owned);
        let handle = self.session.add(add).await.map_err(network::failure)?;
        let role = Role::Download { is_known: matches!(self.target, Target::Torrent(_)), seeds_after: self.args.seed };
        let mut follow = Follow::new(handle, Some(&name), role, &self.reporter, self.number);
        let mut is_done = false;
        loop {
            tokio::select! {
                () = self.interrupt.raised() => {
                    follow.stop().await;
                    if is_done {
                        return Ok(());
                    }
                    self.reporter.say(Level::Normal, &format!("{}: stopped, {}, saved", follow.name(), how_far(&follow)));
                    let message = format!("{}: interrupted, {}", follow.name(), how_far(&follow));
                    self.reporter.event(self.number, &Event::Error { code: Exit::Interrupted.code(), message });
                    return Err(Failure::new(Exit::Interrupted, "interrupted"));
                }
                () = sleep_until(self.deadline), if !is_done => {
                    // What it was at counts, not what stopping makes of it.
                    let failure = self.timed_out(&follow);
                    follow.stop().await;
                    return Err(failure);
                }
                step = follow.step() => match step {
                    Step::Metadata(info) if self.args.list => {
                        list(&self.args, &chosen_by_link(&self.target), &info, &self.reporter)?;
                        follow.stop().await;
                        return Ok(());
                    }
                    Step::Metadata(_) | Step::Checked(_) => {}
                    Step::Complete if !is_done => {
                        is_done = true;
                        self.finish(&follow).await?;
                        if !self.args.seed {
                            follow.stop().await;
                            return Ok(());
                        }
                    }
                    Step::Complete => {}
                    Step::Failed(_) if self.args.list && follow.info().is_some() => return Ok(()),
                    Step::Failed(error) => return Err(self.name_failure(network::failure(error), &follow)),
                    Step::Ended if is_done => return Ok(()),
                    Step::Ended => return Err(Failure::new(Exit::Other, format!("{}: ended unfinished", follow.name()))),
                },
            }
        }
    }

    /// The choice that the session asks for when it knows the files.
    fn select_files(&self) -> SelectFiles {
        let args = Arc::clone(&self.args);
        let chosen = chosen_by_link(&self.target);
        Box::new(move |info: &Info| {
            if args.list {
                // Ends the torrent before a file is touched; `run` knows.
                return Err("only listed".to_owned());
            }
            let wanted = wanted(&args, &chosen, info)?;
            Ok(Selection::by(info.layout(), |file| wanted[file.as_usize()]))
        })
    }

    async fn finish(&self, follow: &Follow) -> Result<(), Failure> {
        let Some(info) = follow.info() else { return Ok(()) };
        let path: PathBuf = Place::safe(info, &self.args.output, self.args.portable).root().to_path_buf();
        let received = size::bytes(follow.last().downloaded);
        self.reporter.say(
            Level::Normal,
            &format!("done: {} ({}, {received} received)", follow.name(), size::bytes(follow.last().total_bytes)),
        );
        self.reporter.event(self.number, &Event::Done { path: path.clone() });
        match &self.args.on_complete {
            Some(program) => on_complete::run(program, info, &path).await,
            None => Ok(()),
        }
    }

    /// What the end of `--timeout` means.
    fn timed_out(&self, follow: &Follow) -> Failure {
        let after = size::time(self.args.timeout.unwrap_or(Duration::ZERO));
        let last = follow.last();
        let why = last.reason.as_ref().or(last.cause.as_ref()).map_or(String::new(), |reason| format!(": {reason}"));
        let name = follow.name();
        match &last.phase {
            Phase::Paused { reason } => {
                Failure::new(Exit::Disk, format!("{name}: the disk refuses after {after}: {reason}"))
            }
            Phase::Metadata => Failure::new(
                Exit::NoPeers,
                format!("{name}: no metadata within {after}{why}; name a peer with --peer or wait longer"),
            ),
            Phase::Downloading if !follow.met_peers => Failure::new(
                Exit::NoPeers,
                format!("{name}: no peers within {after}{why}; name one with --peer or wait longer"),
            ),
            _ => Failure::new(
                Exit::Unfinished,
                format!(
                    "{name}: unfinished after {after}, {} is there{why}; the same command resumes",
                    how_far(follow)
                ),
            ),
        }
    }

    fn name_failure(&self, failure: Failure, follow: &Follow) -> Failure {
        let error = failure.error.context(format!("cannot download {}", follow.name()));
        Failure { error, ..failure }
    }
}

fn how_far(follow: &Follow) -> String {
    let last = follow.last();
    if last.total_bytes == 0 {
        return "no metadata yet".to_owned();
    }
    size::part_of(last.done_bytes, last.total_bytes)
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
