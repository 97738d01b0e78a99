//! Creating and checking as a user and the system meet them: what is read of the disk and how often, on how many threads, with
//! how few descriptors and how little memory; that Ctrl-C ends them at once; and what they say was the limit.
//!
//! What is read is counted by `strace`; what takes long takes so by a delay that it adds to each read.

use crate::support::process::{Ended, Process, Stream};
use crate::support::shoal::{QUIET, SHOAL, arg, create, shoal};
use crate::support::trace::{Read, can_trace, child_of, reads};
use crate::support::{skip, tree};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// Runs shoal to its end; what it read of one file.
fn traced(folder: &Path, file: &Path, words: &[&str]) -> (Ended, Vec<Read>) {
    let log = folder.join("trace");
    let mut all = vec!["-f", "-P", arg(file), "-o", arg(&log), "-e", "trace=pread64", SHOAL];
    all.extend(words);
    let ended = Process::start("strace", &all, folder).wait();
    (ended, reads(&log))
}

/// Runs shoal to its end; how many hashing threads it started, by the name that each gives itself first of all.
fn threads_started(folder: &Path, words: &[&str]) -> usize {
    let log = folder.join("names");
    let mut all = vec!["-f", "-o", arg(&log), "-e", "trace=prctl", SHOAL];
    all.extend(words);
    Process::start("strace", &all, folder).wait().expect(0);
    fs::read_to_string(&log).unwrap().lines().filter(|line| line.contains("PR_SET_NAME, \"hash\"")).count()
}

/// The bytes that were read, each once: no two reads overlap.
fn read_once(mut reads: Vec<Read>) -> u64 {
    reads.sort_unstable_by_key(|read| read.offset);
    for pair in reads.windows(2) {
        assert!(pair[0].offset + pair[0].length <= pair[1].offset, "read twice: {pair:?}");
    }
    reads.iter().map(|read| read.length).sum()
}

#[test]
fn each_byte_is_read_once_for_both_hashes_and_on_as_many_threads_as_asked_for() {
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let length = 40 * MIB + 12_345;
    let source = tree::file(folder.path(), "data", 3, length as usize);
    let torrent = folder.path().join("t");
    for jobs in [1, 3] {
        let number = jobs.to_string();
        let words =
            ["create", arg(&source), "-o", arg(&torrent), "--overwrite", "--piece-length", "256KiB", "--jobs", &number];
        let (ended, reads) = traced(folder.path(), &source, &words);
        ended.expect(0);
        // On a busy machine the first thread may have read all before the others run.
        let by = reads.iter().map(|read| read.thread).collect::<BTreeSet<_>>().len();
        assert!((1..=jobs).contains(&by), "{by} threads read, of {jobs}");
        assert_eq!(read_once(reads), length);
        assert_eq!(threads_started(folder.path(), &words), jobs);
    }
    let (ended, reads) = traced(folder.path(), &source, &["verify", arg(&torrent), arg(folder.path()), "--jobs", "1"]);
    ended.expect(0);
    assert_eq!(reads.iter().map(|read| read.thread).collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(read_once(reads), length);
}

#[test]
fn holes_are_not_read() {
    if !can_trace() {
        return;
    }
    // On a file system that has holes and tells of them.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let source = folder.path().join("sparse");
    let file = File::create(&source).unwrap();
    let data = tree::bytes(4, MIB as usize);
    file.set_len(64 << 30).unwrap();
    let places = [0, 20 << 30, (64 << 30) - MIB];
    places.iter().for_each(|&at| file.write_all_at(&data, at).unwrap());
    for format in ["v1", "hybrid"] {
        let torrent = folder.path().join(format);
        let words = ["create", arg(&source), "-o", arg(&torrent), "--format", format, "--piece-length", "16MiB"];
        let (ended, reads) = traced(folder.path(), &source, &words);
        ended.expect(0);
        let read = read_once(reads);
        // A segment that begins in data is read whole, so a little of the holes beside it too.
        assert!((3 * MIB..6 * MIB).contains(&read), "{read} bytes were read");
        let words = ["verify", arg(&torrent), arg(folder.path())];
        let (ended, reads) = traced(folder.path(), &source, &words);
        ended.expect(0);
        assert!(read_once(reads) < 6 * MIB);
        file.write_all_at(&[data[0] ^ 1], 20 << 30).unwrap();
        shoal(folder.path(), &words).expect(6);
        file.write_all_at(&data[..1], 20 << 30).unwrap();
    }
}

/// Starts a command whose every read takes 50 ms longer, waits until it is at work and interrupts it.
fn interrupted(folder: &Path, file: &Path, words: &[&str]) -> (Ended, Duration) {
    let mut all = vec!["-f", "-P", arg(file), "-o", "/dev/null", "-e", "trace=pread64"];
    all.extend(["-e", "inject=pread64:delay_enter=50000", SHOAL]);
    all.extend(words);
    let process = Process::start("strace", &all, folder);
    process.wait_for(Stream::Out, "that some is hashed", |line| {
        (line.contains("\"checking\"") && !line.contains("\"done_bytes\":0")).then_some(())
    });
    let shoal = Pid::from_raw(child_of(process.id()).cast_signed()).unwrap();
    let began = Instant::now();
    kill_process(shoal, Signal::INT).unwrap();
    (process.wait(), began.elapsed())
}

#[test]
fn ctrl_c_ends_hashing_and_checking_at_once_and_leaves_nothing() {
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Ten seconds and more of reads.
    let source = tree::file(&folder.path().join("data"), "data", 5, 256 * MIB as usize);
    let torrent = create(folder.path(), &source, &folder.path().join("t"), &["--piece-length", "1MiB"]);
    let other = folder.path().join("other");
    let create = ["create", arg(&source), "-o", arg(&other), "--jobs", "1", "--json"];
    let verify = ["verify", arg(&torrent), arg(source.parent().unwrap()), "--jobs", "1", "--json"];
    for words in [&create[..], &verify] {
        let (ended, took) = interrupted(folder.path(), &source, words);
        let ended = ended.expect(130);
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(ended.stderr.iter().any(|line| line.contains("interrupted")), "{:?}", ended.stderr);
        assert!(!ended.stdout.iter().any(|line| line.contains("\"done\"")), "{:?}", ended.stdout);
    }
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("other")), "{left:?}");
}

