//! What a run finds of the one before: after a clean stop, a kill, damage, and other people's changes.

use super::*;
use crate::{Identity, Keeper, Resume, Resumed, load_torrent, save_torrent};
use shoal_machine::Time;
use shoal_metainfo::PieceHashes;
use shoal_pieces::Bitfield;
use std::fs::File;
use std::time::{Duration, SystemTime};

struct Fixture {
    state: tempfile::TempDir,
    output: tempfile::TempDir,
    layout: Layout,
    content: Vec<u8>,
}

impl Fixture {
    fn new() -> Fixture {
        let layout = Layout::contiguous(BLOCK, &[3 * BLOCK + 5, 4 * BLOCK, 10]).unwrap();
        let content = content(&layout);
        Fixture { state: tempfile::tempdir().unwrap(), output: tempfile::tempdir().unwrap(), layout, content }
    }

    fn identity(&self) -> Identity {
        Identity::of_hashes(vec![[9; 20]], self.output.path())
    }

    fn open(&self) -> Storage {
        open(self.output.path(), &self.layout, Selection::all(&self.layout), Mode::ReadWrite)
    }

    fn load(&self, storage: &Storage) -> Resumed {
        Resume::load(self.state.path(), &self.identity(), storage)
    }

    fn begin(&self, storage: &Storage) -> Resume {
        let resumed = self.load(storage);
        Resume::begin(self.state.path(), &self.identity(), storage, &resumed, &resumed.have).unwrap()
    }

    /// Writes a piece as a download does.
    fn write(&self, storage: &Storage, resume: &Resume, piece: u32) {
        resume.writing(storage, PieceIndex(piece)).unwrap();
        write(storage, piece, &self.content).unwrap();
        let v1 = Some(shoal_hash::sha1(piece_of(&self.layout, piece, &self.content)));
        resume.written(Time::ZERO, PieceIndex(piece), BLOCK as u32, PieceHashes { v1, v2: None });
    }

    /// The same, and what follows a second later.
    fn download(&self, storage: &Storage, resume: &Resume, pieces: &[u32]) {
        for &piece in pieces {
            self.write(storage, resume, piece);
        }
        flush(resume, storage);
    }

    fn state_file(&self) -> std::path::PathBuf {
        let mut files = std::fs::read_dir(self.state.path()).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|extension| extension == "resume")).unwrap()
    }
}

fn flush(resume: &Resume, storage: &Storage) {
    let flushed = resume.flush(Time::ZERO, storage, true);
    assert!(flushed.data.is_none() && flushed.journal.is_none() && flushed.gone.is_empty(), "{flushed:?}");
}

fn stop(resume: Resume, storage: &Storage) {
    let flushed = resume.stop(Time::ZERO, storage);
    assert!(flushed.data.is_none() && flushed.journal.is_none(), "{flushed:?}");
}

fn list(bits: &Bitfield) -> Vec<u32> {
    bits.iter_set().map(|piece| piece.0).collect()
}

fn age(path: &Path, seconds: u64) {
    let then = SystemTime::now() + Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn after_a_clean_stop_nothing_is_read_again() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    let resume = fixture.begin(&storage);
    fixture.download(&storage, &resume, &[0, 2, 5]);
    fixture.write(&storage, &resume, 6);
    stop(resume, &storage);
    drop(storage);
    let resumed = fixture.load(&fixture.open());
    assert_eq!((list(&resumed.have), list(&resumed.check)), (vec![0, 2, 5, 6], vec![]));
    assert!(resumed.problem.is_none());
}

#[test]
fn a_change_while_stopped_costs_a_check_of_that_file_alone() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    let resume = fixture.begin(&storage);
    fixture.download(&storage, &resume, &[0, 1, 5, 6]);
    stop(resume, &storage);
    age(&storage.path(FileIndex(0)), 1);
    let resumed = fixture.load(&fixture.open());
    assert_eq!((list(&resumed.have), list(&resumed.check)), (vec![5, 6], vec![0, 1, 2, 3]));
    std::fs::remove_file(storage.path(FileIndex(1))).unwrap();
    let resumed = fixture.load(&fixture.open());
    assert!(resumed.have.is_empty() || list(&resumed.have).is_empty());
}

#[test]
fn after_a_kill_what_was_journaled_counts_and_what_was_announced_is_hashed() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    let resume = fixture.begin(&storage);
    fixture.download(&storage, &resume, &[0, 5]);
    fixture.download(&storage, &resume, &[1]);
    // Written, never journaled; then killed.
    fixture.write(&storage, &resume, 2);
    drop((resume, storage));
    let storage = fixture.open();
    let resumed = fixture.load(&storage);
    assert_eq!((list(&resumed.have), list(&resumed.check)), (vec![0, 1, 5], vec![2]));
    // Killed again at once: nothing is forgotten.
    drop(Resume::begin(fixture.state.path(), &fixture.identity(), &storage, &resumed, &resumed.have).unwrap());
    assert_eq!(list(&fixture.load(&storage).have), [0, 1, 5]);
    // Long after the kill somebody writes to a file.
    age(&storage.path(FileIndex(0)), 3600);
    let resumed = fixture.load(&storage);
    assert_eq!((list(&resumed.have), list(&resumed.check)), (vec![5], vec![0, 1, 2, 3]));
}

