//! What the swarm's machine orders, carried out.
//!
//! Nothing here waits: messages go into outboxes, hashing and writing to disk threads, announces and dials to tasks whose
//! answers come back as events.

use super::{MAX_PEER_NAMES, RESOLVE_TIMEOUT, ToTorrent, TorrentTask, files};
use crate::dialer;
use crate::error::SessionError;
use crate::host::ToHost;
use crate::pool::Block;
use crate::progress::TorrentEvent;
use shoal_discovery::server_number;
use shoal_metainfo::{Info, PieceLayers, Torrent};
use shoal_swarm::{
    AnnounceEvent, AnnounceReply, AnnounceRequest, DialFailure, Effect, Event, HostEvent, Notice, PeerKey, Sought,
    Source, SourceError, SourceErrorKind, TrackerKey, TrackerServer, Via,
};
use shoal_wire::Handshake;
use std::net::SocketAddr;
use std::sync::Arc;

impl TorrentTask {
    /// Carries out all that was ordered, and what the machine orders in answer to it; then wakes the writers concerned.
    pub(super) fn carry_out(&mut self) {
        while !self.out.is_empty() {
            let mut ordered = std::mem::take(&mut self.out);
            for effect in ordered.drain() {
                self.carry_out_one(effect);
            }
            // It keeps its memory for the next turn.
            self.out = ordered;
            for event in std::mem::take(&mut self.answers) {
                self.feed(event);
            }
        }
        for peer in std::mem::take(&mut self.woken) {
            if let Some(connection) = self.connections.get(&peer) {
                connection.outbox.wake();
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect<Block>) {
        match effect {
            Effect::Send { peer, message } => self.with(peer, |connection| connection.outbox.send(&message)),
            Effect::Grant { peer, block } => self.with(peer, |connection| connection.grants.grant(block)),
            Effect::Revoke { peer, block } => self.with(peer, |connection| connection.grants.revoke(block)),
            Effect::Upload { peer, block } => self.with(peer, |connection| connection.outbox.upload(block)),
            Effect::CancelUpload { peer, block } => {
                if self.connections.get(&peer).is_some_and(|connection| connection.outbox.cancel(block)) {
                    self.answers.push(Event::Uploaded { peer, block });
                }
            }
            Effect::Disconnect { peer, reason } => {
                if let Some(connection) = self.connections.get(&peer) {
                    tracing::debug!(addr = %connection.addr, reason = reason.describe(), "closing a connection");
                    connection.outbox.finish();
                    self.closing.insert(peer);
                }
            }
            Effect::Dial { addr } => self.tell_host(HostEvent::DialWanted(self.key, addr)),
            Effect::Store { piece, expected, blocks, digests } => {
                let Some(files) = self.files.clone() else { return };
                let (inbox, clock) = (self.inbox.clone(), self.shared.clock);
                self.storing += 1;
                files.queue(files::Complete { piece, expected, blocks, digests });
                self.shared.disk.run(move || {
                    files.store_queued(clock.now(), |piece, outcome| {
                        let _ = inbox.send(ToTorrent::Stored(Event::Stored { piece, outcome }));
                    });
                });
            }
            Effect::Fetch { seed, fetch, blocks } => self.fetch(seed, fetch, blocks),
            Effect::CancelFetch { fetch } => self.cancel_fetch(fetch),
            Effect::ReadLeaves { piece } => {
                let Some(files) = self.files.clone() else { return };
                let inbox = self.inbox.clone();
                self.shared.disk.run(move || {
                    let outcome = files.leaves(piece);
                    let _ = inbox.send(ToTorrent::Event(Event::LeavesRead { piece, outcome }));
                });
            }
            Effect::Metadata { bytes } => self.use_metadata(&bytes),
            Effect::Layers(layers) => {
                if let Some(files) = &self.files {
                    files.know_layers(layers.clone());
                    self.keep(Torrent::new(files.info.clone(), layers));
                }
            }
            Effect::Announce { tracker, request } => self.want_announce(tracker, request),
            Effect::Seek { via: Via::Dht, announce, hurry } => self.seek_in_dht(announce, hurry),
            Effect::Seek { via: Via::Lan, announce, .. } => self.announce_on_lan(announce),
            Effect::DhtNode { addr } => {
                if let Some(dht) = &self.shared.dht {
                    dht.add_node(addr.ip().to_string(), addr.port());
                }
            }
            Effect::Demand(demand) => self.tell_host(HostEvent::Demand(self.key, demand)),
            Effect::Notice(notice) => self.notice(notice),
        }
    }

    fn with(&mut self, peer: PeerKey, act: impl FnOnce(&mut crate::peer::Connection)) {
        // A connection that is gone has been reported, or will be next.
        if let Some(connection) = self.connections.get_mut(&peer) {
            act(connection);
            self.woken.insert(peer);
        }
    }

    pub(super) fn tell_host(&self, event: HostEvent) {
        // The host outlives the torrents.
        let _ = self.shared.host.send(ToHost::Event(event));
    }

    /// What we say first on a connection, or answer.
    pub(super) fn handshake(&self, info_hash: [u8; 20]) -> Handshake {
        let dht = self.shared.dht.is_some() && !self.is_private;
        Handshake::new(info_hash, self.shared.peer_id, self.hashes.v2.is_some(), dht)
    }

    pub(super) fn dial(&mut self, addr: SocketAddr) {
        // It waited for its turn, and the torrent may have turned out to be private meanwhile.
        if !self.swarm.wants_dial(addr) {
            self.tell_host(HostEvent::DialEnded(self.key));
            return self.feed(Event::DialFailed { addr, failure: DialFailure::Broke });
        }
        let mine = self.handshake(self.hashes.wire());
        let ours: Vec<[u8; 20]> = self.hashes.all_wire().collect();
        let (inbox, shared) = (self.inbox.clone(), self.shared.clone());
        self.requests.spawn(async move {
            let dialed = dialer::dial(addr, &shared.config, mine, &ours).await;
            let _ = inbox.send(ToTorrent::Dialed(addr, dialed.map(Box::new)));
        });
    }

    /// Asks the host when this may go out.
    fn want_announce(&mut self, tracker: TrackerKey, request: AnnounceRequest) {
        let server = TrackerServer(server_number(&request.url));
        let last = request.event == AnnounceEvent::Stopped;
        self.announces.insert(tracker, request);
        self.tell_host(HostEvent::AnnounceWanted(self.key, tracker, server, last));
    }

    pub(super) fn announce(&mut self, tracker: TrackerKey) {
        let Some(request) = self.announces.remove(&tracker) else { return };
        let (inbox, shared) = (self.inbox.clone(), self.shared.clone());
        let hashes: Vec<[u8; 20]> = self.hashes.all_wire().collect();
        let typed = self.typed_trackers.contains(&request.url);
        let reports = self.report.events();
        self.requests.spawn(async move {
            let url = request.url.clone();
            let result = shared.trackers.announce(&request, &hashes, typed).await;
            match &result {
                Ok(reply) => {
                    if let Some(warning) = reply.warning.clone() {
                        reports.send(TorrentEvent::TrackerWarning { url, warning });
                    }
                }
                Err(error) => reports.send(TorrentEvent::TrackerError { url, reason: error.to_string() }),
            }
            let result = result.map_err(|error| SourceError::from(&error));
            let _ = inbox.send(ToTorrent::Announced(tracker, result));
        });
    }

    pub(super) fn announced(&mut self, tracker: TrackerKey, result: Result<AnnounceReply, SourceError>) {
        let answered = result.as_ref().map_or_else(|error| error.kind.is_answer(), |_| true);
        self.tell_host(HostEvent::AnnounceEnded(self.key, tracker, answered));
        self.feed(Event::Announced { tracker, result });
    }

    /// The host says no: the tracker's server answered none of several announces a moment ago.
    pub(super) fn not_announced(&mut self, tracker: TrackerKey) {
        let Some(request) = self.announces.remove(&tracker) else { return };
        let reason = "it answered nobody a moment ago, so it is not asked now".to_owned();
        if request.event != AnnounceEvent::Stopped {
            self.report.event(TorrentEvent::TrackerError { url: request.url, reason: reason.clone() });
        }
        let result = Err(SourceError::new(SourceErrorKind::Silent, reason));
        self.feed(Event::Announced { tracker, result });
    }

    fn seek_in_dht(&mut self, announce: bool, hurry: bool) {
        let via = Via::Dht;
        let (inbox, shared) = (self.inbox.clone(), self.shared.clone());
        let hashes: Vec<[u8; 20]> = self.hashes.all_wire().collect();
        self.requests.spawn(async move {
            let found = |addrs| {
                let _ = inbox.send(ToTorrent::Event(Event::Found { source: Source::Dht, addrs }));
            };
            let result = match &shared.dht {
                Some(dht) => dht.seek(&hashes, announce.then_some(shared.port), hurry, &found).await,
                None => Err(SourceError::new(SourceErrorKind::Unusable, "not in use")),
            };
            if let Err(error) = &result {
                tracing::debug!(%error, "the DHT gave nothing");
            }
            let _ = inbox.send(ToTorrent::Event(Event::Sought { via, result }));
        });
    }

    fn use_metadata(&mut self, bytes: &[u8]) {
        let info = match Info::parse(bytes) {
            Ok((info, _)) => Arc::new(info),
            Err(error) => return self.fail(SessionError::Metadata(error)),
        };
        let layers = PieceLayers::empty(&info);
        self.keep(Torrent::new(info.clone(), layers.clone()));
        // A link may carry only one of a hybrid's hashes; what it fetched says both.
        self.hashes = info.hashes();
        for hash in self.hashes.all_wire() {
            self.registered.also(hash, &self.inbox);
        }
        if info.private() {
            self.withdraw_from_lan();
        }
        self.open_files(info, layers);
    }

    /// Who announces the torrent there is told to us by itself, so to look is to listen.
    fn announce_on_lan(&mut self, announce: bool) {
        let Some(lan) = &self.shared.lan else { return };
        let announced = if announce { lan.announce(self.hashes.all_wire().collect()) } else { 0 };
        let result = Ok(Sought { announced, ..Sought::default() });
        self.answers.push(Event::Sought { via: Via::Lan, result });
    }

    /// Says no more on the local network that we have the torrent.
    pub(super) fn withdraw_from_lan(&self) {
        if let Some(lan) = &self.shared.lan {
            lan.withdraw(self.hashes.all_wire().collect());
        }
    }

    /// Keeps what peers told of the torrent for later runs.
    fn keep(&self, torrent: Torrent) {
        if let Some(state_dir) = self.shared.config.state_dir.clone() {
            let (files, hashes) = (self.place(), torrent.info.hashes());
            self.shared.disk.run(move || files::keep_torrent(&state_dir, &files, &torrent, &hashes));
        }
    }

    /// Resolves names of peers; all at once, each within a bounded time.
    pub(super) fn look_up(&mut self, source: Source, names: Vec<(String, u16)>) {
        for (host, port) in names.into_iter().take(MAX_PEER_NAMES) {
            let inbox = self.inbox.clone();
            self.requests.spawn(async move {
                let looked_up = tokio::net::lookup_host((host.clone(), port));
                let addrs = match tokio::time::timeout(RESOLVE_TIMEOUT, looked_up).await {
                    Ok(Ok(found)) => found.collect(),
                    Ok(Err(error)) => {
                        tracing::warn!(host, %error, "cannot resolve a peer's name");
                        return drop(inbox.send(ToTorrent::Unresolved(host)));
                    }
                    Err(_) => {
                        tracing::warn!(host, "no answer for a peer's name");
                        return drop(inbox.send(ToTorrent::Unresolved(host)));
                    }
                };
                let _ = inbox.send(ToTorrent::Event(Event::Found { source, addrs }));
            });
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Piece(piece) => self.report.event(TorrentEvent::Piece(piece)),
            Notice::Complete => self.finish_files(),
            Notice::Banned { addr, reason } => {
                self.report.event(TorrentEvent::Banned { addr, reason: reason.describe().to_owned() });
            }
            Notice::WebSeed { seed, outcome, error } => self.web_seed_trouble(seed, outcome, error.text),
            Notice::DiskTrouble { reason } => self.report.disk_trouble(reason),
            Notice::DiskRecovered => self.report.disk_recovered(),
            Notice::Stopped => self.stopped = true,
        }
    }

    /// Gives the files of a complete download their last form; only then it is reported complete.
    pub(super) fn finish_files(&mut self) {
        let Some(files) = self.files.clone() else { return };
        let (inbox, clock) = (self.inbox.clone(), self.shared.clock);
        self.finishing = true;
        self.shared.disk.run(move || {
            // First: nothing is complete that is not synced.
            let flushed = files.flush(clock.now(), true);
            let synced = flushed.lost.is_empty() && !flushed.failing;
            let finished = if synced { files.finish() } else { Ok(()) };
            let _ = inbox.send(ToTorrent::Finished(flushed, finished));
        });
    }

    /// Lets a disk thread write the journal when it is due; one at a time.
    pub(super) fn flush_if_due(&mut self) {
        let now = self.shared.clock.now();
        let due = |files: &files::TorrentFiles| files.deadline().is_some_and(|at| at <= now);
        let Some(files) = self.files.clone().filter(|files| !self.flushing && due(files)) else { return };
        self.flushing = true;
        let inbox = self.inbox.clone();
        self.shared.disk.run(move || {
            let _ = inbox.send(ToTorrent::Flushed(files.flush(now, false)));
        });
    }
}
