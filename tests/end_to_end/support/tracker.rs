//! An HTTP tracker (BEP 3, 23) in the test's own network that remembers every announce.
//!
//! Everyone is told of everyone else. A participant is known by the port that it announces; its address is the one that the test
//! registered, because some clients announce from another address than the one on which they listen.

use super::PATIENCE;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// One announce.
#[derive(Clone, Debug)]
pub(crate) struct Announce {
    pub(crate) port: u16,
    pub(crate) event: String,
    pub(crate) uploaded: u64,
    pub(crate) downloaded: u64,
    pub(crate) left: u64,
}

#[derive(Default)]
struct State {
    addresses: BTreeMap<u16, IpAddr>,
    present: BTreeMap<u16, u64>,
    log: Vec<Announce>,
    dead: bool,
}

/// The tracker; its thread ends with the test's process.
pub(crate) struct Tracker {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

fn answer(stream: TcpStream, state: &(Mutex<State>, Condvar)) -> Option<()> {
    if state.0.lock().unwrap().dead {
        return None;
    }
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let mut header = String::new();
    while reader.read_line(&mut header).ok()? > 2 {
        header.clear();
    }
    let query = request.split_whitespace().nth(1)?.split_once('?')?.1;
    let field = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or("");
    let number = |name: &str| field(name).parse::<u64>().unwrap_or(0);
    let (port, left) = (u16::try_from(number("port")).ok()?, number("left"));
    let announce = Announce {
        port,
        event: field("event").to_owned(),
        uploaded: number("uploaded"),
        downloaded: number("downloaded"),
        left,
    };
    let mut compact = Vec::new();
    {
        let mut state = state.0.lock().unwrap();
        for &other in state.present.keys().filter(|&&other| other != port) {
            if let Some(IpAddr::V4(ip)) = state.addresses.get(&other) {
                compact.extend_from_slice(&ip.octets());
                compact.extend_from_slice(&other.to_be_bytes());
            }
        }
        if announce.event == "stopped" {
            state.present.remove(&port)
        } else {
            state.present.insert(port, left)
        };
        state.log.push(announce);
    }
    state.1.notify_all();
    // 5 s: the shortest interval that the clients keep to, so that one who came too early asks again soon.
    let mut body = format!("d8:intervali5e12:min intervali5e5:peers{}:", compact.len()).into_bytes();
    body.extend_from_slice(&compact);
    body.push(b'e');
    let mut stream = reader.into_inner();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).ok()?;
    stream.write_all(&body).ok()
}

impl Tracker {
    /// Starts one on an address of this thread's network.
    pub(crate) fn start(ip: IpAddr) -> Tracker {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        Tracker { address, state }
    }

    /// Its announce URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/announce", self.address)
    }

    /// Makes the participant that announces `port` known at `address`.
    pub(crate) fn register(&self, address: SocketAddr) {
        self.state.0.lock().unwrap().addresses.insert(address.port(), address.ip());
    }

    /// From now on every connection is closed unanswered.
    pub(crate) fn kill(&self) {
        self.state.0.lock().unwrap().dead = true;
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything announced so far from `port`.
    pub(crate) fn log(&self, port: u16) -> Vec<Announce> {
        self.state.0.lock().unwrap().log.iter().filter(|a| a.port == port).cloned().collect()
    }

    /// Waits for an announce from `port` that `fits`; when it does not come, fails with what `said` knows.
    #[track_caller]
    pub(crate) fn wait_for(&self, port: u16, fits: impl Fn(&Announce) -> bool, said: impl Fn() -> String) -> Announce {
        let end = Instant::now() + PATIENCE;
        let mut state = self.state.0.lock().unwrap();
        loop {
            if let Some(found) = state.log.iter().find(|a| a.port == port && fits(a)) {
                return found.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let last = state.log.iter().rfind(|a| a.port == port);
                panic!("the announce from port {port} never came; the last was {last:?}\n{}", said());
            }
            state = self.state.1.wait_timeout(state, left).unwrap().0;
        }
    }
}
