//! A torrent's fetches from web seeds, as tasks.
//!
//! Invariant: a fetch that the machine ended, or that reported its end, has no task.

use super::TorrentTask;
use crate::fetch::Fetch;
use crate::pool::Block;
use crate::progress::TorrentEvent;
use shoal_discovery::networks::Named;
use shoal_discovery::web_seed::WebSeed;
use shoal_layout::BlockRef;
use shoal_swarm::{
    Event, FetchFailure, FetchFault, FetchKey, SourceError, SourceErrorKind, WebSeedKey, WebSeedOutcome,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;

/// What a torrent's task keeps of its web seeds.
#[derive(Default)]
pub(crate) struct WebSeeds {
    /// In the order of the machine's configuration.
    urls: Vec<String>,
    /// Those that were asked before, with their connections.
    seeds: BTreeMap<WebSeedKey, Arc<WebSeed>>,
    running: BTreeMap<FetchKey, Running>,
}

/// A fetch under way, and its right to a connection.
struct Running {
    task: AbortHandle,
    _permit: OwnedSemaphorePermit,
}

impl WebSeeds {
    pub(super) fn new(urls: Vec<String>) -> WebSeeds {
        WebSeeds { urls, ..WebSeeds::default() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TorrentTask {
    pub(super) fn fetch(&mut self, seed: WebSeedKey, key: FetchKey, blocks: Vec<BlockRef>) {
        let permit = self.shared.web_connections.clone().try_acquire_owned();
        let (Some(files), Some(url), Ok(permit)) = (&self.files, self.web_seeds.urls.get(seed.0 as usize), permit)
        else {
            let error = SourceError::new(SourceErrorKind::Refusal, "too many connections to web seeds are open");
            let failure = FetchFailure { fault: FetchFault::Busy, error, retry_after: None };
            return self.answers.push(Event::FetchEnded { fetch: key, result: Err(failure) });
        };
        let info = files.info.clone();
        let http = &self.shared.http;
        let open = || WebSeed::new(http, url, Named::ByTorrent, info.clone());
        let seed = self.web_seeds.seeds.entry(seed).or_insert_with(open).clone();
        let fetch = Fetch { key, seed, info: info.clone(), blocks };
        let task = self.requests.spawn(fetch.run(self.shared.pool.clone(), self.ports.batches.clone()));
        self.web_seeds.running.insert(key, Running { task, _permit: permit });
    }

    pub(super) fn cancel_fetch(&mut self, key: FetchKey) {
        self.web_seeds.running.remove(&key);
    }

    pub(super) fn fetched(&mut self, events: Vec<Event<Block>>) {
        for event in events {
            if let Event::FetchEnded { fetch, .. } = &event {
                self.web_seeds.running.remove(fetch);
            }
            self.feed(event);
        }
    }

    pub(super) fn web_seed_trouble(&self, seed: WebSeedKey, outcome: WebSeedOutcome, reason: String) {
        let Some(url) = self.web_seeds.urls.get(seed.0 as usize).cloned() else { return };
        tracing::debug!(url, ?outcome, reason, "web seed");
        self.report.event(TorrentEvent::WebSeedTrouble { url, outcome, reason });
    }
}
