//! A rate limit: bytes that flow in with time and are handed out by turns.
//!
//! Credit leaves in lots of one block, to one swarm after the other, because credit is of use to a swarm only when it is a
//! block's worth: bytes spread over ten swarms would become ten blocks at one moment, and a limit of 50 KB/s is three
//! blocks a second. Lots are gathered for [`GATHER_US`] where blocks come faster than that, so that a limit of 200 MB/s
//! costs 50 turns a second and not 12,000.
//!
//! Invariants: what was given by any moment is at most rate times time since the limit was set; what may
//! be gathered while nobody asks is [`IDLE_US`] of the rate, or one lot.

use super::SwarmKey;
use shoal_machine::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

/// A block and its message's header: 16 KiB and 13 bytes (BEP 3).
pub(super) const LOT: u64 = (16 << 10) + 13;
/// How long bytes are gathered while somebody waits. Chosen: not seen by TCP, and cheap.
const GATHER_US: u64 = 20_000;
/// How much of the rate may be gathered while nobody asks. Chosen: 0.5 % of ten seconds.
const IDLE_US: u64 = 50_000;
/// How much more while somebody waits and the driver is late to wake us. Chosen: 1 % of ten seconds.
const LATE_US: u64 = 100_000;
const MICROS: u128 = 1_000_000;

/// One direction's limit, and who waits for it.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Bytes per second.
    limit: Option<u64>,
    /// Bytes at hand, in millionths.
    level: u128,
    filled: Time,
    waiting: BTreeMap<SwarmKey, u64>,
    /// The sum of `waiting`.
    wanted: u128,
    /// The swarm that got the last lot.
    turn: Option<SwarmKey>,
}

impl Bucket {
    pub(super) fn new(limit: Option<u64>) -> Bucket {
        Bucket { limit, level: 0, filled: Time::ZERO, waiting: BTreeMap::new(), wanted: 0, turn: None }
    }

    pub(super) fn limit(&self) -> Option<u64> {
        self.limit
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Begins anew, empty, if the limit is another one.
    pub(super) fn set_limit(&mut self, limit: Option<u64>) {
        if self.limit != limit {
            self.limit = limit;
            self.level = 0;
            if limit.is_none() {
                self.waiting.clear();
                self.wanted = 0;
            }
        }
    }

    /// What a swarm waits for now; takes the place of what it waited for before.
    pub(super) fn want(&mut self, swarm: SwarmKey, bytes: u64) {
        let before = if bytes > 0 && self.limit.is_some() {
            self.wanted += u128::from(bytes);
            self.waiting.insert(swarm, bytes)
        } else {
            self.waiting.remove(&swarm)
        };
        self.wanted -= u128::from(before.unwrap_or(0));
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = SwarmKey> + '_ {
        self.waiting.keys().copied()
    }

    /// Lets flow in what came since the last call.
    pub(super) fn fill(&mut self, now: Time) {
        let passed = now.since(self.filled).as_micros();
        self.filled = now;
        let Some(limit) = self.limit else { return };
        let late = if self.waiting.is_empty() { 0 } else { LATE_US };
        let most = (u128::from(LOT) * MICROS).max(u128::from(limit) * u128::from(IDLE_US + late));
        self.level = (self.level + u128::from(limit).saturating_mul(passed)).min(most);
    }

    /// Gives lots by turns once enough is gathered. Who got some waits no more until it asks again.
    pub(super) fn grant(&mut self, mut give: impl FnMut(SwarmKey, u64)) {
        if self.waiting.is_empty() || self.level < self.enough() {
            return;
        }
        // Bounds the turns; at high rates a lot is many blocks.
        let lot = LOT.max((self.level / MICROS / 64) as u64);
        let mut got = BTreeSet::new();
        while let Some((&swarm, &want)) = self.next_waiting() {
            let bytes = want.min(lot);
            let cost = u128::from(bytes) * MICROS;
            if self.level < cost {
                break;
            }
            self.level -= cost;
            self.turn = Some(swarm);
            self.want(swarm, want - bytes);
            got.insert(swarm);
            give(swarm, bytes);
        }
        got.into_iter().for_each(|swarm| self.want(swarm, 0));
    }

    /// When there will be enough to give, if somebody waits.
    pub(super) fn ready_at(&self) -> Option<Time> {
        let limit = self.limit.filter(|&limit| limit > 0 && !self.waiting.is_empty())?;
        let lacking = self.enough().saturating_sub(self.level).div_ceil(u128::from(limit));
        Some(self.filled + Duration::from_micros(u64::try_from(lacking).unwrap_or(u64::MAX)))
    }

    /// How much is gathered before anything is given: all that is wanted, or a lot, or what comes in [`GATHER_US`].
    fn enough(&self) -> u128 {
        let gathered = u128::from(self.limit.unwrap_or(0)) * u128::from(GATHER_US);
        (self.wanted * MICROS).min(gathered.max(u128::from(LOT) * MICROS))
    }

    fn next_waiting(&self) -> Option<(&SwarmKey, &u64)> {
        let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        self.waiting.range((after, Bound::Unbounded)).next().or_else(|| self.waiting.iter().next())
    }
}
