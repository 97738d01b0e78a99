//! The deterministic driver: machines over virtual links in virtual time.
//!
//! The other driver of the product's machines. [`Simulation`] holds nodes and what happens next; a [`Node`] is anything that
//! sees happenings and acts through its [`Port`], and [`MachineNode`] makes one of any `shoal_machine::Machine`. The module
//! [`swarm`] does so for the product's swarm, with virtual disks, trackers and rogues, and a small language for scenarios.
//! [`faults`] runs swarms in which everything goes wrong, from a seed.
//! [`Sectors`] is a disk under a download's journal that loses what was not synced.
//!
//! Invariant: a run is a function of its seed and its setup. Nothing here knows a thread, a clock or an address.

pub mod experiment;
pub mod faults;
mod link;
mod links;
mod net;
mod node;
mod queue;
mod sectors;
mod simulation;
pub mod swarm;
mod tcp;

pub use link::{Access, Path};
pub use net::{NodeId, Port};
pub use node::{Happening, LinkId, MachineNode, MachineScratch, Node, Packet, Surroundings};
pub use sectors::{Loss, SECTOR_BYTES, Sectors};
pub use shoal_machine::Digest;
pub use simulation::{Simulation, Violation};
