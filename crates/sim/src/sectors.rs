//! A disk of sectors under a download's journal: it can be cut off at any step, and then loses what was not synced.
//!
//! It holds the payload files and the state file of one download as the page cache has them and as the platter has them.
//! Every call that changes something is a *step*; a payload write is one for each sector. At the step that was chosen the
//! machine is gone: that step and all after it do nothing. [`Sectors::after`] then is the disk as the next start finds it:
//! of each sector that was written and not synced either the old or the new content, as the [`Loss`] says, and of each
//! file's time likewise. A sync may also fail, and then drops what it should have kept without saying so again.
//!
//! Invariant: what was synced before the cut is there after it.

use shoal_layout::{Layout, PieceIndex};
use shoal_machine::Rng;
use shoal_metainfo::PieceHashes;
use shoal_pieces::Bitfield;
use shoal_storage::{Disk, FileStat, Found, StorageError};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Bytes that a disk keeps or loses together.
pub const SECTOR_BYTES: usize = 4096;
/// How long a step takes. Chosen: 100 steps a second, a slow hard disk.
const STEP_NS: i64 = 10_000_000;

/// Which of the sectors that were not synced are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// None: the process was killed, the system went on.
    None,
    /// All.
    All,
    /// Each with one half.
    Random,
    /// All that were written after some moment: the disk worked in order.
    Torn,
}

/// One file as the system and as the platter have it.
#[derive(Debug, Clone, Default)]
struct Platter {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that were written since they were synced, in the order of their last writing.
    dirty: Vec<usize>,
    modified_ns: i64,
    durable_modified_ns: i64,
    inode: u64,
    /// Whether its name is on the platter.
    named: bool,
}

impl Platter {
    fn write_sector(&mut self, at: usize, bytes: &[u8], now_ns: i64) {
        if self.cached.len() < at + bytes.len() {
            self.cached.resize(at + bytes.len(), 0);
        }
        self.cached[at..at + bytes.len()].copy_from_slice(bytes);
        self.modified_ns = now_ns;
        for sector in at / SECTOR_BYTES..(at + bytes.len()).div_ceil(SECTOR_BYTES) {
            self.dirty.retain(|&dirty| dirty != sector);
            self.dirty.push(sector);
        }
    }

    fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            copy_sector(&self.cached, &mut self.durable, sector);
        }
        self.durable.resize(self.cached.len(), 0);
        self.durable_modified_ns = self.modified_ns;
    }

    /// What is there after the cut; nothing if its name is not.
    fn after(&self, loss: Loss, rng: &mut Rng) -> Option<Platter> {
        let random = |rng: &mut Rng| rng.index(2) == 0;
        let named = self.named || loss == Loss::None || (loss == Loss::Random && random(rng));
        if !named {
            return None;
        }
        let mut left = self.clone();
        let torn = rng.index(self.dirty.len() + 1);
        let kept: Vec<usize> = match loss {
            Loss::None => self.dirty.clone(),
            Loss::All => Vec::new(),
            Loss::Random => self.dirty.iter().copied().filter(|_| random(rng)).collect(),
            Loss::Torn => self.dirty[..torn].to_vec(),
        };
        // The length goes with the last sector that is kept.
        for sector in kept {
            copy_sector(&self.cached, &mut left.durable, sector);
        }
        let new_time = match loss {
            Loss::None => true,
            Loss::All => false,
            Loss::Random | Loss::Torn => random(rng),
        };
        left.modified_ns = if new_time { self.modified_ns } else { self.durable_modified_ns };
        left.durable_modified_ns = left.modified_ns;
        left.cached = left.durable.clone();
        left.dirty.clear();
        left.named = true;
        Some(left)
    }
}

fn copy_sector(from: &[u8], to: &mut Vec<u8>, sector: usize) {
    let begin = sector * SECTOR_BYTES;
    let end = from.len().min(begin + SECTOR_BYTES);
    if begin >= end {
        return;
    }
    if to.len() < end {
        to.resize(end, 0);
    }
    to[begin..end].copy_from_slice(&from[begin..end]);
}

