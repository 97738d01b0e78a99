//! A program that a test started: what it prints is collected line by line, and it ends with the test, by its own id.

use super::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

/// Everything that a program printed so far.
#[derive(Default)]
struct Output {
    stdout: Vec<String>,
    stderr: Vec<String>,
    open: u8,
}

type Shared = Arc<(Mutex<Output>, Condvar)>;

/// Which of the two streams.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// A running program. Dropped, it is killed.
pub(crate) struct Process {
    name: String,
    child: Child,
    output: Shared,
    readers: Vec<JoinHandle<()>>,
}

/// How a program ended, and all that it printed.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Ended {
    /// The exit code; 128 and the number of the signal that ended it, as a shell says it.
    pub(crate) fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }

    /// Panics with what was printed unless the program ended with `code`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code(), code, "stdout: {:#?}\nstderr: {:#?}", self.stdout, self.stderr);
        self
    }
}

fn collect(stream: impl Read + Send + 'static, to: Stream, output: &Shared) -> JoinHandle<()> {
    let output = Arc::clone(output);
    output.0.lock().unwrap().open += 1;
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            line.clear();
            let mut shared = output.0.lock().unwrap();
            if to == Stream::Out {
                shared.stdout.push(text)
            } else {
                shared.stderr.push(text)
            }
            output.1.notify_all();
        }
        output.0.lock().unwrap().open -= 1;
        output.1.notify_all();
    })
}

impl Process {
    /// Starts `program` with a home folder of its own and nothing to read.
    #[track_caller]
    pub(crate) fn start(program: impl AsRef<Path>, args: &[&str], home: &Path) -> Process {
        Self::start_with(program, args, home, &[])
    }

    /// Like [`Process::start`], with more environment variables.
    #[track_caller]
    pub(crate) fn start_with(
        program: impl AsRef<Path>,
        args: &[&str],
        home: &Path,
        variables: &[(&str, &str)],
    ) -> Process {
        std::fs::create_dir_all(home).unwrap();
        let program = program.as_ref();
        // env takes SIGINT back to its default (a shell starts what it runs in the background with the signal ignored, and a
        // driver would never end); setpriv becomes the program, with the order to be killed when the thread that runs the
        // test ends in any way.
        let mut child = Command::new("env")
            .args(["--default-signal=INT", "setpriv", "--pdeathsig", "KILL"])
            .arg(program)
            .args(args)
            .env("HOME", home)
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_STATE_HOME", home.join("state"))
            .env("XDG_DATA_HOME", home.join("data"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            // No test talks to the public DHT; those that have one of their own switch it on again.
            .env("SHOAL_SHARE_NO_DHT", "true")
            .env("SHOAL_DOWNLOAD_NO_DHT", "true")
            .env("SHOAL_SEED_NO_DHT", "true")
            // No test speaks to the machine's network by accident; one that means to says so by a variable.
            .envs(["SHARE", "SEED", "DOWNLOAD"].map(|command| (format!("SHOAL_{command}_NO_LAN"), "true")))
            .envs(variables.iter().copied())
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let output = Shared::default();
        let readers = vec![
            collect(child.stdout.take().expect("piped"), Stream::Out, &output),
            collect(child.stderr.take().expect("piped"), Stream::Err, &output),
        ];
        let name = program.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Process { name, child, output, readers }
    }

    /// The first line of a stream for which `pick` gives something; panics when the program ends or [`PATIENCE`] does first.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, stream: Stream, what: &str, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut shared = self.output.0.lock().unwrap();
        let mut seen = 0;
        loop {
            let lines = if stream == Stream::Out { &shared.stdout } else { &shared.stderr };
            if let Some(found) = lines[seen..].iter().find_map(|line| pick(line)) {
                return found;
            }
            seen = lines.len();
            let left = end.saturating_duration_since(Instant::now());
            if shared.open == 0 || left.is_zero() {
                drop(shared);
                panic!("{} never said {what}\n{}", self.name, self.said());
            }
            shared = self.output.1.wait_timeout(shared, left).unwrap().0;
        }
    }

    /// All that it printed so far, for a failure's message.
    pub(crate) fn said(&self) -> String {
        let shared = self.output.0.lock().unwrap();
        format!("stdout: {:#?}\nstderr: {:#?}", shared.stdout, shared.stderr)
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal to it.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a child has an id");
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let end = Instant::now() + PATIENCE;
        let mut shared = self.output.0.lock().unwrap();
        while shared.open > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(shared);
                panic!("{} does not end\n{}", self.name, self.said());
            }
            shared = self.output.1.wait_timeout(shared, left).unwrap().0;
        }
        let (stdout, stderr) = (std::mem::take(&mut shared.stdout), std::mem::take(&mut shared.stderr));
        drop(shared);
        let status = self.child.wait().unwrap();
        Ended { status, stdout, stderr }
    }

    /// Ends it as Ctrl-C would and waits.
    #[track_caller]
    pub(crate) fn interrupt(self) -> Ended {
        self.signal(Signal::INT);
        self.wait()
    }

    /// Whether it closed both its streams: it has ended, or will at once.
    pub(crate) fn has_ended(&self) -> bool {
        self.output.0.lock().unwrap().open == 0
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Bytes that it has read from files so far, cached or not; 0 once it is gone. Sockets are not counted.
    pub(crate) fn bytes_read(&self) -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.id())).unwrap_or_default();
        let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
        line.map_or(0, |count| count.parse().unwrap())
    }

    /// Its largest resident memory so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).expect("Linux says so");
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// Seconds of processor time that a process has used.
pub(crate) fn processor_time(id: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap()..].split_whitespace().collect();
    // User and system time in hundredths (proc(5)).
    (fields[12].parse::<f64>().unwrap() + fields[13].parse::<f64>().unwrap()) / 100.0
}
