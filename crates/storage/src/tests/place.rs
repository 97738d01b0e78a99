//! Symlinks: what is read may go through them below the folder that the user named, what is written never.

use super::*;
use std::os::unix::fs::symlink;

/// The v1 torrent `t` of these files of 100 bytes each, in pieces of one block; its hashes are of nothing.
fn info(paths: &[&str]) -> shoal_metainfo::Info {
    let file = |path: &&str| {
        let names: String = path.split('/').map(|name| format!("{}:{name}", name.len())).collect();
        format!("d6:lengthi100e4:pathl{names}ee")
    };
    let files: String = paths.iter().map(file).collect();
    let text = format!("d5:filesl{files}e4:name1:t12:piece lengthi{BLOCK}e6:pieces20:xxxxxxxxxxxxxxxxxxxxe");
    shoal_metainfo::Info::parse(text.as_bytes()).unwrap().0
}

fn open_place(info: &shoal_metainfo::Info, place: Place, mode: Mode) -> Storage {
    let layout = info.layout().clone();
    let all = Selection::all(&layout);
    Storage::open(layout, place, all, mode, [7; 20], OpenFiles::new(2)).unwrap()
}

/// A folder with `t/plain`, links to it and to a folder that stay inside, and links that lead out or nowhere.
fn tree(outside: &Path) -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let root = data.path().join("t");
    std::fs::create_dir_all(root.join("folder")).unwrap();
    std::fs::write(root.join("plain"), [1; 100]).unwrap();
    std::fs::write(root.join("folder/inner"), [2; 100]).unwrap();
    std::fs::write(outside.join("secret"), [3; 100]).unwrap();
    symlink("plain", root.join("link")).unwrap();
    symlink(root.join("plain"), root.join("absolute")).unwrap();
    symlink("folder", root.join("other")).unwrap();
    symlink(outside.join("secret"), root.join("out")).unwrap();
    symlink("out", root.join("out by two")).unwrap();
    symlink("round", root.join("round")).unwrap();
    data
}

#[test]
fn links_that_stay_inside_are_read_and_others_are_not() {
    let outside = tempfile::tempdir().unwrap();
    let data = tree(outside.path());
    let inside = ["link", "absolute", "other/inner", "plain"];
    let info_in = info(&inside);
    let storage = open_place(&info_in, Place::found(&info_in, data.path()), Mode::ReadOnly);
    let bytes = read(&storage, 0).unwrap();
    assert_eq!(bytes, [[1; 100], [1; 100], [2; 100], [1; 100]].concat());
    assert!(storage.problems().is_empty());
    assert_eq!(storage.place().root(), data.path().join("t"), "a result is called by its own name");
    for bad in ["out", "out by two", "round"] {
        let info = info(&[bad]);
        let storage = open_place(&info, Place::found(&info, data.path()), Mode::ReadOnly);
        assert!(matches!(read(&storage, 0), Err(StorageError::Link { .. })), "{bad}");
    }
}

#[test]
fn a_torrents_own_folder_may_be_a_link_to_anywhere() {
    let (outside, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(outside.path().join("real")).unwrap();
    std::fs::write(outside.path().join("real/plain"), [7; 100]).unwrap();
    symlink(outside.path().join("real"), data.path().join("t")).unwrap();
    let info = info(&["plain"]);
    let storage = open_place(&info, Place::found(&info, data.path()), Mode::ReadOnly);
    assert_eq!(read(&storage, 0).unwrap(), [7; 100]);
    assert_eq!(storage.place().root(), data.path().join("t"));
    let storage = open_place(&info, Place::safe(&info, data.path(), false), Mode::ReadWrite);
    assert!(matches!(write(&storage, 0, &[9; 100]), Err(StorageError::Link { .. })), "nothing is written through it");
}

#[test]
fn a_link_that_comes_after_the_look_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    let data = tree(outside.path());
    let info = info(&["link"]);
    let storage = open_place(&info, Place::found(&info, data.path()), Mode::ReadOnly);
    let target = data.path().join("t/plain");
    std::fs::remove_file(&target).unwrap();
    symlink(outside.path().join("secret"), &target).unwrap();
    assert!(matches!(read(&storage, 0), Err(StorageError::Link { .. })));
}

#[test]
fn a_download_writes_through_no_link_wherever_it_leads() {
    let outside = tempfile::tempdir().unwrap();
    let data = tree(outside.path());
    for path in ["link", "other/inner", "out"] {
        let info = info(&[path]);
        let storage = open_place(&info, Place::safe(&info, data.path(), false), Mode::ReadWrite);
        assert!(matches!(write(&storage, 0, &[9; 100]), Err(StorageError::Link { .. })), "{path}");
    }
    assert_eq!(std::fs::read(data.path().join("t/plain")).unwrap(), [1; 100]);
}
