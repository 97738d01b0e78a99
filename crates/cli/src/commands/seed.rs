//! `shoal seed`: torrent files, folders of torrent files, and (with `--each`) folders whose entries are shares of their own.
//!
//! Folders are looked at every two seconds for as long as it runs: what is new and has stopped changing is taken up, what is
//! gone is stopped, what has changed is stopped and taken up anew. Looking is `watch_folder`'s, deciding what a thing in a
//! folder is stands here.

use super::make::{Recipe, make};
use super::transfer::{Follow, Role, Step};
use super::verify::data_folder;
use super::watch_folder::{Change, Watched};
use super::{Outcome, network, share};
use crate::args::{FormatArg, SeedArgs};
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::report::{Event, Level, Reporter};
use crate::run::Context;
use crate::size;
use crate::target::read_torrent;
use shoal_metainfo::Torrent;
use shoal_session::{AddTorrent, Check, Files, Session, TorrentHandle};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Seeds until Ctrl-C.
pub(super) async fn run(args: SeedArgs, context: &Context, interrupt: Interrupt) -> Outcome {
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) =
        args.sources.iter().cloned().partition(|source| source.is_dir());
    if let (true, Some(file)) = (args.each, files.first()) {
        return Err(Failure::new(
            Exit::Usage,
            format!("{} is no folder: --each shares the entries of folders", file.display()),
        ));
    }
    let mut torrents = Vec::new();
    for file in &files {
        torrents.push((file.clone(), read_torrent(file)?));
    }
    let session = network::open(&args.network, None, context).await?;
    let mut seeding = Seeding {
        alone: folders.is_empty() && files.len() == 1,
        args,
        reporter: context.reporter.clone(),
        interrupt: interrupt.clone(),
        session: session.clone(),
        next: 0,
        running: BTreeMap::new(),
    };
    let mut exit = Ok(Exit::Done);
    for (file, torrent) in torrents {
        if let Err(failure) = seeding.add_torrent(&file, torrent).await {
            exit = Err(failure);
        }
    }
    network::tell(&session, context);
    context.reporter.say(Level::Normal, &format!("listening on {}", network::listening(&session)));
    if exit.is_ok() && folders.is_empty() {
        exit = seeding.wait().await;
    } else if exit.is_ok() {
        seeding.watch(&folders).await;
    }
    seeding.stop_all().await;
    network::stop(&session).await;
    exit
}

struct Seeding {
    args: SeedArgs,
    /// There is one torrent and will be no other: its failure is the command's.
    alone: bool,
    reporter: Reporter,
    interrupt: Interrupt,
    session: Session,
    /// The number of the next torrent: never used twice, so that events of two are not mixed up.
    next: usize,
    running: BTreeMap<PathBuf, Running>,
}

/// A torrent that is seeded.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Failure>>,
}

impl Seeding {
    /// Waits for Ctrl-C, or until nothing is seeded any more; the first failure then.
    async fn wait(&mut self) -> Outcome {
        let mut failed = None;
        while let Some((path, running)) = self.running.pop_first() {
            let Running { stop, mut task } = running;
            tokio::select! {
                () = self.interrupt.raised() => {
                    self.running.insert(path, Running { stop, task });
                    return Ok(Exit::Done);
                }
                ended = &mut task => {
                    let outcome = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                    failed = failed.or(outcome.err());
                }
            }
        }
        match failed {
            Some(failure) if self.alone => Err(failure),
            // Said already, with its number.
            Some(failure) => Ok(failure.exit),
            None => Ok(Exit::Done),
        }
    }

    /// Looks at folders until Ctrl-C.
    async fn watch(&mut self, folders: &[PathBuf]) {
        let each = self.args.each;
        let mut watched: Vec<Watched> = folders.iter().map(|folder| Watched::new(folder, !each)).collect();
        let mut first = true;
        loop {
            let looked = tokio::task::spawn_blocking(move || {
                let started = std::time::Instant::now();
                let changes: Vec<Change> = watched.iter_mut().flat_map(|folder| folder.look(first)).collect();
                (watched, changes, started.elapsed())
            });
            let Ok((back, changes, took)) = looked.await else { return };
            watched = back;
            if first && changes.is_empty() {
                let what = if each { "entry" } else { "torrent file" };
                self.reporter.say(Level::Normal, &format!("no {what} is there yet; waiting for one"));
            }
            for change in changes {
                if self.interrupt.is_raised() {
                    return;
                }
                self.apply(change).await;
            }
            first = false;
            tokio::select! {
                () = self.interrupt.raised() => return,
                () = tokio::time::sleep(super::watch_folder::pause_after(took)) => {}
            }
        }
    }

