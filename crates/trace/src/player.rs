//! Running a machine again.
//!
//! A fresh machine is given the trace's events at their times. After each event the digest of all that it ordered until then
//! must be what the trace has; the first that differs is told with the event and both kinds of effects.

use crate::effect::{self, KINDS};
use crate::head::Head;
use crate::reader::{Answer, Entry};
use crate::recorder::short;
use shoal_machine::{Digest, Effects, Machine, Time};
use shoal_swarm::{Effect, Situation, Surroundings, Swarm, SwarmProgress};
use std::fmt;
use std::hash::Hasher;

/// Where a machine ordered something else than the trace has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The event's number, from 1.
    pub event: u64,
    /// When.
    pub at: Time,
    /// What kinds of effects the trace has.
    pub recorded: Vec<&'static str>,
    /// And what the machine ordered now.
    pub replayed: Vec<&'static str>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (recorded, replayed) = (listed(&self.recorded), listed(&self.replayed));
        if recorded == replayed {
            // The kinds are the same, so it is in what they say.
            write!(f, "{recorded}, but of or to others, or with other numbers")
        } else {
            write!(f, "recorded {recorded}; now {replayed}")
        }
    }
}

/// Kinds, with those that repeat counted.
fn listed(kinds: &[&str]) -> String {
    let mut parts: Vec<(&str, usize)> = Vec::new();
    for kind in kinds {
        match parts.last_mut() {
            Some((last, count)) if last == kind => *count += 1,
            _ => parts.push((kind, 1)),
        }
    }
    let texts =
        parts.iter().map(|(kind, count)| if *count > 1 { format!("{count} {kind}") } else { (*kind).to_owned() });
    let text = texts.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "nothing".to_owned() } else { text }
}

/// A machine that runs again.
#[derive(Debug)]
pub struct Player {
    swarm: Swarm<()>,
    surroundings: Surroundings,
    ordered: Effects<Effect<()>>,
    effects: Vec<Effect<()>>,
    digest: Digest,
    events: u64,
    all_effects: u64,
    scratch: Vec<u8>,
}

impl Player {
    /// The machine as it began.
    pub fn new(head: &Head) -> Player {
        Player {
            swarm: head.machine(),
            surroundings: head.surroundings(),
            ordered: Effects::new(),
            effects: Vec::new(),
            digest: Digest::new(),
            events: 0,
            all_effects: 0,
            scratch: Vec::new(),
        }
    }

    /// Feeds one event; what it ordered is in [`Player::effects`], also where it differs. An event that the recorded program
    /// did not survive differs in nothing. Panics where the machine does: a trace is of a contract that was kept, or broken.
    pub fn play(&mut self, entry: Entry) -> Result<(), Difference> {
        let Entry { at, event, answer } = entry;
        self.events += 1;
        self.effects.clear();
        self.swarm.handle(at, event, &mut self.ordered);
        for effect in self.ordered.drain() {
            effect::digest(&effect, &mut self.digest, &mut self.scratch);
            self.effects.push(effect);
        }
        self.all_effects += self.effects.len() as u64;
        let kinds: Vec<u8> = self.effects.iter().map(effect::kind).collect();
        let given = Answer { kinds, digest: short(&self.digest) };
        match answer {
            Some(recorded) if recorded != given => Err(Difference {
                event: self.events,
                at,
                recorded: names(&recorded.kinds),
                replayed: names(&given.kinds),
            }),
            _ => Ok(()),
        }
    }

    /// What the last event gave.
    pub fn effects(&self) -> &[Effect<()>] {
        &self.effects
    }

    /// Events that were played.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Effects that they gave.
    pub fn all_effects(&self) -> u64 {
        self.all_effects
    }

    /// Of all effects until now.
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// How far the machine is.
    pub fn progress(&self) -> SwarmProgress {
        self.swarm.progress()
    }

    /// When something last moved.
    pub fn moved(&self) -> Time {
        self.swarm.moved()
    }

    /// What keeps it from moving, as far as the machine knows; `disk` is what the disk said if it refuses.
    pub fn situation(&self, disk: Option<&str>) -> Situation {
        self.swarm.situation(&Surroundings { disk: disk.map(str::to_owned), ..self.surroundings.clone() })
    }
}

/// The names of kinds; what no program knows is told as such.
fn names(kinds: &[u8]) -> Vec<&'static str> {
    kinds.iter().map(|&kind| KINDS.get(usize::from(kind)).copied().unwrap_or("something unknown")).collect()
}
