//! The task that owns the process's `Host` machine: rates, upload slots, dials and connections of all torrents.
//!
//! Torrents tell it what they want; it tells them what they may. Its queue is bounded by what torrents order: a demand when
//! it changes, the dials that a swarm lets be under way, one event for each connection that opens or closes.

use crate::clock::Clock;
use crate::torrent::ToTorrent;
use shoal_machine::{Effects, Machine};
use shoal_swarm::{Event, Host, HostConfig, HostEffect, HostEvent, SwarmKey};
use std::collections::BTreeMap;
use tokio::sync::{mpsc, watch};

/// What torrents and the session tell the host.
pub(crate) enum ToHost {
    /// A torrent's machine runs now; this is where it is told.
    Joined(SwarmKey, mpsc::UnboundedSender<ToTorrent>),
    /// Anything else; `Left` is the last of a torrent.
    Event(HostEvent),
    /// The session ends.
    Stop,
}

/// The host's task.
pub(crate) struct HostTask {
    host: Host,
    clock: Clock,
    torrents: BTreeMap<SwarmKey, mpsc::UnboundedSender<ToTorrent>>,
    accepting: watch::Sender<bool>,
}

impl HostTask {
    /// `accepting` is what the listeners look at.
    pub(crate) fn new(config: HostConfig, clock: Clock, accepting: watch::Sender<bool>) -> HostTask {
        HostTask { host: Host::new(config), clock, torrents: BTreeMap::new(), accepting }
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self, mut told: mpsc::UnboundedReceiver<ToHost>) {
        let mut out = Effects::new();
        loop {
            let event = tokio::select! {
                told = told.recv() => match told {
                    Some(ToHost::Joined(swarm, inbox)) => {
                        self.torrents.insert(swarm, inbox);
                        HostEvent::Joined(swarm)
                    }
                    Some(ToHost::Event(event)) => {
                        if let HostEvent::Left(swarm) = event {
                            self.torrents.remove(&swarm);
                        }
                        event
                    }
                    Some(ToHost::Stop) | None => return,
                },
                () = tokio::time::sleep_until(self.clock.instant(self.host.deadline())) => HostEvent::Wake,
            };
            self.host.handle(self.clock.now(), event, &mut out);
            for effect in out.drain() {
                self.carry_out(effect);
            }
        }
    }

    fn carry_out(&self, effect: HostEffect) {
        let (swarm, told) = match effect {
            HostEffect::Credit(swarm, credit) => (swarm, ToTorrent::Event(Event::Credit(credit))),
            HostEffect::UploadSlots(swarm, slots) => (swarm, ToTorrent::Event(Event::UploadSlots(slots))),
            HostEffect::Dial(swarm, addr) => (swarm, ToTorrent::Dial(addr)),
            HostEffect::Announce(swarm, tracker) => (swarm, ToTorrent::Announce(tracker)),
            HostEffect::NotAnnounced(swarm, tracker) => (swarm, ToTorrent::NotAnnounced(tracker)),
            HostEffect::Accepting(accepting) => {
                self.accepting.send_replace(accepting);
                return;
            }
        };
        if let Some(torrent) = self.torrents.get(&swarm) {
            // An error means that it is ending; `Left` follows.
            let _ = torrent.send(told);
        }
    }
}
