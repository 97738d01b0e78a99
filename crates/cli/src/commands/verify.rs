//! `shoal verify`: which files on disk are what the torrent says.
//!
//! Pieces are checked; people think in files. A file is bad if it is missing, of another length, or holds a wrong piece. In
//! v1 a piece may span files: one that is wrong accuses all of them, except those that have no other fault beside a file
//! that is bad for sure.

use super::hashing::{Total, watched};
use super::{Outcome, show};
use crate::args::VerifyArgs;
use crate::exit::{Exit, Failure, OrExit};
use crate::interrupt::Interrupt;
use crate::report::{Event, Level, Work};
use crate::run::Context;
use crate::size;
use crate::target::Target;
use shoal_layout::{FileIndex, PieceIndex, Selection};
use shoal_metainfo::{Info, Torrent};
use shoal_pieces::Bitfield;
use shoal_storage::path::{SafePath, safe_component};
use shoal_storage::{Mode, OpenFiles, Place, Storage, StorageError, hashing};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Checks and names what is bad.
pub(super) async fn run(args: VerifyArgs, context: &Context, interrupt: Interrupt) -> Outcome {
    let reporter = &context.reporter;
    let torrent = show::need_torrent(Target::read(&args.target)?, "verify")?;
    if !args.folder.exists() {
        return Err(Failure::new(Exit::Usage, format!("cannot verify: there is no folder {}", args.folder.display())));
    }
    let info = Arc::clone(&torrent.info);
    let (v1, v2) = show::hash_words(&info.hashes());
    let total_length = info.layout().payload_length();
    reporter
        .event(0, &Event::Metadata { info_hash_v1: v1, info_hash_v2: v2, name: info.name().to_owned(), total_length });
    let storage = open(&info, &data_folder(&info, &args.folder)).or_exit(Exit::Disk, || "cannot verify".to_owned())?;
    let storage = Arc::new(storage);
    let job = {
        let (storage, torrent) = (Arc::clone(&storage), Arc::clone(&torrent));
        let jobs = args.jobs;
        move |watch: hashing::Watch<'_>, total: &Total| {
            total.set(total_length);
            check(&storage, &torrent, args.paranoid, hashing::Watch { jobs, ..watch })
        }
    };
    let Found { good, attacks, problems } =
        watched(reporter, 0, Work::Checking, &interrupt, job).await.map_err(|error| match error {
            StorageError::Cancelled => Failure::new(Exit::Interrupted, "interrupted before all was checked"),
            other => Failure { exit: Exit::Disk, error: anyhow::Error::from(other).context("cannot verify") },
        })?;
    let bad = bad_files(&info, &good, &problems);
    for piece in attacks.iter_set() {
        let names: Vec<String> =
            info.layout().files_in(piece).map(|file| storage.path(file).display().to_string()).collect();
        reporter.say(
            Level::Normal,
            &format!(
                "{}: {piece} has the right SHA-1 and was made to collide with another piece: an attack; do not trust this torrent",
                names.join(", ")
            ),
        );
    }
    for (&file, &bad_pieces) in &bad {
        let place = storage.path(file);
        let why = match problems.get(&file) {
            Some(problem) => problem.to_string(),
            None => format!(
                "{}: {} of {} wrong",
                place.display(),
                bad_pieces,
                size::count(info.layout().pieces_of(file).len() as u64, "piece")
            ),
        };
        reporter.say(Level::Normal, &why);
        let path = info.file(file).map_or_else(Vec::new, |file| file.path.to_vec());
        reporter.event(0, &Event::File { path, bad_pieces, place });
    }
    let files = size::count(u64::from(info.layout().files()), "file");
    if bad.is_empty() && good.is_full() {
        reporter.say(Level::Normal, &format!("{}: all right, {files}, {}", info.name(), size::bytes(total_length)));
        reporter.event(0, &Event::Done { path: storage.place().root().to_path_buf() });
        return Ok(Exit::Done);
    }
    let wrong = good.len() - good.count() - attacks.count();
    if attacks.count() > 0 {
        let count = size::count(u64::from(attacks.count()), "piece");
        let message = format!(
            "{}: attack: {count} made to collide in SHA-1, {wrong} missing or wrong; get it anew as a v2 torrent",
            info.name()
        );
        return Err(Failure::new(Exit::BadTorrent, message));
    }
    Err(Failure::new(
        Exit::BadTorrent,
        format!(
            "{}: {} of {files} bad, {wrong} of {} missing or wrong; shoal download {} fetches what is missing",
            info.name(),
            bad.len(),
            size::count(u64::from(good.len()), "piece"),
            crate::escape::shell_quote(&args.target),
        ),
    ))
}

/// `DIR` as the folder that a download was put into; if it is the torrent's own folder or file, the one around it.
pub(super) fn data_folder(info: &Info, given: &Path) -> PathBuf {
    let names = [info.name().to_owned(), safe_component(info.name(), false), safe_component(info.name(), true)];
    let names = names.map(|name| SafePath::exact([name]));
    let is_itself = given
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|given| names.iter().flatten().any(|name| name.as_str() == given));
    if is_itself
        && !names.iter().flatten().any(|name| name.below(given).exists())
        && let Some(parent) = given.parent()
    {
        return if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_path_buf() };
    }
    given.to_path_buf()
}

fn open(info: &Info, folder: &Path) -> Result<Storage, StorageError> {
    let layout = info.layout().clone();
    let selection = Selection::all(&layout);
    let place = Place::found(info, folder);
    Storage::open(layout, place, selection, Mode::ReadOnly, info.hashes().wire(), OpenFiles::for_this_process())
}

type Problems = BTreeMap<FileIndex, StorageError>;

/// What a check found.
struct Found {
    good: Bitfield,
    /// Pieces that were made to collide; none of them is good.
    attacks: Bitfield,
    problems: Problems,
}

fn check(
    storage: &Storage,
    torrent: &Torrent,
    paranoid: bool,
    watch: hashing::Watch<'_>,
) -> Result<Found, StorageError> {
    let Torrent { info, layers, .. } = torrent;
    let all = Bitfield::full(info.layout().pieces());
    let hashing::Checked { right: good, attacks } = if paranoid {
        hashing::check_for_collisions(storage, info, layers, &all, watch)?
    } else {
        let right = hashing::check(storage, info, layers, &all, watch)?;
        hashing::Checked { right, attacks: Bitfield::new(all.len()) }
    };
    // A symlink of the torrent (BEP 47) is created only if the user asks, and has no bytes.
    let is_link = |file: FileIndex| torrent.info.file(file).is_some_and(|file| file.attributes.symlink.is_some());
    let problems = storage.problems().into_iter().filter(|&(file, _)| !is_link(file)).collect();
    Ok(Found { good, attacks, problems })
}

/// The bad files, and how many wrong pieces each has.
fn bad_files(info: &Info, good: &Bitfield, problems: &Problems) -> BTreeMap<FileIndex, u32> {
    let layout = info.layout();
    let wrong_of = |file: FileIndex| layout.pieces_of(file).filter(|&piece| !good.get(PieceIndex(piece)));
    let alone = |piece: u32| layout.files_in(PieceIndex(piece)).count() == 1;
    let surely = |file: FileIndex| problems.contains_key(&file) || wrong_of(file).any(alone);
    let files = (0..layout.files()).map(FileIndex);
    let bad = files
        .filter(|&file| surely(file) || wrong_of(file).any(|piece| !layout.files_in(PieceIndex(piece)).any(surely)));
    bad.map(|file| (file, wrong_of(file).count() as u32)).collect()
}
