//! The findings for people: a table of 80 columns, verdicts in words, an advice below each problem.

use super::torrent::Seen;
use super::{Finding, Verdict};
use crate::escape::{cut, escape};
use unicode_width::UnicodeWidthStr;

/// Columns of a line (the smallest usual terminal).
const COLUMNS: usize = 80;
/// Columns before the text: the verdict and the name of the check.
const INDENT: usize = 22;
/// Sources that are listed. Chosen: a screen; JSON has all.
const MAX_SOURCES: usize = 12;

/// All lines, escaped.
pub(super) fn lines(checks: &[Finding], seen: Option<&Seen>) -> Vec<String> {
    let mut lines = Vec::new();
    for check in checks {
        if let Some(seen) = seen.filter(|_| check.check == super::torrent::CHECK) {
            lines.extend(sources(seen));
        }
        let verdict = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        };
        push(&mut lines, &format!("{verdict:<5} {:<15} ", check.check.replace('_', " ")), &check.text);
        if let Some(advice) = &check.advice {
            push(&mut lines, &" ".repeat(INDENT), &format!("-> {advice}"));
        }
    }
    lines
}

fn sources(seen: &Seen) -> Vec<String> {
    let mut lines = vec![String::new()];
    for source in seen.sources.iter().take(MAX_SOURCES) {
        push(&mut lines, &format!("{:<INDENT$}", format!("      {}", source.kind)), &source.line());
    }
    if let Some(more) = seen.sources.len().checked_sub(MAX_SOURCES).filter(|more| *more > 0) {
        push(&mut lines, &" ".repeat(INDENT), &format!("and {more} more sources"));
    }
    push(&mut lines, &format!("{:<INDENT$}", "      peers"), &seen.peers_line());
    lines
}

/// Adds a text behind a head, wrapped at words.
fn push(lines: &mut Vec<String>, head: &str, text: &str) {
    let text = escape(text);
    let mut line = head.to_owned();
    let mut is_empty = true;
    for word in text.split(' ') {
        if !is_empty && line.width() + 1 + word.width() > COLUMNS {
            lines.push(std::mem::replace(&mut line, " ".repeat(INDENT)));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(&cut(word, COLUMNS - INDENT));
        is_empty = false;
    }
    lines.push(line.trim_end().to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn no_line_is_wider_than_a_terminal_and_nothing_harmful_is_shown() {
        let long = "word ".repeat(40) + &"x".repeat(200) + " \u{1b}[31m";
        let checks = [Finding::ok("listening", "0.0.0.0:6881"), Finding::fail("dns", Exit::Network, long, "look")];
        let lines = lines(&checks, None);
        assert_eq!(lines[0], "ok    listening       0.0.0.0:6881");
        assert!(lines.len() > 4 && lines.iter().all(|line| line.width() <= COLUMNS), "{lines:#?}");
        assert!(lines.iter().all(|line| !line.contains('\u{1b}')));
        assert_eq!(lines.last().unwrap().trim(), "-> look");
    }
}
