//! What is read of many torrent files, for another reader to be compared with (`fuzz/diff`).
//!
//! Input: each file as its length in four bytes, big-endian, and its bytes. Output: a line a file, answered at once:
//! `ok V1 V2 LENGTH PIECES PIECE_LENGTH FILES` with the lengths of files, or `no` and why not.

use shoal_metainfo::Torrent;
use std::io::{self, BufReader, BufWriter, Read, Write};

fn main() -> io::Result<()> {
    let mut input = BufReader::new(io::stdin().lock());
    let mut output = BufWriter::new(io::stdout().lock());
    let (mut length, mut bytes) = ([0; 4], Vec::new());
    while input.read_exact(&mut length).is_ok() {
        bytes.clear();
        input.by_ref().take(u64::from(u32::from_be_bytes(length))).read_to_end(&mut bytes)?;
        match Torrent::parse(&bytes) {
            Ok(torrent) => {
                let (info, layout) = (&torrent.info, torrent.info.layout());
                let text = |hash: Option<String>| hash.unwrap_or_else(|| "-".to_owned());
                let v1 = text(info.hashes().v1.map(|hash| hash.to_string()));
                let v2 = text(info.hashes().v2.map(|hash| hash.to_string()));
                let lengths: Vec<String> = info.files().map(|file| file.length.to_string()).collect();
                writeln!(
                    output,
                    "ok {v1} {v2} {} {} {} {}",
                    layout.payload_length(),
                    layout.pieces(),
                    layout.piece_length(),
                    lengths.join(",")
                )?;
            }
            Err(error) => writeln!(output, "no {error}")?,
        }
        if input.buffer().is_empty() {
            output.flush()?;
        }
    }
    Ok(())
}
