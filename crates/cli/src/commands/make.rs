//! From paths to a torrent: scan, plan, hash, build. The one way in which `create`, `share` and `seed --each` do it, so
//! that the same bytes get the same info hash whichever was used.

use super::hashing::watched;
use crate::args::FormatArg;
use crate::exit::{Exit, Failure, OrExit};
use crate::interrupt::Interrupt;
use crate::report::{Level, Reporter, Target, Work};
use crate::size;
use shoal_metainfo::create::{self, Options, Plan};
use shoal_metainfo::{Attributes, Format, Info, PieceLayers, Torrent};
use shoal_storage::source::{Scan, ScanError, scan};
use shoal_storage::{OpenFiles, StorageError, hashing};
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
    pub(super) scan: Scan,
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
        return Err(Failure::new(Exit::Usage, format!("there is no file or folder {}", missing.display())));
    }
    let (paths, name) = (recipe.paths.clone(), recipe.name.clone());
    let scanned = tokio::task::spawn_blocking(move || scan(&paths, name.as_deref())).await;
    let scan = scanned.or_exit(Exit::Other, what)?.map_err(|error| {
        let exit = match &error {
            ScanError::Io { .. } | ScanError::Unreadable { .. } | ScanError::Vanished { .. } => Exit::Disk,
            _ => Exit::Other,
        };
        Failure { exit, error: anyhow::Error::from(error).context(what()) }
    })?;
    for folder in scan.empty_folders() {
        reporter.say(
            Level::Normal,
            &format!("left out: {} is empty, and torrents cannot hold empty folders", folder.display()),
        );
    }
    let plan = plan(&recipe, &scan).or_exit(Exit::Other, what)?;
    let total = scan.total_length();
    let counted = size::count(scan.files().len() as u64, "file");
    reporter.say(
        Level::Verbose,
        &format!(
            "{}: {counted}, {}, {} pieces of {}",
            scan.name(),
            size::bytes(total),
            plan.layout().pieces(),
            size::bytes(u64::from(plan.layout().piece_length()))
        ),
    );
    let scan = Arc::new(scan);
    let plan = Arc::new(plan);
    let job = {
        let (scan, plan) = (Arc::clone(&scan), Arc::clone(&plan));
        let jobs = recipe.jobs;
        move |watch: hashing::Watch<'_>| build(&recipe, &scan, &plan, hashing::Watch { jobs, ..watch })
    };
    let (info, layers) =
        watched(reporter, target, Work::Hashing, total, interrupt, job).await.map_err(|error| match error {
            BuildError::Storage(StorageError::Cancelled) => {
                Failure::new(Exit::Interrupted, "interrupted; nothing was written")
            }
            BuildError::Storage(error) => Failure { exit: Exit::Disk, error: error.into() },
            BuildError::Create(error) => {
                Failure { exit: Exit::Other, error: anyhow::Error::from(error).context(what()) }
            }
        })?;
    let scan = Arc::try_unwrap(scan).unwrap_or_else(|shared| Scan::clone(&shared));
    Ok(Made { scan, torrent: Torrent::new(Arc::new(info), layers) })
}

enum BuildError {
    Storage(StorageError),
    Create(create::CreateError),
}

fn plan(recipe: &Recipe, scan: &Scan) -> Result<Plan, create::CreateError> {
    let format = match recipe.format {
        FormatArg::Hybrid => Format::Hybrid,
        FormatArg::V2 => Format::V2,
        FormatArg::V1 => Format::V1,
    };
    let attributes = |executable| Attributes { executable: executable && recipe.attributes, ..Attributes::default() };
    match scan.files() {
        [file] if scan.is_single_file() => {
            Plan::file(format, scan.name().to_owned(), file.length, attributes(file.executable), recipe.piece_length)
        }
        files => {
            let files = files.iter().map(|file| (file.path.clone(), file.length, attributes(file.executable)));
            Plan::folder(format, scan.name().to_owned(), files, recipe.piece_length)
        }
    }
}

fn build(
    recipe: &Recipe,
    scan: &Scan,
    plan: &Plan,
    watch: hashing::Watch<'_>,
) -> Result<(Info, PieceLayers), BuildError> {
    let hashes = hashing::create(scan, plan, &OpenFiles::for_this_process(), watch).map_err(BuildError::Storage)?;
    let options = Options { private: recipe.private, source: recipe.source.clone() };
    create::build(plan, &hashes.v1, &hashes.v2, &options).map_err(BuildError::Create)
}
