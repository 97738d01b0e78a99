//! What a swarm knows of its web seeds (BEP 19): HTTP servers that have the torrent's files.
//!
//! A web seed is a source beside the peers: it has every piece, never chokes, wants nothing and speaks no message, so it is
//! no connection and takes no part in choking. It is asked for long contiguous runs, since each request costs a round
//! trip in which nothing comes; how long follows from its rate. Nothing is taken on trust: the first run is one piece, more
//! and longer ones follow when a piece came right, and whoever gave two bad pieces is not asked again (reliability.md D5).
//!
//! Failures that may pass are tried again after a growing wait; a file that the server lacks takes that file's pieces out
//! of what it has; what cannot pass (it ignores ranges) ends its use. Each is told with its reason.
//!
//! Bounds: [`MAX_WEB_SEEDS`] are kept, [`MAX_IN_USE`] asked at a time, each for at most [`MAX_FETCHES`] runs of at most
//! [`MAX_RUN_BYTES`]. Invariant: `fetching` counts a seed's fetches; a seed that is gone has none.

use crate::event::{FetchKey, WebSeedKey};
use crate::failure::{SourceError, SourceErrorKind};
use crate::rate::Rate;
use shoal_layout::{BLOCK_LENGTH, BlockRef, PieceIndex};
use shoal_machine::{Rng, Time};
use shoal_pieces::{Bitfield, PeerSlot};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Web seeds of one torrent that are kept; more are left out. Chosen: Linux distributions name up to some dozens.
pub const MAX_WEB_SEEDS: usize = 32;
/// Web seeds that are asked at a time. Chosen: as many servers as fill most lines; the others are spares.
const MAX_IN_USE: usize = 8;
/// Runs asked of one web seed at a time, each on a connection of its own. Chosen: one is under way while another waits for
/// its first byte, also with small files; browsers open six to a host.
const MAX_FETCHES: u32 = 4;
/// Below this rate one run at a time is enough. Chosen.
const RATE_FOR_MORE: u64 = 256 << 10;
/// How long a run should last: many round trips, and short enough to share the rest of a torrent. Chosen.
const RUN_SPAN_S: u64 = 2;
/// Bytes of a run. Chosen: 16 MiB at 1 GB/s are some round trips of a local network.
const MAX_RUN_BYTES: u64 = 16 << 20;
/// Blocks of a run at least, unless fewer are left. Chosen: a request's header is 1 % of 64 KiB.
const MIN_RUN_BLOCKS: u64 = 4;
/// The first run's bytes at most. Chosen.
const FIRST_RUN_BYTES: u64 = 1 << 20;
/// A web seed that gave no block for so long is slow: peers may be asked for what it was asked for. Chosen.
const SLOW: Duration = Duration::from_secs(5);
/// And after so long it is given up for a while (reliability.md D2: 1 byte/s is given up after 30 s).
pub(crate) const STALLED: Duration = Duration::from_secs(30);
/// The first wait after a failure; doubles up to the last. Chosen.
const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_LAST: Duration = Duration::from_secs(600);
/// A server that asks for a longer wait (RFC 9110, `Retry-After`) waits for another run of the program. Chosen.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// The wait where this process has no connection to spare. Chosen.
const BUSY_WAIT: Duration = Duration::from_secs(2);
/// Bad pieces after which a web seed is banned (reliability.md D5).
const MAX_BAD_PIECES: u32 = 2;
/// Files in a row that a server lacks, after which it is taken to have none. Chosen.
const MAX_MISSING_FILES: u32 = 8;

/// What became of a web seed that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebSeedOutcome {
    /// It is asked again after this time.
    Waits(Duration),
    /// It is asked for other files only.
    LacksFile,
    /// It is not asked again.
    GivenUp,
    /// It sent corrupt data and is not asked again.
    Banned,
}

/// How a web seed is doing, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSeedStatus {
    /// Its URL as the torrent has it.
    pub url: String,
    /// Whether it is asked, now or after a wait.
    pub in_use: bool,
    /// Whether something is being fetched from it.
    pub fetching: bool,
    /// Pieces that came right of which it gave blocks.
    pub good_pieces: u32,
    /// Bytes a second over the last five seconds.
    pub rate: u64,
    /// What went wrong last; `None` while all is well.
    pub trouble: Option<SourceError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Waiting { until: Time },
    Gone,
}

