//! What stands at the beginning of a trace: all that the machine is told once.

use crate::field::fields;
use shoal_machine::Rng;
use shoal_swarm::{Surroundings, Swarm, SwarmConfig};

/// How a machine began.
#[derive(Debug, Clone)]
pub struct Head {
    /// The program's version.
    pub version: String,
    /// The seed of the machine's [`Rng`].
    pub seed: u64,
    /// Whether the info dictionary was known from the start.
    pub has_info: bool,
    /// The configuration. As a trace has it, without the secrets of its URLs.
    pub config: SwarmConfig,
    /// The user keeps it on the local network.
    pub lan_only: bool,
    /// The download limit, bytes a second; for the report.
    pub down_limit: Option<u64>,
}

fields! { Head { version, seed, has_info, config, lan_only, down_limit } }

impl Head {
    /// How a machine begins in this program.
    pub fn new(config: &SwarmConfig, has_info: bool, rng: &Rng) -> Head {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Head { version, seed: rng.seed(), has_info, config: config.clone(), lan_only: false, down_limit: None }
    }

    /// The machine as it began.
    pub(crate) fn machine(&self) -> Swarm<()> {
        Swarm::new(self.config.clone(), self.has_info, Rng::new(self.seed))
    }

    /// What the driver knew.
    pub(crate) fn surroundings(&self) -> Surroundings {
        Surroundings { lan_only: self.lan_only, down_limit: self.down_limit, ..Surroundings::default() }
    }
}
