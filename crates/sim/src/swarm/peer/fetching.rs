//! What the swarm orders of web seeds, carried out.

use super::PeerSite;
use crate::Port;
use crate::swarm::SwarmLocal;
use crate::swarm::content::{Payload, Tag};
use crate::swarm::packet::SwarmPacket;
use crate::swarm::process::ProcessEvent;
use crate::swarm::web_seed::{Fetch, WebSeedKind};
use shoal_layout::BlockRef;
use shoal_swarm::{Event, FetchFailure, FetchFault, FetchKey, SourceError, SourceErrorKind, WebSeedKey};
use std::collections::VecDeque;
use std::time::Duration;

impl PeerSite {
    pub(super) fn begin_fetch(
        &mut self,
        seed: WebSeedKey,
        fetch: FetchKey,
        blocks: Vec<BlockRef>,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
    ) {
        let Some(setup) = self.setup.web_seeds.get(seed.0 as usize) else {
            return self.violated(|| format!("{seed:?} is nobody"));
        };
        port.later(setup.delay, SwarmLocal::Fetched { fetch: fetch.0 });
        self.record.fetches += 1;
        let asked_before = self.fetches.insert(fetch, Fetch { seed, blocks: blocks.into(), given: 0 });
        if asked_before.is_some() {
            self.violated(|| format!("{fetch:?} is ordered twice"));
        }
    }

    pub(super) fn cancel_fetch(&mut self, fetch: FetchKey) {
        self.fetches.remove(&fetch);
    }

    /// The next block of a run comes, or its end.
    pub(super) fn fetch_on(
        &mut self,
        key: FetchKey,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        events: &mut VecDeque<ProcessEvent>,
    ) {
        let Some(fetch) = self.fetches.get_mut(&key) else { return };
        let setup = self.setup.web_seeds[fetch.seed.0 as usize];
        let failure = |fault, text| {
            let error = SourceError::new(SourceErrorKind::Nonsense, text);
            FetchFailure { fault, error, retry_after: None }
        };
        let end = match setup.kind {
            WebSeedKind::IgnoringRanges => Some(Err(failure(FetchFault::Useless, "it ignores ranges"))),
            WebSeedKind::Breaking { after } if fetch.given >= after => {
                Some(Err(failure(FetchFault::Passing, "broken")))
            }
            WebSeedKind::Stalling { after } if self.record.web_seed_bytes >> 14 >= u64::from(after) => return,
            _ if fetch.blocks.is_empty() => Some(Ok(())),
            _ => None,
        };
        if let Some(result) = end {
            self.fetches.remove(&key);
            events.push_back(Event::FetchEnded { fetch: key, result }.into());
            return;
        }
        let Some(block) = fetch.blocks.pop_front() else { return };
        fetch.given += 1;
        let corrupt = setup.kind == WebSeedKind::Lying;
        let length = u64::from(block.length);
        self.received_bytes += length;
        self.record.downloaded_bytes += length;
        self.record.web_seed_bytes += length;
        let payload = Payload::new(Tag { block, corrupt }, &self.held_bytes);
        events.push_back(Event::Fetched { fetch: key, block, payload }.into());
        port.later(Duration::from_micros(length * 1_000_000 / setup.rate.max(1)), SwarmLocal::Fetched { fetch: key.0 });
    }
}