/// One server.
#[derive(Debug)]
pub(crate) struct WebSeed {
    url: String,
    state: State,
    /// What it has: everything but the pieces of files that it turned out to lack. Of no length before the layout is known.
    pub(crate) bits: Bitfield,
    /// The piece where its last run ended.
    pub(crate) after: Option<PieceIndex>,
    rate: Rate,
    fetching: u32,
    /// Runs at a time, at most: fewer once it refused several.
    most: u32,
    good_pieces: u32,
    bad_pieces: u32,
    /// Whether its last piece came right: only then is it asked for much.
    trusted: bool,
    failures: u32,
    missing_files: u32,
    /// It gave nothing for [`SLOW`].
    pub(crate) slow: bool,
    trouble: Option<SourceError>,
}

/// A run that is being fetched.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) seed: WebSeedKey,
    /// What has not come yet, in order.
    pub(crate) blocks: VecDeque<BlockRef>,
    /// When a block came last, or it was ordered.
    last: Time,
}

/// A torrent's web seeds and what is fetched from them.
#[derive(Debug)]
pub(crate) struct WebSeeds {
    seeds: Vec<WebSeed>,
    fetches: BTreeMap<FetchKey, Fetch>,
    next: u32,
    rng: Rng,
}

/// The picker's name for a web seed: connections are numbered from 0 upwards, these from the end downwards.
pub(crate) fn slot(seed: WebSeedKey) -> PeerSlot {
    PeerSlot(u32::MAX - seed.0)
}

/// The web seed behind a name of the picker's, if it is one.
pub(crate) fn seed_of(slot: PeerSlot) -> Option<WebSeedKey> {
    let number = u32::MAX - slot.0;
    ((number as usize) < MAX_WEB_SEEDS).then_some(WebSeedKey(number))
}