#[test]
fn a_kill_excuses_no_change_of_a_file_that_was_not_being_written() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    let resume = fixture.begin(&storage);
    // The second file ends inside piece 7 and is complete; the third is not.
    fixture.download(&storage, &resume, &[3, 4, 5, 6, 7]);
    fixture.write(&storage, &resume, 0);
    drop(resume);
    let resumed = fixture.load(&storage);
    assert_eq!((list(&resumed.have), list(&resumed.check)), (vec![3, 4, 5, 6, 7], vec![0]));
    let path = storage.path(FileIndex(1));
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(modified + Duration::from_millis(1)).unwrap();
    let resumed = fixture.load(&storage);
    assert_eq!((list(&resumed.have), list(&resumed.check)), (vec![], vec![0, 3, 4, 5, 6, 7]));
}

#[test]
fn a_file_of_another_inode_is_checked_even_after_a_kill() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    let resume = fixture.begin(&storage);
    fixture.download(&storage, &resume, &[0]);
    drop(resume);
    let path = storage.path(FileIndex(0));
    let copy = path.with_extension("copy");
    std::fs::copy(&path, &copy).unwrap();
    std::fs::rename(&copy, &path).unwrap();
    let resumed = fixture.load(&storage);
    assert_eq!((list(&resumed.have), list(&resumed.check)), (vec![], vec![0, 1, 2, 3]));
}

#[test]
fn a_journal_cut_or_changed_anywhere_never_claims_more() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    let resume = fixture.begin(&storage);
    fixture.download(&storage, &resume, &[0, 5]);
    fixture.download(&storage, &resume, &[1]);
    drop(resume);
    let path = fixture.state_file();
    let good = std::fs::read(&path).unwrap();
    let claims = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        list(&fixture.load(&storage).have)
    };
    assert_eq!(claims(&good), [0, 1, 5]);
    for cut in 0..good.len() {
        let have = claims(&good[..cut]);
        assert!(have.iter().all(|piece| [0, 1, 5].contains(piece)), "cut at {cut}: {have:?}");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        let have = claims(&bad);
        assert!(have.iter().all(|piece| [0, 1, 5].contains(piece)), "flip at {at}: {have:?}");
    }
    let mut longer = good.clone();
    longer.extend(vec![0xff; 1000]);
    assert_eq!(claims(&longer), [0, 1, 5], "a torn tail is left out");
}

#[test]
fn another_downloads_journal_is_not_used() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    let resume = fixture.begin(&storage);
    fixture.download(&storage, &resume, &[0]);
    stop(resume, &storage);
    let stolen = std::fs::read(fixture.state_file()).unwrap();
    let other = Identity::of_hashes(vec![[8; 20]], fixture.output.path());
    std::fs::write(fixture.state.path().join(format!("{}.resume", other.keys()[0])), stolen).unwrap();
    let resumed = Resume::load(fixture.state.path(), &other, &storage);
    assert!(resumed.have.is_empty() || list(&resumed.have).is_empty());
    assert!(resumed.problem.unwrap().contains("another download"));
    assert_eq!(list(&resumed.check), [0, 1, 2, 3], "the file that is there");
}

#[test]
fn a_lost_piece_is_forgotten() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    let resume = fixture.begin(&storage);
    fixture.download(&storage, &resume, &[0, 1]);
    resume.lost(&storage, PieceIndex(0));
    assert_eq!(list(&fixture.load(&storage).have), [1], "at once");
    stop(resume, &storage);
    assert_eq!(list(&fixture.load(&storage).have), [1]);
}

#[test]
fn what_a_kill_left_is_ours_and_what_replaced_it_is_not() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    let resume = fixture.begin(&storage);
    // Killed in the middle of the first piece: a file without a valid piece.
    let path = storage.path(FileIndex(0));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "torn").unwrap();
    drop(resume);
    let none = Bitfield::new(fixture.layout.pieces());
    storage.prepare(&none, &fixture.load(&storage), false).unwrap();
    let resume = fixture.begin(&storage);
    drop(resume);
    std::fs::write(path.with_extension("other"), "notes of mine").unwrap();
    // The same number, overwritten long after: nothing tells it from somebody's work.
    age(&path, 3600);
    let refused = storage.prepare(&none, &fixture.load(&storage), false);
    assert!(matches!(refused, Err(StorageError::Foreign { .. })));
    // The torn one keeps its number, so that the new one cannot get it.
    std::fs::rename(&path, path.with_extension("torn")).unwrap();
    std::fs::rename(path.with_extension("other"), &path).unwrap();
    let refused = storage.prepare(&none, &fixture.load(&storage), false);
    assert!(matches!(refused, Err(StorageError::Foreign { .. })));
}

