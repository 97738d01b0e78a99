//! A resume journal with bytes changed, cut off or added: it loads, and never claims a piece that was not written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::torrents::{dict, int, text};
use shoal_layout::{PieceIndex, Selection};
use shoal_machine::Time;
use shoal_metainfo::{Info, PieceHashes};
use shoal_storage::{Identity, Mode, OpenFiles, Place, Resume, Storage};
use std::path::PathBuf;
use std::sync::LazyLock;

const PIECES: u32 = 9;
const WRITTEN: [u32; 4] = [0, 3, 4, 8];

/// A download that was killed after four pieces, and its journal as it was left.
struct Killed {
    storage: Storage,
    identity: Identity,
    state: PathBuf,
    journal: PathBuf,
    good: Vec<u8>,
    _folder: tempfile::TempDir,
}

static KILLED: LazyLock<Killed> = LazyLock::new(|| {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let key = |name: &str| name.as_bytes().to_vec();
    let info = dict(vec![
        (key("length"), int(i64::from(PIECES) * 16_384 - 3)),
        (key("name"), text(b"a")),
        (key("piece length"), int(16_384)),
        (key("pieces"), text(&[1; 20 * PIECES as usize])),
    ]);
    let info = Info::parse(&info).expect("a torrent").0;
    let place = Place::safe(&info, folder.path(), false);
    let layout = info.layout().clone();
    let selection = Selection::all(&layout);
    let storage = Storage::open(layout, place, selection, Mode::ReadWrite, [7; 20], OpenFiles::new(2)).expect("opens");
    let identity = Identity::new(&info.hashes(), folder.path());
    let state = folder.path().join("state");
    let resumed = Resume::load(&state, &identity, &storage);
    let resume = Resume::begin(&state, &identity, &storage, &resumed, &resumed.have).expect("begins");
    for piece in WRITTEN.map(PieceIndex) {
        let block = storage.layout().request(piece, 0).expect("a block a piece");
        let content = vec![7; block.length as usize];
        let expected = PieceHashes { v1: Some(shoal_hash::sha1(&content)), v2: None };
        resume.writing(&storage, piece).expect("announced");
        storage.write_piece(piece, &[(block, content)]).expect("written");
        resume.written(Time::ZERO, piece, block.length, expected);
        let flush = resume.flush(Time::ZERO, &storage, true);
        assert!(flush.gone.is_empty() && flush.data.is_none() && flush.journal.is_none());
    }
    let journal = resume.path().to_owned();
    drop(resume);
    let good = std::fs::read(&journal).expect("readable");
    Killed { storage, identity, state, journal, good, _folder: folder }
});

fuzz_target!(|input: (Option<u16>, Vec<(u16, u8)>, &[u8])| {
    let killed = &*KILLED;
    let (cut, changes, tail) = input;
    let mut bytes = killed.good.clone();
    bytes.truncate(cut.map_or(bytes.len(), usize::from));
    for (place, byte) in changes.into_iter().take(8) {
        if let Some(there) = bytes.get_mut(usize::from(place)) {
            *there = byte;
        }
    }
    bytes.extend(tail);
    std::fs::write(&killed.journal, &bytes).expect("a file in memory");
    let resumed = Resume::load(&killed.state, &killed.identity, &killed.storage);
    let claimed: Vec<u32> = resumed.have.iter_set().map(|piece| piece.0).collect();
    assert!(claimed.iter().all(|piece| WRITTEN.contains(piece)), "claims {claimed:?}");
    assert!(bytes != killed.good || claimed == WRITTEN);
});
