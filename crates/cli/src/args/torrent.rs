//! The words of the commands that make, show, check and change torrent files.

use super::parse::parse_piece_length;
use super::{FormatArg, JsonArgs, JsonObjectArgs, TalkArgs};
use clap::{Args, ValueHint};
use std::num::NonZero;
use std::path::PathBuf;

/// Write a torrent file
///
/// The same names and bytes give the same info hash on every machine. The file's path is printed on standard output.
#[derive(Args, Debug, Clone)]
pub(crate) struct CreateArgs {
    /// File or folder
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,
    /// Torrent file to write [default: NAME.torrent in the current folder]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Replace the torrent file if it is there
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Torrent format
    #[arg(long, value_name = "FORMAT", default_value = "hybrid")]
    pub(crate) format: FormatArg,
    /// Bytes in a piece: a power of two from 16KiB to 64MiB [default: by size]
    ///
    /// Without it: the smallest power of two that gives at most 2000 pieces, up to 16MiB; less for a hybrid of many small files, which
    /// would be mostly padding.
    #[arg(long, value_name = "SIZE", value_parser = parse_piece_length)]
    pub(crate) piece_length: Option<u64>,
    /// Only trackers may tell peers about it (BEP 27)
    #[arg(long)]
    pub(crate) private: bool,
    /// Where it comes from: goes into the info dictionary, and so into the hash
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// A comment; does not change the hash
    #[arg(long)]
    pub(crate) comment: Option<String>,
    /// A web server that has the files too (BEP 19); may be given several times
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_delimiter = ' ')]
    pub(crate) webseed: Vec<String>,
    /// Announce to this tracker; each further one is a fallback
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_delimiter = ' ')]
    pub(crate) tracker: Vec<String>,
    /// Keep which files are executable (BEP 47)
    #[arg(long)]
    pub(crate) attributes: bool,
    /// Print the magnet link too
    #[arg(long)]
    pub(crate) link: bool,
    /// Threads that hash, up to 32 [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZero<usize>>,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Show what a torrent file or link says
///
/// What is dangerous or has no meaning is refused with exit code 6. Torrent files of up to 64 MiB, 2,097,152 pieces and
/// 1,000,000 files are read.
#[derive(Args, Debug, Clone)]
pub(crate) struct ShowArgs {
    /// Torrent file, magnet link or info hash
    #[arg(value_name = "FILE|LINK|HASH", value_hint = ValueHint::FilePath)]
    pub(crate) target: String,
    /// Also ask its trackers how many peers they know (BEP 48)
    ///
    /// Nothing is joined or announced. The exit code is 4 if none of them answers.
    #[arg(long)]
    pub(crate) scrape: bool,
    /// With --scrape: ask trackers on private addresses too
    #[arg(long, requires = "scrape")]
    pub(crate) allow_private_networks: bool,
    #[command(flatten)]
    pub(crate) json: JsonObjectArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Print the magnet link of a torrent file
#[derive(Args, Debug, Clone)]
pub(crate) struct LinkArgs {
    /// Torrent file, magnet link or info hash
    #[arg(value_name = "FILE|LINK|HASH", value_hint = ValueHint::FilePath)]
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Check data on disk against a torrent file
///
/// Exit code 0: all of it is right. 6: something is missing or wrong; the bad files are printed on standard output.
#[derive(Args, Debug, Clone)]
pub(crate) struct VerifyArgs {
    /// Torrent file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) target: String,
    /// Folder that holds the data: the one that a download was put into
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// Also look for pieces that were made to collide in SHA-1
    ///
    /// Two different pieces of one SHA-1 can be made. Such a piece is right by its hash, and yet others may have got another
    /// one by the same torrent: it counts as bad, and is named as an attack. Takes several times as long. v2 torrents use
    /// SHA-256 alone and have nothing to look for; of hybrids both hashes are always checked.
    #[arg(long)]
    pub(crate) paranoid: bool,
    /// Threads that hash, up to 32 [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZero<usize>>,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Change trackers, web seeds or the comment of a torrent file
///
/// The info hash stays as it is. Without -o the file itself is replaced, in one step. Removing comes before adding.
#[derive(Args, Debug, Clone)]
pub(crate) struct EditArgs {
    /// Torrent file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) target: String,
    /// Add this tracker as a tier of its own, after the others; may be given several times
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_delimiter = ' ')]
    pub(crate) tracker: Vec<String>,
    /// Remove this tracker; may be given several times
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_delimiter = ' ')]
    pub(crate) remove_tracker: Vec<String>,
    /// Remove all trackers
    #[arg(long)]
    pub(crate) clear_trackers: bool,
    /// Add this web seed; may be given several times
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_delimiter = ' ')]
    pub(crate) webseed: Vec<String>,
    /// Remove this web seed; may be given several times
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_delimiter = ' ')]
    pub(crate) remove_webseed: Vec<String>,
    /// Set the comment; an empty one removes it
    #[arg(long)]
    pub(crate) comment: Option<String>,
    /// Write here instead of replacing the file
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Replace the output file if it is there
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) json: JsonObjectArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}
