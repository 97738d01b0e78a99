//! The test harness itself, shown right on clients that are not ours: when these fail, look here before at shoal.

use crate::interop::{By, there_and_back};
use crate::support::clients::Client;

#[test]
fn libtorrent_and_transmission_exchange_a_tree() {
    there_and_back(Client::Libtorrent, Client::Transmission, "v1", By::File);
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
