//! Order and journal together, over any [`Disk`]: what [`Resume`](crate::Resume) does with files, and the simulator with
//! sectors that may be lost.

use super::compare::{Found, Verdict};
use super::journal::{Disk, Journal};
use super::state::{State, decode};
use crate::order::{Effect, Event, Order};
use crate::{Identity, StorageError};
use shoal_layout::{Layout, PieceIndex};
use shoal_machine::{Effects, Machine, Time};
use shoal_metainfo::PieceHashes;
use shoal_pieces::Bitfield;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// What became of a flush.
#[derive(Debug, Default)]
pub struct Flush {
    /// Pieces that are not right on disk any more: they count as not written.
    pub gone: Vec<PieceIndex>,
    /// Why data could not be synced, or not written again. It is tried again by and by; nothing is lost yet.
    pub data: Option<StorageError>,
    /// Why the state file could not be written. It is tried again with the next batch.
    pub journal: Option<io::Error>,
}

/// One download's order and journal. Calls may come from several threads.
#[derive(Debug)]
pub struct Keeper {
    order: Mutex<Waiting>,
    /// Held for a moment only: whoever writes a piece announces it here first.
    journal: Mutex<Journal>,
    /// Held while a batch is under way, which takes as long as the disk.
    flushing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    order: Order,
    out: Effects<Effect>,
    /// What the pieces that are not in the journal yet must hash to.
    expected: BTreeMap<PieceIndex, PieceHashes>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keeper {
    /// Begins a journal of what is right on disk, and synced. `found`: as the files were before that was found out.
    pub fn begin(
        disk: &impl Disk,
        identity: &Identity,
        layout: &Layout,
        have: &Bitfield,
        found: &Found,
    ) -> io::Result<Keeper> {
        let (turn, wanted) = disk.selection(None).unwrap_or_default();
        // As they were before they were checked: what changed meanwhile is checked again next time.
        let (files, part) = (found.files.clone(), found.part);
        let state = State { clean: false, time_ns: 0, have: have.clone(), files, part, wanted };
        let journal = Journal::create(disk, identity.clone(), layout.clone(), state, turn)?;
        Ok(Keeper { order: Mutex::default(), journal: Mutex::new(journal), flushing: Mutex::default() })
    }

    /// What a state file's bytes are worth, given what is on disk; an error is a reason in a few words.
    pub fn recover(bytes: &[u8], identity: &Identity, layout: &Layout, found: &Found) -> Result<Verdict, String> {
        let loaded = decode(bytes, identity, layout).map_err(|why| why.to_string())?;
        Ok(loaded.compare(layout, found))
    }

    /// A verified piece will be written now. An error forbids it: the journal claims the piece, and cannot be told
    /// otherwise.
    pub fn writing(&self, disk: &impl Disk, piece: PieceIndex) -> io::Result<()> {
        // Not with the lock held: whoever else writes does not wait for the disk.
        let sync = lock(&self.journal).announce(disk, piece)?;
        if let Some(time_ns) = sync {
            // If it fails, the file's time may seem too new after a crash, and the file is checked.
            let synced = disk.sync_state();
            let mut journal = lock(&self.journal);
            if synced.is_ok() { journal.synced(time_ns) } else { journal.spoiled() }
        }
        Ok(())
    }

    /// It was written. `expected`: what it hashes to, in case that it must be written again.
    pub fn written(&self, now: Time, piece: PieceIndex, bytes: u32, expected: PieceHashes) {
        let Waiting { order, out, expected: known } = &mut *lock(&self.order);
        known.insert(piece, expected);
        order.handle(now, Event::Written { piece, bytes }, out);
    }

    /// A piece turned out not to be right on disk any more: the claim is taken back. If the disk refuses that now, it is
    /// done with the next batch, and before the piece is written again.
    pub fn lost(&self, disk: &impl Disk, piece: PieceIndex) -> io::Result<()> {
        let mut journal = lock(&self.journal);
        journal.lost(piece);
        journal.settle(disk)
    }

    /// When [`Keeper::flush`] is due; `None` if nothing waits.
    pub fn deadline(&self) -> Option<Time> {
        lock(&self.order).order.deadline()
    }

    /// Whether data could not be synced: write nothing new until a flush succeeds.
    pub fn in_trouble(&self) -> bool {
        lock(&self.order).order.in_trouble()
    }

    /// Syncs the data, appends the pieces, syncs the journal: if that is due, or `all` of it now. Blocks for as long as
    /// the disk takes. While one thread is at it others return at once, unless they want `all`.
    pub fn flush(&self, disk: &impl Disk, now: Time, all: bool) -> Flush {
        let _flushing = match self.flushing.try_lock() {
            Ok(flushing) => flushing,
            Err(TryLockError::WouldBlock) if !all => return Flush::default(),
            Err(_) => lock(&self.flushing),
        };
        let mut flush = Flush::default();
        let mut event = if all { Event::Flush } else { Event::Wake };
        loop {
            let effect = {
                let Waiting { order, out, .. } = &mut *lock(&self.order);
                order.handle(now, event, out);
                // One step at a time: at most one effect waits.
                out.drain().next()
            };
            event = match effect {
                None => break,
                Some(Effect::SyncData) => {
                    // Before the sync: so what is noted is on the disk when the sync returns.
                    let stats: Vec<_> = disk.take_touched().into_iter().map(|file| (file, disk.stat(file))).collect();
                    match disk.sync_data() {
                        Ok(()) => {
                            let mut journal = lock(&self.journal);
                            journal.note_selection(disk);
                            journal.note_files(&stats);
                            Event::DataSynced
                        }
                        Err(error) => {
                            flush.data = Some(error);
                            Event::DataFailed
                        }
                    }
                }
                Some(Effect::Rewrite(pieces)) => self.write_again(disk, &pieces, &mut flush),
                Some(Effect::Append(pieces)) => match self.append(disk, &pieces) {
                    Ok(()) => {
                        let expected = &mut lock(&self.order).expected;
                        for piece in &pieces {
                            expected.remove(piece);
                        }
                        Event::Journaled
                    }
                    Err(error) => {
                        flush.journal = Some(error);
                        Event::JournalFailed
                    }
                },
            };
        }
        if let Err(error) = lock(&self.journal).settle(disk) {
            flush.journal.get_or_insert(error);
        }
        flush
    }

    fn write_again(&self, disk: &impl Disk, pieces: &[PieceIndex], flush: &mut Flush) -> Event {
        let mut gone = Vec::new();
        let mut all = true;
        for &piece in pieces {
            let expected = lock(&self.order).expected.get(&piece).copied();
            match expected.map_or(Ok(false), |expected| disk.rewrite(piece, &expected)) {
                Ok(true) => {}
                Ok(false) => gone.push(piece),
                Err(error) => {
                    flush.data = Some(error);
                    all = false;
                    break;
                }
            }
        }
        let expected = &mut lock(&self.order).expected;
        for piece in &gone {
            expected.remove(piece);
        }
        flush.gone.extend(&gone);
        Event::Rewritten { gone, all }
    }

    fn append(&self, disk: &impl Disk, pieces: &[PieceIndex]) -> io::Result<()> {
        let sync = lock(&self.journal).claim(disk, pieces)?;
        if let Some(time_ns) = sync {
            let synced = disk.sync_state();
            let mut journal = lock(&self.journal);
            match synced {
                Ok(()) => journal.synced(time_ns),
                Err(error) => {
                    journal.spoiled();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The clean end, after which the next start needs to read nothing. What could not be synced stays unclaimed, and
    /// then it is no clean end.
    pub fn stop(self, disk: &impl Disk, now: Time) -> Flush {
        let mut flush = self.flush(disk, now, true);
        if flush.data.is_some() || flush.journal.is_some() {
            return flush;
        }
        let stats: Vec<_> = disk.take_touched().into_iter().map(|file| (file, disk.stat(file))).collect();
        if let Err(error) = disk.sync_data() {
            flush.data = Some(error);
            return flush;
        }
        let mut journal = self.journal.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Only what we wrote is noted anew: a file that somebody else changed differs from its note, and is checked.
        journal.note_selection(disk);
        journal.note_files(&stats);
        flush.journal = journal.close(disk).err();
        flush
    }
}
