//! Whatever a web seed answers, no more is taken of its body than was asked for, and only from the range's first byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_discovery::web_seed::{Answer, AnswerHead, FileRange, interpret};
use shoal_layout::FileIndex;

fuzz_target!(|input: (u16, u64, u64, u64, &str)| {
    let (status, first, length, file_length, text) = input;
    // A range within its file, as those of the layout are.
    let file_length = (file_length >> 1).max(1);
    let first = first % file_length;
    let length = 1 + length % (file_length - first);
    let asked = FileRange { file: FileIndex(0), first, length };
    let mut lines = text.split('\n').map(|line| (line != "-").then_some(line));
    let mut header = || lines.next().flatten();
    let head = AnswerHead {
        status,
        content_range: header(),
        content_length: header(),
        content_encoding: header(),
        location: header(),
        retry_after: header(),
    };
    match interpret(&head, &asked, file_length) {
        Answer::Body { length, .. } => {
            assert!(length >= 1 && length <= asked.length);
            assert!(status == 206 || status == 200 && first == 0);
        }
        Answer::Redirect(location) => assert!((300..400).contains(&status) && Some(location.as_str()) == head.location),
        Answer::Failed(failure) => assert!(!failure.error.text.is_empty() && !failure.error.text.contains('\n')),
    }
});
