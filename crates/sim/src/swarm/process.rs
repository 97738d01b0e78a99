//! A process as one machine: the host, and the swarm of its one torrent.
//!
//! The session keeps the two apart on tasks of their own; here each hears of the other through the driver too, so that no
//! decision passes any other way than it does there.

use super::content::Payload;
use super::referee::Referee;
use shoal_machine::{Effects, Machine, Time, Wake};
use shoal_swarm::{Effect, Event, Host, HostEffect, HostEvent, Swarm, SwarmKey};
use shoal_trace::Recorder;
use std::cell::Cell;
use std::collections::VecDeque;

/// The one swarm's number.
pub(super) const SWARM: SwarmKey = SwarmKey(0);

/// Lines of a log, at most.
const MAX_LOG: usize = 20_000;

fn note(log: &mut VecDeque<String>, line: String) {
    if log.len() >= MAX_LOG {
        log.pop_front();
    }
    log.push_back(line);
}

/// A host and a swarm.
#[derive(Debug)]
pub struct Process {
    /// What decides for the process.
    pub host: Host,
    /// What decides for the torrent.
    pub swarm: Swarm<Payload>,
    /// Who watches the swarm, where somebody does.
    pub(super) referee: Option<Box<Referee>>,
    /// What the swarm was told and ordered last, where somebody wants to read it.
    pub(super) log: Option<VecDeque<String>>,
    /// The swarm's trace, where somebody wants one.
    pub(super) recorder: Option<Box<Recorder<Payload>>>,
}

/// What the two ordered, on its way out: one for all processes of a thread, as [`Node::Scratch`](crate::Node::Scratch).
#[derive(Default)]
struct Ordered {
    swarm: Effects<Effect<Payload>>,
    host: Effects<HostEffect>,
}

thread_local! {
    static ORDERED: Cell<Ordered> = Cell::default();
}

/// What happened, for one of the two or both.
#[derive(Debug)]
pub enum ProcessEvent {
    /// A deadline came.
    Wake,
    /// For the swarm.
    Swarm(Event<Payload>),
    /// For the host.
    Host(HostEvent),
}

/// What one of the two orders.
#[derive(Debug)]
pub enum ProcessEffect {
    /// The swarm.
    Swarm(Effect<Payload>),
    /// The host.
    Host(HostEffect),
}

impl Process {
    /// The two, at their start.
    pub(super) fn new(host: Host, swarm: Swarm<Payload>, referee: Option<Box<Referee>>) -> Process {
        Process { host, swarm, referee, log: None, recorder: None }
    }

    /// What the swarm was told and ordered last, oldest first; empty where nobody watches.
    pub fn log(&self) -> impl Iterator<Item = &str> {
        self.log.iter().flatten().map(String::as_str)
    }

    fn handle_swarm(&mut self, now: Time, event: Event<Payload>, out: &mut Effects<Effect<Payload>>) {
        if let Some(log) = &mut self.log {
            note(log, format!("{now:?} {event:?}"));
        }
        if let Some(referee) = &mut self.referee {
            referee.event(now, &event);
        }
        match &mut self.recorder {
            Some(recorder) => recorder.handle(&mut self.swarm, now, event, out),
            None => self.swarm.handle(now, event, out),
        }
    }
}

impl From<Wake> for ProcessEvent {
    fn from(_: Wake) -> Self {
        ProcessEvent::Wake
    }
}

impl From<Event<Payload>> for ProcessEvent {
    fn from(event: Event<Payload>) -> Self {
        ProcessEvent::Swarm(event)
    }
}

impl From<HostEvent> for ProcessEvent {
    fn from(event: HostEvent) -> Self {
        ProcessEvent::Host(event)
    }
}

impl Machine for Process {
    type Event = ProcessEvent;
    type Effect = ProcessEffect;

    fn handle(&mut self, now: Time, event: ProcessEvent, out: &mut Effects<ProcessEffect>) {
        let mut ordered = ORDERED.take();
        match event {
            ProcessEvent::Wake => {
                let is_due = |deadline: Option<Time>| deadline.is_some_and(|deadline| deadline <= now);
                if is_due(self.host.deadline()) {
                    self.host.handle(now, HostEvent::Wake, &mut ordered.host);
                }
                if is_due(self.swarm.deadline()) {
                    self.handle_swarm(now, Event::Wake, &mut ordered.swarm);
                }
            }
            ProcessEvent::Swarm(event) => self.handle_swarm(now, event, &mut ordered.swarm),
            ProcessEvent::Host(event) => self.host.handle(now, event, &mut ordered.host),
        }
        ordered.host.drain().for_each(|effect| out.push(ProcessEffect::Host(effect)));
        for effect in ordered.swarm.drain() {
            if let Some(referee) = &mut self.referee {
                referee.effect(&effect);
            }
            if let Some(log) = &mut self.log {
                note(log, format!("    {effect:?}"));
            }
            out.push(ProcessEffect::Swarm(effect));
        }
        if let Some(referee) = &mut self.referee {
            referee.settle();
        }
        ORDERED.set(ordered);
    }

    fn deadline(&self) -> Option<Time> {
        [self.host.deadline(), self.swarm.deadline()].into_iter().flatten().min()
    }
}
