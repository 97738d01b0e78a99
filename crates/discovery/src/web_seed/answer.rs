//! What a web seed's answer means for the range that was asked of it (BEP 19, RFC 9110 section 14).
//!
//! A pure function of status and headers, so that it can be fuzzed: whatever they say, what is taken of the body is at most
//! what was asked for, and from its first byte.

use super::location::FileRange;
use shoal_swarm::SourceErrorKind::{Nonsense, Refusal};
use shoal_swarm::{FetchFailure, FetchFault, SourceError, SourceErrorKind};
use std::time::Duration;

/// What of an answer's head matters; header values as text, `None` where absent (or no text).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerHead<'a> {
    /// The status code.
    pub status: u16,
    /// `Content-Range`.
    pub content_range: Option<&'a str>,
    /// `Content-Length`.
    pub content_length: Option<&'a str>,
    /// `Content-Encoding`.
    pub content_encoding: Option<&'a str>,
    /// `Location`.
    pub location: Option<&'a str>,
    /// `Retry-After`.
    pub retry_after: Option<&'a str>,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The body begins with the range's first byte.
    Body {
        /// How many of its bytes are of use: at least 1, at most what was asked for.
        length: u64,
        /// Whether the body ends there, so that the connection can be used again.
        ends: bool,
    },
    /// Look there.
    Redirect(String),
    /// It has nothing for us.
    Failed(FetchFailure),
}

/// What an answer to a request for `asked` means, of a file of `file_length` bytes.
pub fn interpret(head: &AnswerHead<'_>, asked: &FileRange, file_length: u64) -> Answer {
    let encoding = head.content_encoding.map(str::trim).filter(|coding| !coding.is_empty());
    match head.status {
        200 | 206 if encoding.is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) => {
            failed(FetchFault::Useless, Nonsense, "it compresses files, although it was asked not to".to_owned())
        }
        200 => whole(head, asked, file_length),
        206 => part(head, asked, file_length),
        301 | 302 | 303 | 307 | 308 => match head.location {
            Some(location) => Answer::Redirect(location.to_owned()),
            None => failed(FetchFault::Missing(asked.file), Refusal, "a redirect to nowhere".to_owned()),
        },
        // 416: its file ends before our range does.
        401 | 403 | 404 | 410 | 416 | 451 => failed(
            FetchFault::Missing(asked.file),
            Refusal,
            format!("it answered {}{}", head.status, meaning(head.status)),
        ),
        408 | 425 | 429 | 500..=599 => {
            // A date is not read: the wait then grows by itself.
            let retry_after = head.retry_after.and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
            let error = SourceError::new(Refusal, format!("it answered {}{}", head.status, meaning(head.status)));
            Answer::Failed(FetchFailure { fault: FetchFault::Passing, error, retry_after })
        }
        status => failed(FetchFault::Useless, Nonsense, format!("it answered {status}{}", meaning(status))),
    }
}

/// The whole file, although a part was asked for: of use only if it begins where the part does.
fn whole(head: &AnswerHead<'_>, asked: &FileRange, file_length: u64) -> Answer {
    let length = head.content_length.and_then(|value| value.trim().parse::<u64>().ok());
    if let Some(length) = length.filter(|&length| length != file_length) {
        return other_file(asked, length, file_length);
    }
    if asked.first != 0 {
        return failed(
            FetchFault::Useless,
            Nonsense,
            "it ignores ranges: asked for a part of a file, it sends all of it".to_owned(),
        );
    }
    Answer::Body { length: asked.length, ends: length.is_some() && asked.length == file_length }
}

fn part(head: &AnswerHead<'_>, asked: &FileRange, file_length: u64) -> Answer {
    let Some((first, last, total)) = head.content_range.and_then(content_range) else {
        return failed(FetchFault::Useless, Nonsense, "it sends a part of a file and does not say which".to_owned());
    };
    if let Some(total) = total.filter(|&total| total != file_length) {
        return other_file(asked, total, file_length);
    }
    if first != asked.first {
        return failed(
            FetchFault::Useless,
            Nonsense,
            "it sends another part of a file than it was asked for".to_owned(),
        );
    }
    let sent = last - first + 1;
    let told = head.content_length.and_then(|value| value.trim().parse::<u64>().ok());
    if told.is_some_and(|told| told != sent) {
        return failed(
            FetchFault::Useless,
            Nonsense,
            "its Content-Length and Content-Range contradict each other".to_owned(),
        );
    }
    // A server may send less than it was asked for (RFC 9110, section 15.3.7); the rest is asked for again.
    Answer::Body { length: sent.min(asked.length), ends: sent <= asked.length }
}

/// `bytes 0-499/1234` or `bytes 0-499/*`: first, last, length of the whole. `None` if it is no such range.
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (unit, rest) = text.trim().split_once(' ')?;
    let (range, total) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    // So that a length fits.
    let fits = unit.eq_ignore_ascii_case("bytes") && first <= last && last < u64::MAX;
    fits.then_some((first, last, total))
}

fn other_file(asked: &FileRange, theirs: u64, ours: u64) -> Answer {
    failed(
        FetchFault::Missing(asked.file),
        Refusal,
        format!("its file has {theirs} bytes where the torrent's has {ours}"),
    )
}

fn failed(fault: FetchFault, kind: SourceErrorKind, text: impl Into<String>) -> Answer {
    Answer::Failed(FetchFailure { fault, error: SourceError::new(kind, text), retry_after: None })
}

