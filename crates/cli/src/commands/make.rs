//! From paths to a torrent: scan, plan, hash, build. The one way in which `create`, `share` and `seed --each` do it, so
//! that the same bytes get the same info hash whichever was used.

use super::hashing::{Total, watched};
use crate::args::FormatArg;
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::report::{Level, Reporter, Target, Work};
use crate::size;
use shoal_metainfo::create::{self, Options, Plan};
use shoal_metainfo::{Attributes, Format, Info, PieceLayers, Torrent};
use shoal_storage::source::{ScanError, Source, scan};
use shoal_storage::{OpenFiles, Place, StorageError, hashing};
use std::io::ErrorKind::NotFound;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;

/// What to make.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    /// What it is made of; several become entries of one folder.
    pub(super) paths: Vec<PathBuf>,
    /// The torrent's name, instead of the path's own.
    pub(super) name: Option<String>,
    /// v1, v2 or both.
    pub(super) format: FormatArg,
    /// Bytes in a piece; `None`: by size.
    pub(super) piece_length: Option<u64>,
    /// Trackers only (BEP 27).
    pub(super) private: bool,
    /// A tag within the info dictionary.
    pub(super) source: Option<String>,
    /// Keep which files are executable.
    pub(super) attributes: bool,
    /// Threads that hash; `None`: one for each core.
    pub(super) jobs: Option<NonZero<usize>>,
}

/// What was made.
pub(super) struct Made {
    /// Where the files are.
    pub(super) place: Place,
    /// The torrent, with nothing told around its info dictionary.
    pub(super) torrent: Torrent,
}

/// Makes it, with a bar.
pub(super) async fn make(
    recipe: Recipe,
    reporter: &Reporter,
    target: Target,
    interrupt: &Interrupt,
) -> Result<Made, Failure> {
    let shown = recipe.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let what = || format!("cannot share {shown}");
    if let Some(missing) = recipe.paths.iter().find(|path| path.symlink_metadata().is_err_and(|e| e.kind() == NotFound))
    {
        return Err(Failure::no_such_path(missing));
    }
    let job = {
        let reporter = reporter.clone();
        move |watch: hashing::Watch<'_>, total: &Total| build(&recipe, &reporter, total, watch)
    };
    let made = watched(reporter, target, Work::Hashing, interrupt, job).await;
    let (info, layers, place) = made.map_err(|error| error.failure(what))?;
    Ok(Made { place, torrent: Torrent::new(Arc::new(info), layers) })
}

/// Why there is no torrent.
enum MakeError {
    Scan(ScanError),
    Storage(StorageError),
    Create(create::CreateError),
}

impl MakeError {
    fn failure(self, what: impl FnOnce() -> String) -> Failure {
        match self {
            MakeError::Scan(error) => {
                let exit = match &error {
                    ScanError::Io { .. } | ScanError::Unreadable { .. } | ScanError::Vanished { .. } => Exit::Disk,
                    _ => Exit::Other,
                };
                Failure { exit, error: anyhow::Error::from(error).context(what()) }
            }
            MakeError::Storage(StorageError::Cancelled) => {
                Failure::new(Exit::Interrupted, "interrupted; nothing was written")
            }
            MakeError::Storage(error) => Failure { exit: Exit::Disk, error: error.into() },
            MakeError::Create(error) => {
                Failure { exit: Exit::Other, error: anyhow::Error::from(error).context(what()) }
            }
        }
    }
}

/// Looks at what there is, and plans a torrent of it.
fn prepare(recipe: &Recipe, reporter: &Reporter) -> Result<(Plan, Source), MakeError> {
    let scan = scan(&recipe.paths, recipe.name.as_deref()).map_err(MakeError::Scan)?;
    for folder in scan.empty_folders() {
        reporter.say(
            Level::Normal,
            &format!("left out: {} is empty, and torrents cannot hold empty folders", folder.display()),
        );
    }
    let format = match recipe.format {
        FormatArg::Hybrid => Format::Hybrid,
        FormatArg::V2 => Format::V2,
        FormatArg::V1 => Format::V1,
    };
    let attributes = |executable| Attributes { executable: executable && recipe.attributes, ..Attributes::default() };
    let (name, is_single_file) = (scan.name().to_owned(), scan.is_single_file());
    let counted = size::count(scan.paths().len() as u64, "file");
    let (paths, source) = scan.split();
    let plan = {
        let mut about = source.about().map(|(length, executable)| (length, attributes(executable)));
        if is_single_file {
            let (length, attributes) = about.next().expect("a single file is one");
            Plan::file(format, name, length, attributes, recipe.piece_length)
        } else {
            Plan::folder(format, name, paths, about, recipe.piece_length)
        }
    };
    let plan = plan.map_err(MakeError::Create)?;
    reporter.say(
        Level::Verbose,
        &format!(
            "{}: {counted}, {}, {} pieces of {}",
            plan.name(),
            size::bytes(plan.layout().payload_length()),
            plan.layout().pieces(),
            size::bytes(u64::from(plan.layout().piece_length()))
        ),
    );
    Ok((plan, source))
}

/// Scan, plan, hash, build. What lies in memory for each of a million files goes from hand to hand and is not copied: names
/// from the scan to the plan and to the torrent, places to hashing. All on one thread, since the allocator gives what one thread freed to no
/// other.
fn build(
    recipe: &Recipe,
    reporter: &Reporter,
    total: &Total,
    watch: hashing::Watch<'_>,
) -> Result<(Info, PieceLayers, Place), MakeError> {
    let (plan, source) = prepare(recipe, reporter)?;
    total.set(plan.layout().payload_length());
    let watch = hashing::Watch { jobs: recipe.jobs, ..watch };
    let files = OpenFiles::for_this_process();
    let hashing::Created { v1, v2, place } =
        hashing::create(source, &plan, &files, watch).map_err(MakeError::Storage)?;
    let options = Options { private: recipe.private, source: recipe.source.clone() };
    let (info, layers) = create::build(plan, v1, v2, &options).map_err(MakeError::Create)?;
    Ok((info, layers, place))
}
