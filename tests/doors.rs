//! Bombs through every door by which strangers' bytes come in: nesting and declared sizes (reliability.md A1, A3).
//!
//! Each is refused within 0.2 s of processor time, on a stack of 512 KiB, and by the binary in 64 MiB of memory. Limits are
//! set by `prlimit`, so a fault is a signal and not a guess.

#[cfg(test)]
mod doors {
    use rustix::time::{ClockId, clock_gettime};
    use shoal_metainfo::{Info, Magnet, Torrent};
    use shoal_wire::{Decoded, Frame, Limits, decode};
    use std::path::Path;
    use std::process::{Command, Output};

    const STACK: usize = 512 << 10;
    const MEMORY: usize = 64 << 20;
    const LONG: usize = 10_000_000;
    /// Processor time a bomb may take (reliability.md A1).
    const ALLOWED_S: f64 = 0.2;

    /// Nesting of about this many bytes: of lists, of dictionaries, and both with all their ends.
    fn nesting(bytes: usize) -> [(&'static str, Vec<u8>); 4] {
        let closed = |open: &str, inner: &str| {
            let levels = bytes / (open.len() + 1);
            format!("{}{inner}{}", open.repeat(levels), "e".repeat(levels)).into_bytes()
        };
        [
            ("lists", b"l".repeat(bytes)),
            ("dictionaries", b"d1:a".repeat(bytes / 4)),
            ("closed lists", closed("l", "")),
            ("closed dictionaries", closed("d1:a", "i0e")),
        ]
    }

    /// Runs on a small stack and gives the seconds of processor time it took.
    fn on_a_small_stack(work: impl FnOnce() + Send + 'static) -> f64 {
        let timed = move || {
            let now = || clock_gettime(ClockId::ThreadCPUTime);
            let seconds = |at: rustix::time::Timespec| at.tv_sec as f64 + at.tv_nsec as f64 / 1e9;
            let began = seconds(now());
            work();
            seconds(now()) - began
        };
        std::thread::Builder::new().stack_size(STACK).spawn(timed).unwrap().join().unwrap()
    }

    fn frame(id: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32 + 2).to_be_bytes().to_vec();
        bytes.extend([20, id]);
        bytes.extend(payload);
        bytes
    }

