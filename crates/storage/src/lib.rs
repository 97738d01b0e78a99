//! Files on disk: safe paths, part files, locks and resume state.