/// What a status means, for people.
fn meaning(status: u16) -> &'static str {
    match status {
        401 | 403 | 451 => " (it does not allow it)",
        404 | 410 => " (it does not have the file)",
        416 => " (its file is shorter than the torrent's)",
        429 | 503 => " (it is busy)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shoal_layout::FileIndex;

    const FILE: FileIndex = FileIndex(3);
    const ASKED: FileRange = FileRange { file: FILE, first: 100, length: 50 };

    fn head(status: u16) -> AnswerHead<'static> {
        AnswerHead { status, ..AnswerHead::default() }
    }

    fn fault(answer: Answer) -> (FetchFault, String) {
        match answer {
            Answer::Failed(failure) => (failure.fault, failure.error.text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_part_is_taken_as_far_as_it_is_the_one_asked_for() {
        for (range, length, expected) in [
            ("bytes 100-149/1000", None, Some((50, true))),
            ("bytes 100-149/*", Some("50"), Some((50, true))),
            ("BYTES  100-149/1000", Some("50"), Some((50, true))),
            ("bytes 100-119/1000", Some("20"), Some((20, true))),
            ("bytes 100-999/1000", Some("900"), Some((50, false))),
            ("bytes 99-149/1000", None, None),
            ("bytes 101-149/1000", None, None),
            ("bytes 0-49/1000", None, None),
            ("bytes 100-149/1001", None, None),
            ("bytes 149-100/1000", None, None),
            ("bytes 100-149/1000", Some("51"), None),
            ("bytes */1000", None, None),
            ("bytes 100-18446744073709551615/*", None, None),
            ("items 100-149/1000", None, None),
            ("bytes 100-149", None, None),
            ("", None, None),
        ] {
            let head = AnswerHead { content_range: Some(range), content_length: length, ..head(206) };
            let taken = match interpret(&head, &ASKED, 1000) {
                Answer::Body { length, ends } => Some((length, ends)),
                _ => None,
            };
            assert_eq!(taken, expected, "{range} {length:?}");
        }
        assert_eq!(fault(interpret(&head(206), &ASKED, 1000)).0, FetchFault::Useless, "which part is not said");
    }

    #[test]
    fn a_whole_file_is_of_use_from_its_beginning_only() {
        let start = FileRange { first: 0, ..ASKED };
        let told = |length| AnswerHead { content_length: Some(length), ..head(200) };
        assert_eq!(interpret(&told("1000"), &start, 1000), Answer::Body { length: 50, ends: false });
        assert_eq!(interpret(&told("50"), &start, 50), Answer::Body { length: 50, ends: true });
        assert_eq!(interpret(&head(200), &start, 50), Answer::Body { length: 50, ends: false }, "it may be endless");
        let (fault_is, reason) = fault(interpret(&told("1000"), &ASKED, 1000));
        assert!(fault_is == FetchFault::Useless && reason.contains("ignores ranges"), "{reason}");
        let (fault_is, reason) = fault(interpret(&told("999"), &start, 1000));
        assert_eq!(
            (fault_is, reason.as_str()),
            (FetchFault::Missing(FILE), "its file has 999 bytes where the torrent's has 1000")
        );
    }

    #[test]
    fn each_failure_has_its_consequence() {
        for (status, expected) in [
            (401, FetchFault::Missing(FILE)),
            (403, FetchFault::Missing(FILE)),
            (404, FetchFault::Missing(FILE)),
            (410, FetchFault::Missing(FILE)),
            (416, FetchFault::Missing(FILE)),
            (301, FetchFault::Missing(FILE)),
            (429, FetchFault::Passing),
            (500, FetchFault::Passing),
            (503, FetchFault::Passing),
            (204, FetchFault::Useless),
            (304, FetchFault::Useless),
            (400, FetchFault::Useless),
            (999, FetchFault::Useless),
        ] {
            assert_eq!(fault(interpret(&head(status), &ASKED, 1000)).0, expected, "{status}");
        }
        let busy = AnswerHead { retry_after: Some(" 120 "), ..head(503) };
        let Answer::Failed(failure) = interpret(&busy, &ASKED, 1000) else { panic!("busy") };
        assert_eq!(failure.retry_after, Some(Duration::from_secs(120)));
        let gzip =
            AnswerHead { content_encoding: Some("gzip"), content_range: Some("bytes 100-149/1000"), ..head(206) };
        assert_eq!(fault(interpret(&gzip, &ASKED, 1000)).0, FetchFault::Useless);
        let identity = AnswerHead { content_encoding: Some("Identity"), ..gzip };
        assert!(matches!(interpret(&identity, &ASKED, 1000), Answer::Body { .. }));
        let moved = AnswerHead { location: Some("/x"), ..head(307) };
        assert_eq!(interpret(&moved, &ASKED, 1000), Answer::Redirect("/x".to_owned()));
    }

    proptest! {
        #[test]
        fn no_answer_makes_us_take_more_than_was_asked_for(
            status in prop::sample::select(vec![200_u16, 206]),
            range in prop::option::of("bytes [0-9]{1,20}-[0-9]{1,20}/([0-9]{1,4}|\\*)"),
            length in prop::option::of("[0-9]{1,20}"),
            first in 0_u64..2000,
            asked in 1_u64..2000,
        ) {
            let head = AnswerHead {
                status,
                content_range: range.as_deref(),
                content_length: length.as_deref(),
                ..AnswerHead::default()
            };
            let asked = FileRange { file: FILE, first, length: asked };
            if let Answer::Body { length, .. } = interpret(&head, &asked, 4000) {
                prop_assert!(length >= 1 && length <= asked.length);
            }
        }
    }
}
