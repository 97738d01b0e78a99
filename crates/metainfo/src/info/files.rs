//! What an info dictionary tells of each file beside where its bytes are, in a few allocations for all of them.
//!
//! Invariants: attributes are kept of those files alone that have any, in order; a root of zeros stands for none, and none
//! at the end is kept.

use crate::{Attributes, FilePath, FilePaths, PathsTooLong};
use shoal_hash::merkle;
use shoal_layout::FileIndex;

/// What most files have.
static PLAIN: Attributes = Attributes { executable: false, hidden: false, symlink: None };

/// Paths, roots and attributes by file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Files {
    paths: FilePaths,
    roots: Vec<merkle::Hash>,
    special: Vec<(u32, Attributes)>,
}

impl Files {
    /// With room for so many.
    pub(crate) fn with_capacity(count: usize) -> Files {
        Files { paths: FilePaths::with_capacity(count), ..Files::default() }
    }

    /// Of paths that are there already, without attributes.
    pub(crate) fn plain(paths: FilePaths) -> Files {
        Files { paths, ..Files::default() }
    }

    /// Appends a file.
    pub(crate) fn push<S: AsRef<str>>(
        &mut self,
        path: impl IntoIterator<Item = S>,
        attributes: Attributes,
    ) -> Result<(), PathsTooLong> {
        let index = self.paths.len() as u32;
        self.paths.push(path)?;
        self.push_attributes(index, attributes);
        Ok(())
    }

    /// Adds attributes to a file; to none before one that has some.
    pub(crate) fn push_attributes(&mut self, index: u32, attributes: Attributes) {
        debug_assert!(self.special.last().is_none_or(|(last, _)| *last < index));
        if attributes != PLAIN {
            self.special.push((index, attributes));
        }
    }

    /// Sets the roots of all files; zeros for one that has none. Gives back what was set aside for more files.
    pub(crate) fn finish(&mut self, mut roots: Vec<merkle::Hash>) {
        let kept = roots.iter().rposition(|root| *root != [0; 32]).map_or(0, |last| last + 1);
        roots.truncate(kept);
        roots.shrink_to_fit();
        self.roots = roots;
        self.paths.shrink();
        self.special.shrink_to_fit();
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether there is one file, called `name`, in no folder.
    pub(crate) fn is_only(&self, name: &str) -> bool {
        self.len() == 1 && self.paths.iter().all(|only| only.components().eq([name]))
    }

    pub(crate) fn paths(&self) -> &FilePaths {
        &self.paths
    }

    pub(crate) fn path(&self, file: FileIndex) -> Option<FilePath<'_>> {
        self.paths.get(file.as_usize())
    }

    pub(crate) fn root(&self, file: FileIndex) -> Option<merkle::Hash> {
        self.roots.get(file.as_usize()).copied().filter(|root| *root != [0; 32])
    }

    pub(crate) fn attributes(&self, file: FileIndex) -> &Attributes {
        let place = self.special.binary_search_by_key(&file.0, |(index, _)| *index);
        place.map_or(&PLAIN, |place| &self.special[place].1)
    }
}
