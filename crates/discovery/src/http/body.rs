//! A body that grows no further than its bound, unpacked as it comes (reliability.md D2).
//!
//! Packed bytes are bounded as the unpacked ones are, so that neither a bomb nor an endless run of empty blocks costs more
//! than its bound; the first byte too many ends it.

use flate2::write::GzDecoder;
use std::io::{self, Write};

/// The bytes of one answer.
pub(super) struct Body {
    max_bytes: usize,
    taken: usize,
    bytes: Bytes,
}

enum Bytes {
    Plain(Capped),
    Gzip(Box<GzDecoder<Capped>>),
}

/// Why a body is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is longer than its bound.
    TooLong,
    /// It is not what its encoding says.
    Packing,
}

impl Body {
    /// `gzip`: the bytes come packed (RFC 1952).
    pub(super) fn new(max_bytes: usize, gzip: bool) -> Body {
        let capped = Capped { bytes: Vec::new(), max_bytes };
        let bytes = if gzip { Bytes::Gzip(Box::new(GzDecoder::new(capped))) } else { Bytes::Plain(capped) };
        Body { max_bytes, taken: 0, bytes }
    }

    /// Takes what came.
    pub(super) fn take(&mut self, chunk: &[u8]) -> Result<(), Wrong> {
        self.taken += chunk.len();
        if self.taken > self.max_bytes {
            return Err(Wrong::TooLong);
        }
        match &mut self.bytes {
            Bytes::Plain(capped) => capped.write_all(chunk).map_err(|_| Wrong::TooLong),
            Bytes::Gzip(gzip) => write_packed(gzip, chunk),
        }
    }

    /// All of it; an error if the packed form ends early or its check sum is wrong.
    pub(super) fn finish(self) -> Result<Vec<u8>, Wrong> {
        match self.bytes {
            Bytes::Plain(capped) => Ok(capped.bytes),
            // Errors often come without a body, and with the headers of one.
            Bytes::Gzip(_) if self.taken == 0 => Ok(Vec::new()),
            Bytes::Gzip(gzip) => gzip.finish().map(|capped| capped.bytes).map_err(why),
        }
    }
}

fn write_packed(gzip: &mut GzDecoder<Capped>, mut chunk: &[u8]) -> Result<(), Wrong> {
    while !chunk.is_empty() {
        match gzip.write(chunk) {
            // After the end: some servers add a line break.
            Ok(0) => break,
            Ok(taken) => chunk = &chunk[taken..],
            Err(error) => return Err(why(error)),
        }
    }
    // Unpacks what it holds: a bomb's first kilobyte is a megabyte.
    gzip.flush().map_err(why)
}

fn why(error: io::Error) -> Wrong {
    if error.kind() == io::ErrorKind::FileTooLarge { Wrong::TooLong } else { Wrong::Packing }
}

/// Takes no more than its bound.
struct Capped {
    bytes: Vec<u8>,
    max_bytes: usize,
}

impl Write for Capped {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + chunk.len() > self.max_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(max_bytes: usize, gzip: bool, chunks: &[&[u8]]) -> Result<Vec<u8>, Wrong> {
        let mut body = Body::new(max_bytes, gzip);
        chunks.iter().try_for_each(|chunk| body.take(chunk))?;
        body.finish()
    }

    proptest! {
        #[test]
        fn packed_or_not_and_however_split_the_same_bytes_come_out(
            bytes in proptest::collection::vec(any::<u8>(), 0..5000),
            at in 0..6000_usize,
        ) {
            let packed = packed(&bytes);
            let (a, b) = packed.split_at(at.min(packed.len()));
            prop_assert_eq!(read(6000, true, &[a, b]).unwrap(), bytes.clone());
            let (a, b) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(read(6000, false, &[a, b]).unwrap(), bytes.clone());
        }

        #[test]
        fn garbage_is_refused_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(1000, true, &[&bytes]);
        }
    }

    #[test]
    fn a_body_of_its_bound_is_taken_and_one_byte_more_is_not() {
        for gzip in [false, true] {
            let encode = |bytes: Vec<u8>| if gzip { packed(&bytes) } else { bytes };
            assert_eq!(read(1000, gzip, &[&encode(vec![7; 1000])]).unwrap().len(), 1000);
            assert_eq!(read(1000, gzip, &[&encode(vec![7; 1001])]), Err(Wrong::TooLong));
        }
    }

    #[test]
    fn what_ends_early_or_was_changed_is_refused_and_what_follows_is_left_alone() {
        let whole = packed(b"hello");
        assert_eq!(read(100, true, &[&whole[..whole.len() - 1]]), Err(Wrong::Packing));
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(read(100, true, &[&changed]), Err(Wrong::Packing));
        assert_eq!(read(100, true, &[&whole, b"\r\n"]).unwrap(), b"hello");
        assert_eq!(read(100, true, &[b"<html>"]), Err(Wrong::Packing));
    }

    #[test]
    fn an_endless_run_of_empty_blocks_ends_at_the_bound() {
        let header = &packed(b"")[..10];
        // A stored block of no bytes, not the last (RFC 1951, 3.2.4).
        let empty = [0, 0, 0, 0xff, 0xff].repeat(200);
        let mut body = Body::new(100_000, true);
        body.take(header).unwrap();
        let ended = (0..1000).find_map(|_| body.take(&empty).err());
        assert_eq!(ended, Some(Wrong::TooLong));
    }
}
