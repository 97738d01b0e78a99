//! What stands at a place in the simulated network, and how a machine stands there.
//!
//! A [`Node`] sees [`Happening`]s and acts through its [`Port`]: it knows nothing else of the world, so what a peer knows
//! is what messages told it. [`MachineNode`] makes one out of any [`Machine`] and its [`Surroundings`], which say what
//! happenings mean to the machine and carry out its effects.

use crate::{NodeId, Port};
use shoal_machine::{Effects, Machine, Time, Wake};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::hash::Hash;

/// A connection's name: who opened it, and his count. Both ends call it by this name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId {
    /// The node that opened it.
    pub dialer: NodeId,
    /// Counts the dialer's links.
    pub number: u32,
}

/// What travels. `Hash` is what goes into the trace's digest.
pub trait Packet: Hash + Debug {
    /// Bytes on the wire.
    fn wire_bytes(&self) -> u64;

    /// The path damages the payload, if there is one.
    fn corrupt(&mut self) {}
}

/// What a node gets to know. `P` travels between nodes; `L` is what the node put aside for later.
#[derive(Debug, Hash)]
pub enum Happening<P, L> {
    /// The node's process starts, for the first time or again.
    Started,
    /// The node's process is killed; its links are gone. It sees nothing until `Started`.
    Stopped,
    /// Somebody opened a link to here.
    Opened {
        /// The new link.
        link: LinkId,
        /// By whom.
        from: NodeId,
    },
    /// A link that we opened stands.
    Connected {
        /// Which.
        link: LinkId,
    },
    /// A link that we opened came to nothing.
    Refused {
        /// Which.
        link: LinkId,
    },
    /// A link ended, by whomever. Comes once for each that stood.
    Closed {
        /// Which.
        link: LinkId,
    },
    /// Something arrived over a link.
    Packet {
        /// Which link.
        link: LinkId,
        /// What.
        packet: P,
    },
    /// Something arrived without a link.
    Datagram {
        /// From whom.
        from: NodeId,
        /// What.
        packet: P,
    },
    /// A packet that was sent with a token left.
    Sent {
        /// Over which link.
        link: LinkId,
        /// Its token.
        token: u64,
    },
    /// What the node put aside is due.
    Local(L),
    /// The node's deadline came.
    Wake,
}

/// What stands at a place in the network.
pub trait Node {
    /// What travels.
    type Packet: Packet;
    /// What the node can put aside for later: answers of its own disk, timers of its surroundings.
    type Local: Hash + Debug;
    /// Room to work in, empty before and after: one for all nodes. With room of their own a tenth of their memory was that.
    type Scratch: Default;

    /// Sees something happen.
    fn handle(
        &mut self,
        now: Time,
        happening: Happening<Self::Packet, Self::Local>,
        port: &mut Port<'_, Self::Packet, Self::Local>,
        scratch: &mut Self::Scratch,
    );

    /// When to see a [`Happening::Wake`] if nothing else happens first.
    fn deadline(&self) -> Option<Time>;

    /// What must hold after every happening; says what does not.
    fn check(&self, now: Time) -> Result<(), String> {
        let _ = now;
        Ok(())
    }
}

/// What is around a machine: between happenings and its events, between its effects and the network.
pub trait Surroundings {
    /// The machine that stands here.
    type Machine: Machine;
    /// What travels.
    type Packet: Packet;
    /// What can be put aside for later.
    type Local: Hash + Debug;

    /// The process starts: makes the machine as it begins, and what it is told first.
    fn boot(&mut self, now: Time, events: &mut VecDeque<<Self::Machine as Machine>::Event>) -> Self::Machine;

    /// Says what a happening means to the machine, if anything. `Started` and `Wake` do not come here.
    fn see(
        &mut self,
        now: Time,
        happening: Happening<Self::Packet, Self::Local>,
        port: &mut Port<'_, Self::Packet, Self::Local>,
        events: &mut VecDeque<<Self::Machine as Machine>::Event>,
    );

    /// Carries out an effect. What the machine learns from it at once goes to `events`.
    fn carry_out(
        &mut self,
        now: Time,
        effect: <Self::Machine as Machine>::Effect,
        port: &mut Port<'_, Self::Packet, Self::Local>,
        events: &mut VecDeque<<Self::Machine as Machine>::Event>,
    );

    /// What must hold after every happening; says what does not.
    fn check(&self, now: Time, machine: &Self::Machine) -> Result<(), String> {
        let _ = (now, machine);
        Ok(())
    }
}

/// Events that one happening may lead to, at most: more is a machine that talks to itself. Chosen.
const MAX_EVENTS_PER_HAPPENING: u32 = 100_000;

/// A machine and its surroundings, as a node.
pub struct MachineNode<S: Surroundings> {
    machine: Option<S::Machine>,
    surroundings: S,
}

/// What a machine is still to be told within a happening, and what it ordered.
pub struct MachineScratch<M: Machine> {
    events: VecDeque<M::Event>,
    effects: Effects<M::Effect>,
}

impl<M: Machine> Default for MachineScratch<M> {
    fn default() -> Self {
        MachineScratch { events: VecDeque::new(), effects: Effects::new() }
    }
}

impl<S: Surroundings> MachineNode<S> {
    /// A node that boots its machine when it is started.
    pub fn new(surroundings: S) -> Self {
        MachineNode { machine: None, surroundings }
    }

    /// The machine, while the process runs.
    pub fn machine(&self) -> Option<&S::Machine> {
        self.machine.as_ref()
    }

    /// The machine of a process that runs, to look into it.
    pub(crate) fn machine_mut(&mut self) -> Option<&mut S::Machine> {
        self.machine.as_mut()
    }

    /// What is around it.
    pub fn surroundings(&self) -> &S {
        &self.surroundings
    }

    /// What is around it, to change it between two runs.
    pub fn surroundings_mut(&mut self) -> &mut S {
        &mut self.surroundings
    }
}

impl<S: Surroundings> Node for MachineNode<S> {
    type Packet = S::Packet;
    type Local = S::Local;
    type Scratch = MachineScratch<S::Machine>;

    fn handle(
        &mut self,
        now: Time,
        happening: Happening<S::Packet, S::Local>,
        port: &mut Port<'_, S::Packet, S::Local>,
        MachineScratch { events, effects }: &mut Self::Scratch,
    ) {
        let MachineNode { machine, surroundings } = self;
        match happening {
            Happening::Started => *machine = Some(surroundings.boot(now, events)),
            Happening::Stopped => {
                surroundings.see(now, Happening::Stopped, port, events);
                events.clear();
                *machine = None;
            }
            Happening::Wake => events.push_back(Wake.into()),
            other => surroundings.see(now, other, port, events),
        }
        let Some(machine) = machine else { return events.clear() };
        let mut handled = 0;
        while let Some(event) = events.pop_front() {
            handled += 1;
            assert!(handled < MAX_EVENTS_PER_HAPPENING, "the machine at {:?} talks to itself without end", port.id());
            machine.handle(now, event, effects);
            for effect in effects.drain() {
                surroundings.carry_out(now, effect, port, events);
            }
        }
    }

    fn deadline(&self) -> Option<Time> {
        self.machine.as_ref()?.deadline()
    }

    fn check(&self, now: Time) -> Result<(), String> {
        match &self.machine {
            Some(machine) => self.surroundings.check(now, machine),
            None => Ok(()),
        }
    }
}