impl WebSeed {
    fn new(url: String) -> WebSeed {
        WebSeed {
            url,
            state: State::Ready,
            bits: Bitfield::new(0),
            after: None,
            rate: Rate::new(Time::ZERO),
            fetching: 0,
            most: MAX_FETCHES,
            good_pieces: 0,
            bad_pieces: 0,
            trusted: false,
            failures: 0,
            missing_files: 0,
            slow: false,
            trouble: None,
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    /// Whether it gave pieces that came right and is still asked.
    pub(crate) fn is_copy(&self) -> bool {
        !self.is_gone() && self.good_pieces > 0
    }

    /// How many runs more it could be asked for now.
    pub(crate) fn free_fetches(&self, now: Time) -> u32 {
        if self.state != State::Ready {
            return 0;
        }
        let many = self.trusted && self.rate.over(now, 5) >= RATE_FOR_MORE;
        let most = if many { self.most } else { 1 };
        most.saturating_sub(self.fetching)
    }

    /// How many blocks the next run should have, where `missing` are not asked of anybody and pieces have `piece_blocks`.
    pub(crate) fn run_blocks(&self, now: Time, piece_blocks: u64, missing: u64) -> u64 {
        let block = u64::from(BLOCK_LENGTH);
        if !self.trusted {
            return piece_blocks.min(FIRST_RUN_BYTES / block).max(1);
        }
        let bytes = (self.rate.over(now, 5) * RUN_SPAN_S / u64::from(self.most)).min(MAX_RUN_BYTES);
        // The rest is left to be shared by all, so that the last run of a slow one is short.
        let share = missing / u64::from(2 * self.most);
        (bytes / block).min(share).max(MIN_RUN_BLOCKS)
    }

    pub(crate) fn came(&mut self, now: Time, bytes: u64) {
        self.rate.add(now, bytes);
    }

    /// A piece that it gave came right.
    pub(crate) fn piece_good(&mut self) {
        self.good_pieces = self.good_pieces.saturating_add(1);
        self.trusted = true;
        self.trouble = None;
        (self.failures, self.missing_files) = (0, 0);
    }

    /// A piece that it gave was corrupt. Whether that was one too many.
    pub(crate) fn piece_bad(&mut self) -> bool {
        self.bad_pieces += 1;
        self.trusted = false;
        self.bad_pieces >= MAX_BAD_PIECES
    }
}

impl WebSeeds {
    /// Keeps [`MAX_WEB_SEEDS`] of the URLs.
    pub(crate) fn new(urls: &[String], rng: Rng) -> WebSeeds {
        let seeds = urls.iter().take(MAX_WEB_SEEDS).cloned().map(WebSeed::new).collect();
        WebSeeds { seeds, fetches: BTreeMap::new(), next: 0, rng }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.seeds.is_empty()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = WebSeedKey> + use<> {
        (0..self.seeds.len() as u32).map(WebSeedKey)
    }

    pub(crate) fn seeds(&self) -> impl Iterator<Item = &WebSeed> {
        self.seeds.iter()
    }

    pub(crate) fn get(&self, key: WebSeedKey) -> Option<&WebSeed> {
        self.seeds.get(key.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, key: WebSeedKey) -> Option<&mut WebSeed> {
        self.seeds.get_mut(key.0 as usize)
    }

    pub(crate) fn fetching(&self) -> u32 {
        self.seeds.iter().filter(|seed| seed.fetching > 0).count() as u32
    }

    /// Whether a run may be asked of this one: there is a bound on how many are in use at a time.
    pub(crate) fn may_use(&self, key: WebSeedKey) -> bool {
        self.get(key).is_some_and(|seed| seed.fetching > 0) || (self.fetching() as usize) < MAX_IN_USE
    }

    /// Lets those try again whose wait is over. Whether there were any.
    pub(crate) fn wait_over(&mut self, now: Time) -> bool {
        let mut any = false;
        for seed in &mut self.seeds {
            if matches!(seed.state, State::Waiting { until } if until <= now) {
                seed.state = State::Ready;
                any = true;
            }
        }
        any
    }

    /// When something becomes due by itself.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let waits = self.seeds.iter().filter_map(|seed| match seed.state {
            State::Waiting { until } => Some(until),
            _ => None,
        });
        let fetches = self.fetches.values().map(|fetch| {
            let slow = self.get(fetch.seed).is_some_and(|seed| seed.slow);
            fetch.last + if slow { STALLED } else { SLOW }
        });
        waits.chain(fetches).min()
    }

    // ---- fetches

    /// Enters a run, whose blocks are marked as asked.
    pub(crate) fn begin(&mut self, now: Time, seed: WebSeedKey, blocks: &[BlockRef]) -> FetchKey {
        let key = FetchKey(self.next);
        // 2^32 runs are 2^48 bytes at least.
        self.next = self.next.wrapping_add(1);
        if let Some(seed) = self.get_mut(seed) {
            seed.fetching += 1;
        }
        self.fetches.insert(key, Fetch { seed, blocks: blocks.iter().copied().collect(), last: now });
        key
    }

    /// Takes a run out, with what has not come of it.
    pub(crate) fn end(&mut self, key: FetchKey) -> Option<Fetch> {
        let fetch = self.fetches.remove(&key)?;
        if let Some(seed) = self.get_mut(fetch.seed) {
            seed.fetching -= 1;
        }
        Some(fetch)
    }

    /// A block of a run came: whose it is, and whether it was still wanted of it.
    pub(crate) fn came(&mut self, now: Time, key: FetchKey, block: BlockRef) -> Option<(WebSeedKey, bool)> {
        let fetch = self.fetches.get_mut(&key)?;
        fetch.last = now;
        let place = fetch.blocks.iter().position(|&expected| expected == block);
        if let Some(place) = place {
            fetch.blocks.remove(place);
        }
        Some((fetch.seed, place.is_some()))
    }

    /// Takes a block out of a seed's runs. The run, if nothing is left of it; `None` if it was not asked of this seed.
    pub(crate) fn forget(&mut self, seed: WebSeedKey, block: BlockRef) -> Option<Option<FetchKey>> {
        let its = self.fetches.iter_mut().filter(|(_, fetch)| fetch.seed == seed);
        for (&key, fetch) in its {
            if let Some(place) = fetch.blocks.iter().position(|&expected| expected == block) {
                fetch.blocks.remove(place);
                return Some(fetch.blocks.is_empty().then_some(key));
            }
        }
        None
    }

    /// All runs, or those of one seed.
    pub(crate) fn fetches_of(&self, seed: Option<WebSeedKey>) -> Vec<FetchKey> {
        let its = self.fetches.iter().filter(|(_, fetch)| seed.is_none_or(|seed| fetch.seed == seed));
        its.map(|(&key, _)| key).collect()
    }

    /// Every block that is asked of a web seed.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (WebSeedKey, BlockRef)> + '_ {
        self.fetches.values().flat_map(|fetch| fetch.blocks.iter().map(|&block| (fetch.seed, block)))
    }