    fn refuses(bytes: &[u8]) {
        match decode(bytes, &Limits::UNKNOWN) {
            Err(_) => {}
            Ok(Decoded::Frame { frame: Frame::Message(message), .. }) => panic!("read as {message:?}"),
            Ok(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn nesting_is_refused_by_torrent_files_and_fetched_dictionaries() {
        for (kind, bomb) in nesting(LONG) {
            let wrapped = [&b"d4:infod6:lengthi1e1:x"[..], &bomb, b"ee"].concat();
            let took = on_a_small_stack(move || {
                assert!(Torrent::parse(&bomb).is_err() && Torrent::parse(&wrapped).is_err());
                assert!(Info::parse(&bomb).is_err() && Info::parse(&wrapped[7..wrapped.len() - 1]).is_err());
            });
            assert!(took < ALLOWED_S, "{kind}: {took} s");
        }
    }

    #[test]
    fn nesting_is_refused_by_every_extension_however_long_it_is() {
        for length in [LONG, 65_000, 17_000, 400] {
            for (kind, bomb) in nesting(length) {
                let took = on_a_small_stack(move || {
                    for id in 0..3 {
                        refuses(&frame(id, &bomb));
                        refuses(&frame(id, &[&b"d1:m"[..], &bomb, b"e"].concat()));
                    }
                });
                assert!(took < ALLOWED_S, "{kind} of {length}: {took} s");
            }
        }
    }

    #[test]
    fn nesting_is_refused_in_answers_of_trackers() {
        for (kind, bomb) in nesting(LONG) {
            let took = on_a_small_stack(move || {
                assert!(shoal_discovery::parsers::announce_reply(&bomb).is_err());
                let wrapped = [&b"d8:intervali1800e5:peers"[..], &bomb, b"e"].concat();
                assert!(shoal_discovery::parsers::announce_reply(&wrapped).is_err());
            });
            assert!(took < ALLOWED_S, "{kind}: {took} s");
        }
    }

    #[test]
    fn a_link_of_ten_megabytes_is_refused() {
        let link = format!("magnet:?xt=urn:btih:{}{}", "a".repeat(40), "&tr=http%3a%2f%2fa%2f".repeat(LONG / 20));
        let took = on_a_small_stack(move || assert!(link.parse::<Magnet>().is_err()));
        assert!(took < ALLOWED_S, "{took} s");
    }

    /// The binary with small limits. Its runtime's own threads are not counted by `--stack`, its first one is.
    fn shoal(home: &Path, args: &[&str]) -> Output {
        Command::new("prlimit")
            .args([format!("--stack={STACK}"), format!("--data={MEMORY}"), "--cpu=2".to_owned()])
            .arg(env!("CARGO_BIN_EXE_shoal"))
            .args(args)
            .env("HOME", home)
            .env_remove("XDG_CONFIG_HOME")
            .output()
            .expect("util-linux has prlimit")
    }

    fn expect(home: &Path, args: &[&str], code: i32, what: &str) {
        let output = shoal(home, args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{what}: {:?} {said}", output.status);
        assert_eq!(said.lines().count(), 1, "{what}: {said}");
    }

    #[test]
    fn the_binary_survives_nesting_in_files_and_in_its_configuration() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("bomb.torrent");
        for (kind, bomb) in nesting(LONG) {
            std::fs::write(&file, bomb).unwrap();
            expect(home.path(), &["show", file.to_str().unwrap()], 6, kind);
        }
        let folder = home.path().join(".config/shoal");
        std::fs::create_dir_all(&folder).unwrap();
        for bomb in ["[", "a=[", "a={b=", "[a.", "a."].map(|open| open.repeat(250_000 / open.len())) {
            for text in [bomb.clone(), format!("[download]\npeer = {bomb}")] {
                std::fs::write(folder.join("config.toml"), text).unwrap();
                expect(home.path(), &["show", "x"], 2, &bomb[..4]);
            }
        }
    }

    #[test]
    fn memory_follows_no_declared_size() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("bomb.torrent");
        let v1 = |middle: &str| format!("d4:infod{middle}ee").into_bytes();
        let hashes = "h".repeat(20);
        let huge = i64::MAX;
        let bombs = [
            ("a string of 2^62 bytes", v1("6:lengthi1e4:name4611686018427387904:a")),
            ("pieces of 4 GiB", v1("6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces4294967280:h")),
            ("a length of 2^63", v1(&format!("6:lengthi{huge}e4:name1:a12:piece lengthi16384e6:pieces20:{hashes}"))),
            ("2^21 pieces of 512 MiB", v1("6:lengthi1125899906842624e4:name1:a12:piece lengthi536870912e6:pieces20:h")),
            (
                "a piece of 2^62",
                v1(&format!("6:lengthi1e4:name1:a12:piece lengthi{}e6:pieces20:{hashes}", 1_i64 << 62)),
            ),
            (
                "a v2 file of 2^62",
                v1(&format!(
                    "9:file treed1:ad0:d6:lengthi{}e11:pieces root32:{}eee12:meta versioni2e4:name1:a12:piece lengthi16384e",
                    1_i64 << 62,
                    "r".repeat(32)
                )),
            ),
            (
                "pad files of 2^61",
                v1(&format!(
                    "5:filesl{}e4:name1:a12:piece lengthi16384e6:pieces20:{hashes}",
                    format!("d4:attr1:p6:lengthi{}e4:pathl1:aee", 1_i64 << 61).repeat(100)
                )),
            ),
        ];
        for (what, bomb) in bombs {
            std::fs::write(&file, bomb).unwrap();
            expect(home.path(), &["show", file.to_str().unwrap()], 6, what);
        }
        // A file that is too long is not read to its end.
        let long = std::fs::File::create(&file).unwrap();
        long.set_len(1 << 40).unwrap();
        expect(home.path(), &["show", file.to_str().unwrap()], 6, "a file of 1 TiB");
    }
}
