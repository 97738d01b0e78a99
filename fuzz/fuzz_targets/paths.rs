//! Names of a torrent made safe: below their folder, at most 255 bytes, each its own, and what is safe stays as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::torrents::assert_paths;
use shoal_storage::path::{safe_component, safe_paths};

fuzz_target!(|input: (bool, Option<String>, Vec<Vec<String>>)| {
    let (portable, root, files) = input;
    let paths = safe_paths(root.as_deref(), files.iter().map(Vec::as_slice), portable);
    assert_eq!(paths.len(), files.len());
    assert_paths(&paths);
    let safe: Vec<Vec<String>> = paths.iter().map(|path| path.components().map(str::to_owned).collect()).collect();
    assert_eq!(safe_paths(None, safe.iter().map(Vec::as_slice), portable), paths, "safe names stay");
    for name in files.iter().flatten().take(8) {
        let clean = safe_component(name, portable);
        assert_eq!(safe_component(&clean, portable), clean);
    }
});