    /// Runs of which nothing came for [`STALLED`], and seeds that became slow.
    pub(crate) fn overdue(&self, now: Time) -> (Vec<FetchKey>, Vec<WebSeedKey>) {
        let late = |fetch: &Fetch, by: Duration| now.since(fetch.last) >= by;
        let stalled = self.fetches.iter().filter(|(_, fetch)| late(fetch, STALLED)).map(|(&key, _)| key).collect();
        let is_new = |key: &WebSeedKey| self.get(*key).is_some_and(|seed| !seed.slow);
        let slow = self.keys().filter(|key| is_new(key) && self.is_late(now, *key)).collect();
        (stalled, slow)
    }

    /// Whether one of its runs brought nothing for [`SLOW`].
    pub(crate) fn is_late(&self, now: Time, key: WebSeedKey) -> bool {
        self.fetches.values().any(|fetch| fetch.seed == key && now.since(fetch.last) >= SLOW)
    }

    // ---- failures

    /// A failure that may pass. It waits, longer each time, and at least as long as the server asked for. What fails while it
    /// waits already is the same failure.
    pub(crate) fn failed(
        &mut self,
        now: Time,
        key: WebSeedKey,
        error: SourceError,
        retry_after: Option<Duration>,
    ) -> Option<WebSeedOutcome> {
        let jitter = 0.75 + self.rng.unit() / 2.0;
        let seed = self.get_mut(key).filter(|seed| seed.state == State::Ready)?;
        if seed.fetching > 0 && matches!(error.kind, SourceErrorKind::Refusal | SourceErrorKind::Refused) {
            // It serves another run: it may be that it takes only so many connections.
            seed.most = 1;
        }
        let doubled = RETRY_FIRST.saturating_mul(1 << seed.failures.min(10)).min(RETRY_LAST);
        let wait = doubled.mul_f64(jitter).max(retry_after.unwrap_or_default()).min(MAX_RETRY_AFTER);
        seed.failures = seed.failures.saturating_add(1);
        seed.trusted = false;
        seed.state = State::Waiting { until: now + wait };
        seed.trouble = Some(error);
        Some(WebSeedOutcome::Waits(wait))
    }

    /// This process has no connection for it at present; that is nobody's fault.
    pub(crate) fn busy(&mut self, now: Time, key: WebSeedKey) {
        if let Some(seed) = self.get_mut(key).filter(|seed| !seed.is_gone()) {
            seed.state = State::Waiting { until: now + BUSY_WAIT };
        }
    }

    /// It lacks a file. It is given up if it lacks several and has shown none.
    pub(crate) fn lacks_file(&mut self, key: WebSeedKey, error: SourceError) -> Option<WebSeedOutcome> {
        let seed = self.get_mut(key).filter(|seed| !seed.is_gone())?;
        seed.missing_files += 1;
        seed.trouble = Some(error);
        if seed.missing_files >= MAX_MISSING_FILES || seed.bits.is_empty() {
            seed.state = State::Gone;
            return Some(WebSeedOutcome::GivenUp);
        }
        Some(WebSeedOutcome::LacksFile)
    }

    /// It is not asked again.
    pub(crate) fn give_up(&mut self, key: WebSeedKey, error: SourceError) {
        if let Some(seed) = self.get_mut(key) {
            seed.state = State::Gone;
            seed.trouble = Some(error);
        }
    }

    /// How each is doing.
    pub(crate) fn status(&self, now: Time) -> impl Iterator<Item = WebSeedStatus> + '_ {
        self.seeds.iter().map(move |seed| WebSeedStatus {
            url: seed.url.clone(),
            in_use: !seed.is_gone(),
            fetching: seed.fetching > 0,
            good_pieces: seed.good_pieces,
            rate: seed.rate.over(now, 5),
            trouble: seed.trouble.clone(),
        })
    }

    pub(crate) fn check_invariants(&self) {
        for key in self.keys() {
            let Some(seed) = self.get(key) else { continue };
            assert_eq!(seed.fetching as usize, self.fetches_of(Some(key)).len(), "fetches of {key:?}");
            assert!(seed.fetching <= MAX_FETCHES, "{key:?}");
            assert!(!seed.is_gone() || seed.fetching == 0, "{key:?} is gone and asked");
        }
        assert!(self.fetching() as usize <= MAX_IN_USE);
        let mut asked: Vec<_> = self.asked().collect();
        let count = asked.len();
        asked.sort_unstable();
        asked.dedup();
        assert_eq!(asked.len(), count, "asked twice of one web seed");
    }
}
