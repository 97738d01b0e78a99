//! `--select`: which files of a torrent are wanted, by number or by pattern.
//!
//! A word of digits, commas and dashes is numbers as `--list` prints them (from 1); everything else is one pattern. A
//! pattern without a slash is matched with file names and folder names, one with a slash with the path inside the
//! torrent; one that matches a folder takes all below it. A word that selects nothing is an error: a download of
//! nothing that ends well would be the worst answer to a typing mistake.

use globset::{GlobBuilder, GlobMatcher};

/// One `--select` word.
#[derive(Clone, Debug)]
pub(crate) enum Pick {
    /// Ranges of numbers, from 1, both ends in it.
    Numbers(Vec<(usize, usize)>),
    /// A pattern and its text.
    Pattern(String, Box<GlobMatcher>),
}

impl Pick {
    /// Reads a word.
    pub(crate) fn parse(text: &str) -> Result<Pick, String> {
        let numeric = text.contains(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '-' | ' '));
        if !numeric {
            let text = text.strip_prefix("./").unwrap_or(text).trim_end_matches('/');
            if text.is_empty() {
                return Err("an empty pattern selects nothing".to_owned());
            }
            let glob = GlobBuilder::new(text).literal_separator(true).build().map_err(|e| e.kind().to_string())?;
            return Ok(Pick::Pattern(text.to_owned(), Box::new(glob.compile_matcher())));
        }
        let mut ranges = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let bad = || format!("'{part}' is not a number or a range; write numbers like 1,3-5 (see --list)");
            let number = |digits: &str| digits.trim().parse::<usize>().map_err(|_| bad());
            let (first, last) = match part.split_once('-') {
                None => (number(part)?, number(part)?),
                Some((first, "")) => (number(first)?, usize::MAX),
                Some((first, last)) => (number(first)?, number(last)?),
            };
            if first == 0 || last < first {
                return Err(bad());
            }
            ranges.push((first, last));
        }
        Ok(Pick::Numbers(ranges))
    }

    fn matches(&self, number: usize, path: &[&str]) -> bool {
        match self {
            Pick::Numbers(ranges) => ranges.iter().any(|&(first, last)| (first..=last).contains(&number)),
            Pick::Pattern(text, glob) if text.contains('/') => {
                (1..=path.len()).any(|depth| glob.is_match(path[..depth].join("/")))
            }
            Pick::Pattern(_, glob) => path.iter().any(|part| glob.is_match(part)),
        }
    }

    /// Whether its numbers all exist; the first that does not.
    fn beyond(&self, count: usize) -> Option<usize> {
        let Pick::Numbers(ranges) = self else { return None };
        ranges
            .iter()
            .flat_map(|&(first, last)| [Some(first), (last != usize::MAX).then_some(last)])
            .flatten()
            .find(|&n| n > count)
    }
}

/// Which of the files are wanted, in their order: those that any word picks. `paths` are inside the torrent, without
/// its name. No words at all want everything.
pub(crate) fn wanted(picks: &[Pick], paths: &[Vec<&str>]) -> Result<Vec<bool>, String> {
    let mut wanted = vec![picks.is_empty(); paths.len()];
    for pick in picks {
        if let Some(number) = pick.beyond(paths.len()) {
            return Err(format!("--select names file {number}, and there are {}; see them with --list", paths.len()));
        }
        let mut any = false;
        for (index, path) in paths.iter().enumerate() {
            if pick.matches(index + 1, path) {
                any = true;
                wanted[index] = true;
            }
        }
        if let (false, Pick::Pattern(text, _)) = (any, pick) {
            return Err(format!("no file matches --select '{text}'; see the names with --list"));
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&[&str]; 5] = [
        &["readme.md"],
        &["disc 1", "a.flac"],
        &["disc 1", "b.flac"],
        &["disc 2", "a.flac"],
        &["disc 2", "x", "cover.jpg"],
    ];

    fn select(words: &[&str]) -> Result<Vec<usize>, String> {
        let picks = words.iter().map(|w| Pick::parse(w)).collect::<Result<Vec<_>, _>>()?;
        let paths: Vec<_> = PATHS.iter().map(|p| p.to_vec()).collect();
        let wanted = wanted(&picks, &paths)?;
        Ok(wanted.iter().enumerate().filter(|(_, w)| **w).map(|(i, _)| i + 1).collect())
    }

    #[test]
    fn numbers_and_ranges_count_from_one() {
        assert_eq!(select(&["1,3-4"]), Ok(vec![1, 3, 4]));
        assert_eq!(select(&["4-"]), Ok(vec![4, 5]));
        assert_eq!(select(&["2", "5"]), Ok(vec![2, 5]));
    }

    #[test]
    fn patterns_match_names_folders_and_paths() {
        assert_eq!(select(&["*.flac"]), Ok(vec![2, 3, 4]));
        assert_eq!(select(&["disc 2"]), Ok(vec![4, 5]));
        assert_eq!(select(&["disc 2/"]), Ok(vec![4, 5]));
        assert_eq!(select(&["disc 1/a*"]), Ok(vec![2]));
        assert_eq!(select(&["**/cover.jpg"]), Ok(vec![5]));
        assert_eq!(select(&["*.{md,jpg}"]), Ok(vec![1, 5]));
        assert_eq!(select(&["[r]eadme*"]), Ok(vec![1]));
    }

    #[test]
    fn a_star_does_not_cross_a_slash() {
        assert_eq!(select(&["disc 2/*"]), Ok(vec![4, 5]), "x is a folder of disc 2, and all below it is taken");
        assert!(select(&["./*/cover.jpg"]).is_err());
    }

    #[test]
    fn no_words_want_everything() {
        assert_eq!(select(&[]), Ok(vec![1, 2, 3, 4, 5]));
    }

    #[test]
    fn what_selects_nothing_is_an_error() {
        for words in [&["0"][..], &["6"], &["3-2"], &["1-9"], &["*.iso"], &["1", "nope"], &["a[", ""], &[""], &["-"]] {
            assert!(select(words).is_err(), "{words:?}");
        }
        assert!(select(&["6"]).unwrap_err().contains("there are 5"));
    }
}
