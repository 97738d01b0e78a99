//! Sessions against each other, against hand-made peers and trackers, on loopback with ports that the system gives.

mod fake_peer;
mod fake_tracker;
mod made;
mod peers;
mod rates;
mod trackers;
mod transfer;
