//! End-to-end tests: the binary as a user and a script meet it, and other people's clients on the other end.
//!
//! Run by `cargo test --workspace`. Tests with other clients need root, `unshare`, `ip` and the client; without them they say
//! so and pass, unless `SHOAL_TEST_REQUIRE_CLIENTS=1` (as in CI). All traffic stays in a network namespace with loopback only.

#[cfg(test)]
mod commands;
#[cfg(test)]
mod dht;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fetch;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod hashing;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod interop;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod lan;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod mapping;
#[cfg(test)]
mod names;
#[cfg(test)]
mod pex;
#[cfg(test)]
mod poison;
#[cfg(test)]
mod private;
#[cfg(test)]
mod stuck;
#[cfg(test)]
mod support;
#[cfg(test)]
mod trace;
#[cfg(test)]
mod trackers;
#[cfg(test)]
mod transfer;
#[cfg(test)]
mod web_seeds;