    async fn apply(&mut self, change: Change) {
        let number = self.next;
        let outcome = match change {
            Change::Gone(path) => {
                if let Some(running) = self.running.remove(&path) {
                    self.reporter.say(Level::Normal, &format!("{} is gone; not seeded any more", path.display()));
                    self.end(running).await;
                }
                return;
            }
            Change::Unreadable(path, error) => Err(Failure {
                exit: Exit::Disk,
                error: anyhow::Error::new(error).context(format!("cannot look into {}", path.display())),
            }),
            Change::Ready(path) => {
                if let Some(running) = self.running.remove(&path) {
                    self.reporter.say(Level::Normal, &format!("{} has changed; taken up anew", path.display()));
                    self.end(running).await;
                }
                match self.args.each {
                    true => self.add_share(&path).await,
                    false => match read_torrent(&path) {
                        Ok(torrent) => self.add_torrent(&path, torrent).await,
                        Err(failure) => Err(failure),
                    },
                }
            }
        };
        // One bad torrent does not end the others.
        if let Err(failure) = outcome
            && !(failure.exit == Exit::Interrupted && self.interrupt.is_raised())
        {
            self.reporter.fail(number, &failure);
        }
    }

    async fn add_torrent(&mut self, file: &Path, torrent: Torrent) -> Result<(), Failure> {
        let beside = || match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let folder = match &self.args.data {
            Some(data) => data_folder(&torrent.info, data),
            None => beside(),
        };
        let add = AddTorrent::seed(Arc::new(torrent), Files::Folder(folder), Check::Resume);
        self.add(file, add, None).await
    }

    async fn add_share(&mut self, path: &Path) -> Result<(), Failure> {
        let recipe = Recipe {
            paths: vec![path.to_path_buf()],
            name: None,
            format: FormatArg::Hybrid,
            piece_length: None,
            private: false,
            source: None,
            attributes: false,
            jobs: None,
        };
        let made = make(recipe, &self.reporter, self.next, &self.interrupt).await?;
        let magnet = share::link(made.torrent.magnet(), &self.session);
        let files = Files::Scanned(made.place);
        let add = AddTorrent::seed(Arc::new(made.torrent), files, Check::JustHashed);
        self.add(path, add, Some(magnet)).await
    }

    async fn add(&mut self, key: &Path, add: AddTorrent, link: Option<String>) -> Result<(), Failure> {
        let number = self.next;
        self.next += 1;
        let handle = self.session.add(add).await.map_err(|error| {
            let failure = network::failure(error);
            Failure { error: failure.error.context(format!("cannot seed {}", key.display())), ..failure }
        })?;
        if let Some(magnet) = link {
            self.reporter.event(number, &Event::Link { magnet });
        }
        let (stop, stopped) = oneshot::channel();
        let shown = key.display().to_string();
        let task = tokio::spawn(serve(handle, shown, self.reporter.clone(), number, stopped, self.alone));
        self.running.insert(key.to_path_buf(), Running { stop, task });
        Ok(())
    }

    async fn end(&self, running: Running) {
        // An error means that it has ended by itself.
        let _ = running.stop.send(());
        let _ = running.task.await;
    }

    async fn stop_all(&mut self) {
        let running = std::mem::take(&mut self.running);
        if !running.is_empty() {
            self.reporter.say(Level::Normal, "stopping");
        }
        let tasks: Vec<_> = running
            .into_values()
            .map(|running| {
                let _ = running.stop.send(());
                running.task
            })
            .collect();
        for task in tasks {
            let _ = task.await;
        }
    }
}

/// Follows one torrent until it is told to stop or fails. A failure is said here unless the command ends by it.
async fn serve(
    handle: TorrentHandle,
    shown: String,
    reporter: Reporter,
    number: usize,
    mut stop: oneshot::Receiver<()>,
    alone: bool,
) -> Result<(), Failure> {
    let mut follow = Follow::new(handle, None, Role::Seed, &reporter, number);
    loop {
        tokio::select! {
            _ = &mut stop => {
                follow.stop().await;
                // Of thousands of torrents most have nothing to tell.
                let seen = follow.last().full_copies_seen;
                if alone || seen > 0 {
                    reporter.say(Level::Normal, &format!("{shown}: {}", share::copies(seen)));
                }
                return Ok(());
            }
            step = follow.step() => match step {
                Step::Checked(pieces) => {
                    let total = follow.info().map_or(0, |info| info.layout().pieces());
                    reporter.say(Level::Normal, &what_is_there(&shown, pieces, total));
                }
                Step::Failed(error) => {
                    let failure = network::failure(error);
                    let failure = Failure { error: failure.error.context(format!("cannot seed {shown}")), ..failure };
                    if !alone {
                        reporter.fail(number, &failure);
                    }
                    return Err(failure);
                }
                Step::Ended => return Ok(()),
                Step::Metadata(_) | Step::Complete => {}
            },
        }
    }
}

fn what_is_there(shown: &str, pieces: u32, total: u32) -> String {
    match pieces {
        _ if pieces >= total => format!("seeding {shown}"),
        0 => format!("{shown}: nothing of its data is there; name the folder that holds it with --data"),
        some => {
            format!("{shown}: {some} of {} are there and right; seeding those", size::count(u64::from(total), "piece"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        assert_eq!(what_is_there("a", 5, 5), "seeding a");
        assert_eq!(what_is_there("a", 2, 5), "a: 2 of 5 pieces are there and right; seeding those");
        assert!(what_is_there("a", 0, 5).contains("--data"));
    }
}
