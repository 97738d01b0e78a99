//! stub
/// The part file's name for a torrent of this name and tag.
pub fn part_name(name: &str, tag: [u8; 4]) -> String {
    let _ = tag;
    name.to_string()
}