#[test]
fn pieces_in_the_part_file_are_resumed_and_gone_with_it() {
    let fixture = Fixture::new();
    let first_only = Selection::by(&fixture.layout, |file| file.0 == 0);
    let storage = open(fixture.output.path(), &fixture.layout, first_only.clone(), Mode::ReadWrite);
    let resume = fixture.begin(&storage);
    fixture.download(&storage, &resume, &[0, 3]);
    stop(resume, &storage);
    let resumed = fixture.load(&storage);
    assert_eq!((list(&resumed.have), list(&resumed.check)), (vec![0, 3], vec![]));
    std::fs::remove_file(storage.part().full_path()).unwrap();
    drop(storage);
    let storage = open(fixture.output.path(), &fixture.layout, first_only, Mode::ReadWrite);
    let resumed = fixture.load(&storage);
    assert_eq!((list(&resumed.have), list(&resumed.check)), (vec![0], vec![3]));
}

#[test]
fn a_torrent_is_found_under_each_of_its_hashes() {
    let fixture = Fixture::new();
    let both = Identity::of_hashes(vec![[1; 20], [2; 20]], fixture.output.path());
    save_torrent(fixture.state.path(), &both, b"torrent").unwrap();
    let magnet = Identity::of_hashes(vec![[2; 20]], &fixture.output.path().join("."));
    assert_eq!(load_torrent(fixture.state.path(), &magnet).unwrap(), b"torrent");
    assert_eq!(load_torrent(fixture.state.path(), &fixture.identity()), None);
}

#[test]
fn what_cannot_be_synced_is_written_again_and_what_is_gone_is_named() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    let resume = fixture.begin(&storage);
    fixture.write(&storage, &resume, 0);
    // The folder is gone: what was written cannot be synced.
    let (there, gone) = (fixture.output.path().join("t"), fixture.output.path().join("gone"));
    std::fs::rename(&there, &gone).unwrap();
    storage.close_files();
    let failed = resume.flush(Time::ZERO, &storage, true);
    assert!(failed.data.is_some() && failed.gone.is_empty() && resume.in_trouble(), "{failed:?}");
    std::fs::rename(&gone, &there).unwrap();
    flush(&resume, &storage);
    assert!(!resume.in_trouble());
    fixture.write(&storage, &resume, 1);
    std::fs::rename(&there, &gone).unwrap();
    storage.close_files();
    assert!(resume.flush(Time::ZERO, &storage, true).data.is_some());
    let flushed = resume.flush(Time::ZERO, &storage, true);
    assert_eq!(flushed.gone, [PieceIndex(1)]);
    std::fs::rename(&gone, &there).unwrap();
    storage.close_files();
    drop(resume);
    assert_eq!(list(&fixture.load(&storage).have), [0]);
}

#[test]
fn ten_thousand_damaged_bytes_cost_a_check_and_are_named() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    let resume = fixture.begin(&storage);
    fixture.download(&storage, &resume, &[0, 5]);
    fixture.download(&storage, &resume, &[1]);
    drop(resume);
    let path = fixture.state_file();
    let good = std::fs::read(&path).unwrap();
    let found = crate::resume::found(&storage);
    let (mut state, mut unused) = (1_u64, 0);
    for turn in 0..10_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut bad = good.clone();
        let at = (state >> 33) as usize % bad.len();
        bad[at] ^= ((state >> 25) as u8).max(1);
        let have = match Keeper::recover(&bad, &fixture.identity(), &fixture.layout, &found) {
            Ok(verdict) => list(&verdict.have),
            Err(_) => {
                unused += 1;
                Vec::new()
            }
        };
        assert!(have.iter().all(|piece| [0, 1, 5].contains(piece)), "turn {turn}, byte {at}: {have:?}");
    }
    assert!(unused > 1000, "most of the file is its head");
    std::fs::write(&path, &good[1..]).unwrap();
    let resumed = fixture.load(&storage);
    assert_eq!((list(&resumed.have), list(&resumed.check)), (vec![], vec![0, 1, 2, 3, 4, 5, 6, 7]));
    assert!(resumed.problem.unwrap().contains(path.to_str().unwrap()), "it is named");
}

#[test]
fn the_state_file_of_another_version_is_named_as_that() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    drop(fixture.begin(&storage));
    let path = fixture.state_file();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[7] = b'1';
    std::fs::write(&path, bytes).unwrap();
    assert!(fixture.load(&storage).problem.unwrap().contains("another version"));
}