#[test]
fn it_says_whether_the_disk_or_the_processor_was_the_limit() {
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = tree::file(&folder.path().join("data"), "data", 6, 24 * MIB as usize);
    let torrent = create(folder.path(), &source, &folder.path().join("t"), &["--format", "v1"]);
    let limit = |ended: Ended| ended.expect(0).stderr.into_iter().find(|line| line.contains("was the limit")).unwrap();
    // Looking for collisions takes ten times as long as reading from memory.
    let words = ["verify", arg(&torrent), arg(source.parent().unwrap()), "-v"];
    let paranoid = limit(shoal(folder.path(), &[&words[..], &["--paranoid"]].concat()));
    assert!(paranoid.contains("24.0 MiB in ") && paranoid.contains("the processor was the limit"), "{paranoid}");
    let mut slow = vec!["-f", "-P", arg(&source), "-o", "/dev/null", "-e", "trace=pread64"];
    slow.extend(["-e", "inject=pread64:delay_enter=300000", SHOAL]);
    // From two seconds on it is said without being asked for.
    slow.extend(&words[..3]);
    slow.extend(["--jobs", "1"]);
    assert!(limit(Process::start("strace", &slow, folder.path()).wait()).contains("reading the disk was the limit"));
}

#[test]
fn many_files_take_few_descriptors_and_little_memory() {
    const FILES: usize = 100_000;
    const MEMORY: u64 = 64 * MIB;
    // Runs a command with 32 descriptors; then says what it took of memory at most, in KiB.
    const LIMITED: &str = "
import resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
code = subprocess.run(sys.argv[1:]).returncode
print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
";
    if !Path::new("/usr/bin/python3").exists() {
        return skip("there is no /usr/bin/python3");
    }
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let source = folder.path().join("many");
    for number in 0..FILES {
        let inside = source.join(format!("dir{:03}", number / 1000));
        if number % 1000 == 0 {
            fs::create_dir_all(&inside).unwrap();
        }
        fs::write(inside.join(format!("file-{:05}.dat", number % 1000)), number.to_le_bytes()).unwrap();
    }
    let peak = |words: &[&str]| {
        let all = [&["-c", LIMITED, SHOAL], words].concat();
        let ended = Process::start("/usr/bin/python3", &all, folder.path()).wait().expect(0);
        let kib = ended.stderr.iter().find_map(|line| line.strip_prefix("peak ")).expect("the script says so");
        kib.parse::<u64>().unwrap() * 1024
    };
    for format in ["v1", "v2", "hybrid"] {
        let torrent = folder.path().join(format);
        let create = peak(&["create", arg(&source), "-o", arg(&torrent), "--format", format]);
        let verify = peak(&["verify", arg(&torrent), arg(folder.path())]);
        let words = ["share", arg(&source), "--format", format, "--json", "--port", "0", "--bind", "127.0.0.1"];
        let share = Process::start(SHOAL, &[&words[..], &QUIET].concat(), folder.path());
        // Told when the files are open and the state is written: nothing grows any more.
        share.wait_for(Stream::Out, "all pieces", |line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let all = event["event"] == "progress" && event["pieces_done"] == event["pieces_total"];
            (all && event["pieces_total"].as_u64() >= Some(1)).then_some(())
        });
        let shared = share.peak_memory();
        share.interrupt().expect(0);
        for (what, peak) in [("create", create), ("verify", verify), ("share", shared)] {
            assert!(peak < MEMORY, "{what} {format}: {} MiB", peak >> 20);
        }
    }
}
