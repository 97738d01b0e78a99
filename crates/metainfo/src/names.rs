//! Text from torrents: keys with a `.utf-8` twin, and names as they were written.
//!
//! Names are shown as found and made safe only where files are opened, by storage; here they are only judged. Old
//! programs wrote `name` in a local encoding and the same in UTF-8 as `name.utf-8`, so the twin wins (no BEP has it; most
//! clients read it).

use crate::error::{Place, Warning, Warnings};
use shoal_bencode::Dict;
use std::borrow::Cow;

/// The value of a string key or of its `.utf-8` twin, as text. `None` if neither is a string.
pub(crate) fn text(
    dict: Dict<'_, '_>,
    place: Place,
    key: &'static str,
    twin: &str,
    warnings: &mut Warnings,
) -> Option<String> {
    if let Some(found) = dict.get(twin).and_then(|value| value.as_str()).filter(|found| !found.is_empty()) {
        return Some(found.to_owned());
    }
    match dict.get(key)?.as_bytes() {
        Some(bytes) => Some(decode(bytes, place, key, warnings).into_owned()),
        None => {
            warnings.push(Warning::Ignored { place, key });
            None
        }
    }
}

/// Bytes as text; what is not UTF-8 becomes U+FFFD.
pub(crate) fn decode<'a>(bytes: &'a [u8], place: Place, key: &'static str, warnings: &mut Warnings) -> Cow<'a, str> {
    let text = String::from_utf8_lossy(bytes);
    if matches!(text, Cow::Owned(_)) {
        warnings.push(Warning::NotUtf8 { place, key });
    }
    text
}

/// Whether a name would not be one component below a folder.
pub(crate) fn is_unsafe(name: &str) -> bool {
    matches!(name, "" | "." | "..") || name.contains(['/', '\0'])
}
