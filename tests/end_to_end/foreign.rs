//! The test harness itself, shown right on clients that are not ours: when these fail, look here before at shoal.

use crate::interop::{By, again_if, there_and_back};
use crate::support::clients::Client;

#[test]
fn libtorrent_and_transmission_exchange_a_tree() {
    // Once Transmission 3.00 announced itself for 90 s and fetched nothing from libtorrent; no program of ours takes part.
    let run = || there_and_back(Client::Libtorrent, Client::Transmission, "v1", By::File);
    again_if(|message| message.contains("never came"), run);
}

#[test]
fn libtorrent_and_aria2_exchange_a_tree_by_magnet() {
    there_and_back(Client::Libtorrent, Client::Aria2, "v1", By::Magnet);
}

#[test]
fn libtorrent_exchanges_a_hybrid_tree_with_itself() {
    there_and_back(Client::Libtorrent, Client::Libtorrent, "hybrid", By::File);
}

#[test]
fn libtorrent_exchanges_a_v2_tree_with_itself_by_magnet() {
    there_and_back(Client::Libtorrent, Client::Libtorrent, "v2", By::Magnet);
}
