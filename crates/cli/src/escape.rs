//! Names from strangers, made harmless for a terminal.
//!
//! A torrent's names, a tracker's words and an error that quotes them may hold escape sequences that move the cursor or
//! retitle the window, and bidirectional marks that make `gpj.exe` read as `exe.jpg`. What passes here shows each such
//! character as `\u{..}` and leaves every script of the world alone. Pipes get the exact bytes: escaping is for eyes.

use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Whether a character could act on the terminal or on the order of its neighbours instead of being seen.
/// The joiners U+200C and U+200D are not among them: Persian, Hindi and emoji are spelled with them.
pub(crate) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The text with every harmful character written out.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_harmful(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A line of JSON with every harmful character inside its strings as `\uXXXX`: the same JSON, safe to look at.
pub(crate) fn escape_json(line: &str) -> Cow<'_, str> {
    if !line.contains(is_harmful) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len() + 8);
    for c in line.chars() {
        if is_harmful(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// The escaped text in at most `columns` columns; the middle gives way, since names differ at both ends.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let text = escape(text);
    if text.width() <= columns {
        return text.into_owned();
    }
    let keep = columns.saturating_sub(1);
    let tail_columns = keep / 2;
    let head = take_columns(text.chars(), keep - tail_columns);
    let tail: String = take_columns(text.chars().rev(), tail_columns).chars().rev().collect();
    format!("{head}…{tail}")
}

/// The escaped text in at most `columns` columns; the end gives way, since figures come in order of weight.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    let text = escape(text);
    if text.width() <= columns {
        return text.into_owned();
    }
    format!("{}…", take_columns(text.chars(), columns.saturating_sub(1)))
}

fn take_columns(chars: impl Iterator<Item = char>, columns: usize) -> String {
    let mut used = 0;
    chars
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= columns
        })
        .collect()
}

/// A path for a shell to read back: as it is where it is plain, else in single quotes.
pub(crate) fn shell_quote(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,~".contains(c);
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('~') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_bidi_characters_are_written_out() {
        assert_eq!(escape("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(escape("x\u{202e}gpj.exe"), "x\\u{202e}gpj.exe");
        assert_eq!(escape("two\nlines\r\t"), "two\\nlines\\r\\t");
        assert_eq!(escape("\u{9b}31m\u{7f}"), "\\u{9b}31m\\u{7f}");
    }

    #[test]
    fn scripts_of_the_world_pass() {
        for name in ["naïve", "日本語", "می‌خواهم", "👩‍👩‍👧", "עברית", "ไทย", "e\u{301}"]
        {
            assert!(matches!(escape(name), Cow::Borrowed(same) if same == name), "{name}");
        }
    }

    #[test]
    fn escaped_json_is_the_same_value() {
        let value = serde_json::json!({ "name": "a\u{202e}b\u{9b}\u{e0041}c\u{1b}" });
        let line = value.to_string();
        let safe = escape_json(&line);
        assert!(!safe.contains(is_harmful));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    #[test]
    fn fitted_text_keeps_both_ends_and_never_exceeds_its_columns() {
        assert_eq!(fit("short", 10), "short");
        assert_eq!(cut("12 MiB/s  3 peers", 10), "12 MiB/s …");
        assert_eq!(fit("a-very-long-name.tar.gz", 11), "a-ver…ar.gz");
        for columns in 0..12 {
            assert!(fit("日本語日本語日本語", columns).width() <= columns.max(1), "{columns}");
            assert!(cut("日本語日本語日本語", columns).width() <= columns.max(1), "{columns}");
        }
    }

    #[test]
    fn quoted_words_survive_a_shell() {
        assert_eq!(shell_quote("photos/2024"), "photos/2024");
        assert_eq!(shell_quote("it's"), r"'it'\''s'");
        assert_eq!(shell_quote("magnet:?xt=a&dn=b"), "'magnet:?xt=a&dn=b'");
        assert_eq!(shell_quote(""), "''");
    }
}
