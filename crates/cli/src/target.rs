//! What a word on the command line names: a torrent file, a link, an info hash, or a URL.
//!
//! Decided by form, in an order that cannot surprise: a word that begins as a link is a link; else a file that exists is
//! that file; else a bare hash is the link that it stands for. Reading is bounded whatever the file is.

use crate::exit::{Exit, Failure, OrExit};
use shoal_metainfo::{InfoHashes, MAX_TORRENT_BYTES, Magnet, Torrent};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use url::Url;

/// What a word names, before anything is fetched.
#[derive(Debug)]
pub(crate) enum Word {
    /// What is known here.
    Known(Target),
    /// A torrent file on the web.
    Url(Url),
}

impl Word {
    /// Reads what the word names.
    pub(crate) fn read(word: &str) -> Result<Word, Failure> {
        if is_url(word) {
            return Url::parse(word).map(Word::Url).or_exit(Exit::Usage, || format!("bad URL {word}"));
        }
        Target::read(word).map(Word::Known)
    }
}

/// What a word named.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A torrent file, read.
    Torrent(Arc<Torrent>),
    /// A link, or a bare hash.
    Magnet(Box<Magnet>),
}

impl Target {
    /// Reads what the word names, for commands that fetch nothing.
    pub(crate) fn read(word: &str) -> Result<Target, Failure> {
        if has_scheme(word, "magnet:") {
            let magnet = word.parse().or_exit(Exit::BadTorrent, || "bad magnet link".to_owned())?;
            return Ok(Target::Magnet(Box::new(magnet)));
        }
        if is_url(word) {
            let message =
                format!("only `shoal download` fetches torrent files from the web; save {word} and name the file");
            return Err(Failure::new(Exit::Usage, message));
        }
        let path = Path::new(word);
        if path.exists() {
            return read_torrent(path).map(|torrent| Target::Torrent(Arc::new(torrent)));
        }
        match Magnet::from_hash_text(word) {
            Ok(magnet) => Ok(Target::Magnet(Box::new(magnet))),
            Err(_) => Err(Failure::new(
                Exit::Usage,
                format!(
                    "'{word}' is no file, no magnet link and no info hash; give the path of a torrent file or a link in quotes"
                ),
            )),
        }
    }

    /// The info hashes.
    pub(crate) fn hashes(&self) -> InfoHashes {
        match self {
            Target::Torrent(torrent) => torrent.info.hashes(),
            Target::Magnet(magnet) => magnet.hashes,
        }
    }

    /// The name, as far as it is known.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Target::Torrent(torrent) => Some(torrent.info.name()),
            Target::Magnet(magnet) => magnet.name.as_deref(),
        }
    }
}

/// Reads and parses a torrent file.
pub(crate) fn read_torrent(path: &Path) -> Result<Torrent, Failure> {
    let shown = path.display();
    let mut bytes = Vec::new();
    let limit = MAX_TORRENT_BYTES as u64;
    let read = |file: std::fs::File| {
        // A file that says that it is longer is not read at all; what says nothing (a pipe) is read up to the limit.
        let too_long = file.metadata()?.len() > limit;
        let read = if too_long { limit + 1 } else { file.take(limit + 1).read_to_end(&mut bytes)? as u64 };
        Ok(read > limit)
    };
    let too_long = std::fs::File::open(path).and_then(read).map_err(|error| match error.kind() {
        std::io::ErrorKind::IsADirectory => {
            Failure::new(Exit::Usage, format!("{shown} is a folder, not a torrent file"))
        }
        std::io::ErrorKind::NotFound => Failure::new(Exit::Usage, format!("there is no file {shown}")),
        _ => Failure { exit: Exit::Other, error: anyhow::Error::new(error).context(format!("cannot read {shown}")) },
    })?;
    if too_long {
        let message = format!("{shown} is no torrent file: it is longer than 64 MiB, the most that is read");
        return Err(Failure::new(Exit::BadTorrent, message));
    }
    Torrent::parse_owned(bytes).or_exit(Exit::BadTorrent, || format!("bad torrent file {shown}"))
}

fn is_url(word: &str) -> bool {
    has_scheme(word, "http://") || has_scheme(word, "https://")
}

fn has_scheme(word: &str, scheme: &str) -> bool {
    word.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "0123456789abcdef0123456789abcdef01234567";

    fn exit_of(word: &str) -> Exit {
        Target::read(word).unwrap_err().exit
    }

    #[test]
    fn bare_hashes_are_links() {
        let v2 = V1.repeat(2)[..64].to_owned();
        for word in [V1.to_owned(), V1.to_uppercase(), v2.clone(), format!("1220{v2}"), "a".repeat(32)] {
            assert!(matches!(Target::read(&word), Ok(Target::Magnet(_))), "{word}");
        }
        assert!(Target::read(V1).unwrap().hashes().v1.is_some());
    }

    #[test]
    fn what_is_nothing_is_a_usage_error_and_a_bad_link_a_bad_torrent() {
        assert_eq!(exit_of("no-such-file"), Exit::Usage);
        assert_eq!(exit_of(&V1[1..]), Exit::Usage);
        assert_eq!(exit_of("magnet:?xt=urn:btih:zz"), Exit::BadTorrent);
        assert_eq!(exit_of("MAGNET:?dn=x"), Exit::BadTorrent);
        assert_eq!(exit_of("https://example.org/a.torrent"), Exit::Usage);
    }

    #[test]
    fn urls_are_words_that_must_be_fetched_and_bad_ones_are_told_at_once() {
        assert!(matches!(Word::read("HTTPS://example.org/a.torrent"), Ok(Word::Url(_))));
        assert!(matches!(Word::read(V1), Ok(Word::Known(_))));
        assert_eq!(Word::read("http://").unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn folders_and_rubbish_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(exit_of(folder.path().to_str().unwrap()), Exit::Usage);
        let file = folder.path().join("x.torrent");
        std::fs::write(&file, "not bencode").unwrap();
        let failure = Target::read(file.to_str().unwrap()).unwrap_err();
        assert_eq!(failure.exit, Exit::BadTorrent);
        assert!(failure.line().contains("x.torrent"));
    }

    #[test]
    fn an_endless_file_is_read_no_further_than_the_bound() {
        assert_eq!(exit_of("/dev/zero"), Exit::BadTorrent);
    }
}