/// The disk.
#[derive(Debug)]
pub struct Sectors {
    layout: Layout,
    world: RefCell<World>,
}

#[derive(Debug)]
struct World {
    now_ns: i64,
    files: BTreeMap<u32, Platter>,
    state: Option<Platter>,
    /// What the name of the state file led to before it was replaced and the folder synced.
    old_state: Option<Option<Platter>>,
    touched: BTreeSet<u32>,
    steps: u64,
    cut_at: Option<u64>,
    /// Data syncs that are to fail, by their number.
    failing: BTreeSet<u64>,
    syncs: u64,
    next_inode: u64,
}

impl World {
    /// One step; an error if the machine is gone.
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        self.now_ns += STEP_NS;
        match self.cut_at {
            Some(cut_at) if self.steps >= cut_at => Err(io::Error::other("cut off")),
            _ => Ok(()),
        }
    }
}

impl Sectors {
    /// An empty disk at a time, in nanoseconds since 1970. The `cut_at`-th step and all after it fail.
    pub fn new(layout: Layout, now_ns: i64, cut_at: Option<u64>) -> Sectors {
        let world = World {
            now_ns,
            files: BTreeMap::new(),
            state: None,
            old_state: None,
            touched: BTreeSet::new(),
            steps: 0,
            cut_at,
            failing: BTreeSet::new(),
            syncs: 0,
            next_inode: 1,
        };
        Sectors { layout, world: RefCell::new(world) }
    }

    /// Lets these data syncs fail, the first is 0.
    pub fn fail_syncs(&mut self, failing: impl IntoIterator<Item = u64>) {
        self.world.get_mut().failing.extend(failing);
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.world.borrow().steps
    }

    /// Whether the machine is gone.
    pub fn is_cut(&self) -> bool {
        let world = self.world.borrow();
        world.cut_at.is_some_and(|cut_at| world.steps >= cut_at)
    }

    /// Lets time pass.
    pub fn pass(&self, ns: i64) {
        self.world.borrow_mut().now_ns += ns;
    }

    /// Writes a piece, a step for each sector.
    pub fn write_piece(&self, piece: PieceIndex, content: &[u8]) -> io::Result<()> {
        let start = self.layout.piece_start(piece) as usize;
        let mut at = start;
        for slice in self.layout.slices_of(start as u64..start as u64 + u64::from(self.layout.piece_size(piece))) {
            let bytes = &content[at..at + slice.length as usize];
            at += slice.length as usize;
            let Some(file) = slice.file else { continue };
            let mut offset = slice.offset as usize;
            let mut rest = bytes;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(SECTOR_BYTES - offset % SECTOR_BYTES));
                let world = &mut *self.world.borrow_mut();
                world.touched.insert(file.0);
                world.step()?;
                let (next_inode, now_ns) = (&mut world.next_inode, world.now_ns);
                let platter = world.files.entry(file.0).or_insert_with(|| {
                    *next_inode += 1;
                    Platter { inode: *next_inode, durable_modified_ns: now_ns, ..Platter::default() }
                });
                platter.write_sector(offset, now, now_ns);
                offset += now.len();
                rest = later;
            }
        }
        Ok(())
    }

    /// Reads a piece; `None` if some of it is not there.
    pub fn read_piece(&self, piece: PieceIndex) -> Option<Vec<u8>> {
        let start = self.layout.piece_start(piece);
        let mut bytes = Vec::new();
        for slice in self.layout.slices_of(start..start + u64::from(self.layout.piece_size(piece))) {
            let span = slice.offset as usize..(slice.offset + slice.length) as usize;
            match slice.file {
                None => bytes.resize(bytes.len() + span.len(), 0),
                Some(file) => bytes.extend(self.world.borrow().files.get(&file.0)?.cached.get(span)?),
            }
        }
        Some(bytes)
    }

    /// The state file's bytes.
    pub fn state(&self) -> Option<Vec<u8>> {
        self.world.borrow().state.as_ref().map(|platter| platter.cached.clone())
    }

    /// What a start finds.
    pub fn found(&self) -> Found {
        let files = (0..self.layout.files()).map(|file| self.stat(file)).collect::<Vec<_>>().into();
        let slots = Bitfield::new(self.layout.pieces());
        Found { files, part: None, slots, wanted: vec![true; self.layout.files() as usize] }
    }

    /// The disk as the next start finds it, some time later.
    pub fn after(&self, loss: Loss, rng: &mut Rng) -> Sectors {
        let world = self.world.borrow();
        let disk = Sectors::new(self.layout.clone(), world.now_ns + 60 * 1_000_000_000, None);
        let mut next = disk.world.borrow_mut();
        next.next_inode = world.next_inode;
        for (&file, platter) in &world.files {
            if let Some(left) = platter.after(loss, rng) {
                next.files.insert(file, left);
            }
        }
        // A replaced file's new name may be on the platter or not; its content is, since it was synced before.
        let old = world.old_state.as_ref().filter(|_| match loss {
            Loss::None => false,
            Loss::All => true,
            Loss::Random | Loss::Torn => rng.index(2) == 0,
        });
        let state = old.map_or(world.state.as_ref(), Option::as_ref);
        next.state = state.and_then(|platter| platter.after(loss, rng));
        drop(next);
        disk
    }
}

