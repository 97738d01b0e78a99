//! Sessions against each other, against hand-made peers and trackers, on loopback with ports that the system gives.

#[cfg(test)]
mod fake_peer;
#[cfg(test)]
mod fake_tracker;
#[cfg(test)]
mod fake_web;
#[cfg(test)]
mod made;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod rates;
#[cfg(test)]
mod trackers;
#[cfg(test)]
mod transfer;
#[cfg(test)]
mod web_seeds;
