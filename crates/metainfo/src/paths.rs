//! The paths of many files in three allocations, however many there are.
//!
//! A torrent may have a million files. A list of strings for each takes 150 bytes and more a path, most of them the
//! allocator's; here a path takes its text, and four bytes for each component and for itself. Components may hold anything,
//! slashes too, so they are told apart by where they end and not by a character between them.
//!
//! Invariant: ends ascend, and each lies at the end of a component's text.

use std::cmp::Ordering;
use std::fmt;

/// Bytes that one list takes, at most. A file tree spells a folder's name once for all that is below it, so paths may be far
/// longer than the torrent that they come from. Chosen: a million files of 500 bytes a path.
pub const MAX_PATHS_BYTES: usize = 512 << 20;
/// What a component takes beside its text.
const END_BYTES: usize = size_of::<u32>();

/// Paths by number, in the order in which they were pushed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FilePaths {
    text: String,
    /// Where each component of each path ends in `text`.
    ends: Vec<u32>,
    /// Where each path ends in `ends`.
    paths: Vec<u32>,
}

/// One path of [`FilePaths`]: its components, compared one by one by their bytes. Cheap to copy.
#[derive(Clone, Copy)]
pub struct FilePath<'a> {
    text: &'a str,
    start: u32,
    ends: &'a [u32],
}

/// The paths would take more than [`MAX_PATHS_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the paths of all files take more than {} MiB", MAX_PATHS_BYTES >> 20)]
pub struct PathsTooLong;

impl FilePaths {
    /// None yet.
    pub fn new() -> FilePaths {
        FilePaths::default()
    }

    /// With room for so many paths, though not for their text.
    pub fn with_capacity(paths: usize) -> FilePaths {
        FilePaths { paths: Vec::with_capacity(paths), ..FilePaths::default() }
    }

    /// Appends a path. After an error the list is as it was.
    pub fn push<S: AsRef<str>>(&mut self, components: impl IntoIterator<Item = S>) -> Result<(), PathsTooLong> {
        let (text, ends) = (self.text.len(), self.ends.len());
        for component in components {
            let component = component.as_ref();
            let takes = self.text.len() + component.len() + (self.ends.len() + 1) * END_BYTES;
            if takes > MAX_PATHS_BYTES {
                self.text.truncate(text);
                self.ends.truncate(ends);
                return Err(PathsTooLong);
            }
            self.text.push_str(component);
            self.ends.push(self.text.len() as u32);
        }
        self.paths.push(self.ends.len() as u32);
        Ok(())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// A path by its number, if there is one.
    pub fn get(&self, number: usize) -> Option<FilePath<'_>> {
        let end = *self.paths.get(number)? as usize;
        let begin = number.checked_sub(1).map_or(0, |before| self.paths[before] as usize);
        let start = begin.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(FilePath { text: &self.text, start, ends: &self.ends[begin..end] })
    }

    /// All of them in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = FilePath<'_>> + Clone {
        (0..self.len()).map(|number| self.get(number).expect("a number below the count"))
    }

    /// Gives back what was set aside for more.
    pub(crate) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.paths.shrink_to_fit();
    }
}

impl<'a> FilePath<'a> {
    /// Its components, outermost first, as found: each may be unsafe (`..`, `/`).
    pub fn components(self) -> impl ExactSizeIterator<Item = &'a str> + Clone {
        (0..self.len()).map(move |number| self.component(number))
    }

    /// How many components.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has no component; no file's path is so.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A component by its number. Panics if there is none.
    pub fn component(&self, number: usize) -> &'a str {
        let start = number.checked_sub(1).map_or(self.start, |before| self.ends[before]);
        &self.text[start as usize..self.ends[number] as usize]
    }

    /// Its components with slashes between them, for people: another path may look the same.
    pub fn joined(self) -> String {
        self.to_vec().join("/")
    }

    /// Its components as strings of their own.
    pub fn to_vec(self) -> Vec<String> {
        self.components().map(str::to_owned).collect()
    }

    /// Whether it begins with all components of `other`: is the same, or lies below it.
    pub fn starts_with(self, other: FilePath<'_>) -> bool {
        other.len() <= self.len() && other.components().eq(self.components().take(other.len()))
    }
}

impl Ord for FilePath<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.components().cmp(other.components())
    }
}

impl PartialOrd for FilePath<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for FilePath<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.components().eq(other.components())
    }
}

impl Eq for FilePath<'_> {}

impl fmt::Debug for FilePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.components()).finish()
    }
}

impl fmt::Debug for FilePaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn component() -> impl Strategy<Value = String> {
        prop_oneof![Just(String::new()), "[ab/é\0]{1,3}"]
    }

    proptest! {
        #[test]
        fn paths_are_what_was_pushed_and_compare_by_components(
            all in prop::collection::vec(prop::collection::vec(component(), 0..4), 0..8),
        ) {
            let mut paths = FilePaths::new();
            all.iter().for_each(|path| paths.push(path).unwrap());
            prop_assert_eq!(paths.iter().map(FilePath::to_vec).collect::<Vec<_>>(), all.clone());
            prop_assert_eq!(paths.get(all.len()), None);
            for (one, known) in paths.iter().zip(&all) {
                prop_assert_eq!(one.len(), known.len());
                for (other, theirs) in paths.iter().zip(&all) {
                    prop_assert_eq!(one.cmp(&other), known.cmp(theirs));
                    prop_assert_eq!(one == other, known == theirs);
                    prop_assert_eq!(one.starts_with(other), known.starts_with(theirs));
                }
            }
        }
    }

    #[test]
    fn a_list_that_would_be_too_long_stays_as_it_was() {
        let mut paths = FilePaths::new();
        paths.push(["a", "b"]).unwrap();
        let before = paths.clone();
        let long = "x".repeat(MAX_PATHS_BYTES / 8);
        assert_eq!(paths.push(std::iter::repeat_n(&long, 9)), Err(PathsTooLong));
        assert_eq!(paths, before);
    }
}