impl Disk for Sectors {
    fn now_ns(&self) -> i64 {
        self.world.borrow().now_ns
    }

    fn write_state(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.step()?;
        let now_ns = world.now_ns;
        let platter = world.state.as_mut().ok_or(io::ErrorKind::NotFound)?;
        platter.write_sector(at as usize, bytes, now_ns);
        Ok(())
    }

    fn sync_state(&self) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.step()?;
        if let Some(platter) = &mut world.state {
            platter.sync();
        }
        Ok(())
    }

    fn replace_state(&self, content: &[u8]) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        // Write and sync beside it: nobody reads that file, so two steps that change nothing else.
        world.step()?;
        world.step()?;
        let mut platter = Platter { named: true, ..Platter::default() };
        platter.write_sector(0, content, world.now_ns);
        platter.sync();
        // Rename.
        world.step()?;
        world.old_state = Some(world.state.replace(platter));
        // Sync the folder.
        world.step()?;
        world.old_state = None;
        Ok(())
    }

    fn take_touched(&self) -> Vec<u32> {
        std::mem::take(&mut self.world.borrow_mut().touched).into_iter().collect()
    }

    fn stat(&self, file: u32) -> Option<FileStat> {
        let world = self.world.borrow();
        let platter = world.files.get(&file)?;
        let (size, modified_ns, inode) = (platter.cached.len() as u64, platter.modified_ns, platter.inode);
        Some(FileStat { size, modified_ns, inode })
    }

    fn sync_data(&self) -> Result<(), StorageError> {
        let world = &mut *self.world.borrow_mut();
        let fail = |source| StorageError::Io { path: "data".into(), source };
        let number = world.syncs;
        world.syncs += 1;
        if world.failing.remove(&number) {
            for platter in world.files.values_mut() {
                // They stay in memory as if they had been written.
                platter.dirty.clear();
            }
            return Err(fail(io::Error::other("the disk refuses")));
        }
        // A step for each file: the cut may come between them.
        for platter in world.files.keys().copied().collect::<Vec<_>>() {
            world.step().map_err(fail)?;
            if let Some(platter) = world.files.get_mut(&platter) {
                platter.sync();
                platter.named = true;
            }
        }
        Ok(())
    }

    fn rewrite(&self, piece: PieceIndex, expected: &PieceHashes) -> Result<bool, StorageError> {
        let Some(bytes) = self.read_piece(piece) else { return Ok(false) };
        if Some(shoal_hash::sha1(&bytes)) != expected.v1 {
            return Ok(false);
        }
        let start = self.layout.piece_start(piece) as usize;
        let mut content = vec![0; start];
        content.extend(bytes);
        let written = self.write_piece(piece, &content);
        written.map(|()| true).map_err(|source| StorageError::Io { path: "data".into(), source })
    }

    fn selection(&self, known: Option<u64>) -> Option<(u64, Vec<bool>)> {
        known.is_none().then(|| (0, vec![true; self.layout.files() as usize]))
    }
}
