//! Fetching the info dictionary from peers, and serving it (BEP 9).
//!
//! A part of the dictionary cannot be checked alone, only the whole. So every peer that offers it is asked for a whole
//! copy of its own, a few peers beside each other, and the first copy with the right hash wins: whoever gives a wrong
//! one has told on itself. Memory follows what was received, never what was claimed. Invariants: at most [`RACERS`] copies are
//! being fetched; a copy is at most [`MAX_METADATA`] bytes; a peer that gave a wrong copy is reported once.

use crate::event::PeerKey;
use shoal_machine::Time;
use shoal_metainfo::InfoHashes;
use shoal_wire::MetadataMessage;
use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes in a part (BEP 9).
const PART: u64 = 16 * 1024;
/// Bytes in an info dictionary, at most (reliability.md A10).
pub(crate) const MAX_METADATA: u64 = 48 << 20;
/// Copies fetched beside each other. Chosen: one mute and one lying peer do not hold up an honest third.
const RACERS: usize = 3;
/// Parts asked for at once of one peer. Chosen: libtorrent serves a few at a time and drops floods.
const PIPELINE: usize = 4;
/// Chosen: a peer that sent nothing for so long gives its turn to another.
const PATIENCE: Duration = Duration::from_secs(8);
/// Chosen: so long a peer that refused or kept silent is passed over.
const REST: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Offer {
    size: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Resting(Time),
    Fetching(Copy),
}

#[derive(Debug)]
struct Copy {
    parts: BTreeMap<u32, Vec<u8>>,
    asked: Vec<u32>,
    next: u32,
    last_heard: Time,
}

/// What a message about metadata led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// Nothing to tell.
    Nothing,
    /// The whole dictionary, its hash checked.
    Whole(Vec<u8>),
    /// This peer's copy was complete and wrong.
    Wrong,
}

/// The fetching side.
#[derive(Debug)]
pub(crate) struct MetadataFetch {
    hashes: InfoHashes,
    offers: BTreeMap<PeerKey, Offer>,
}

impl MetadataFetch {
    pub(crate) fn new(hashes: InfoHashes) -> MetadataFetch {
        MetadataFetch { hashes, offers: BTreeMap::new() }
    }

    /// A peer says that it speaks metadata exchange and how long the dictionary is. False if the size is absurd.
    pub(crate) fn offered(&mut self, now: Time, peer: PeerKey, size: u64) -> bool {
        if size == 0 || size > MAX_METADATA {
            return false;
        }
        self.offers.entry(peer).or_insert(Offer { size, state: State::Resting(now) });
        true
    }

    pub(crate) fn peer_left(&mut self, peer: PeerKey) {
        self.offers.remove(&peer);
    }

    /// How many peers offer it.
    pub(crate) fn offers(&self) -> usize {
        self.offers.len()
    }

    /// Handles a data or reject message. What was not asked for is ignored.
    pub(crate) fn received(&mut self, now: Time, peer: PeerKey, message: MetadataMessage) -> Fetched {
        let Some(offer) = self.offers.get_mut(&peer) else { return Fetched::Nothing };
        let size = offer.size;
        let State::Fetching(copy) = &mut offer.state else { return Fetched::Nothing };
        match message {
            MetadataMessage::Reject { piece } if copy.asked.contains(&piece) => {
                offer.state = State::Resting(now + REST);
            }
            MetadataMessage::Data { piece, total_size, data } => {
                let Some(place) = copy.asked.iter().position(|&asked| asked == piece) else { return Fetched::Nothing };
                let expected = (size - u64::from(piece) * PART).min(PART);
                if total_size != size || data.len() as u64 != expected {
                    offer.state = State::Resting(now + REST);
                    return Fetched::Nothing;
                }
                copy.asked.swap_remove(place);
                copy.parts.insert(piece, data);
                copy.last_heard = now;
                if copy.parts.len() as u64 == size.div_ceil(PART) {
                    let whole: Vec<u8> = std::mem::take(&mut copy.parts).into_values().flatten().collect();
                    if self.hashes.verify(&whole) {
                        return Fetched::Whole(whole);
                    }
                    self.offers.remove(&peer);
                    return Fetched::Wrong;
                }
            }
            _ => {}
        }
        Fetched::Nothing
    }

    /// Orders the requests that are due.
    pub(crate) fn poll(&mut self, now: Time, mut ask: impl FnMut(PeerKey, MetadataMessage)) {
        let mut racing = 0;
        for offer in self.offers.values_mut() {
            if let State::Fetching(copy) = &offer.state {
                if now.since(copy.last_heard) >= PATIENCE {
                    offer.state = State::Resting(now + REST);
                } else {
                    racing += 1;
                }
            }
        }
        for (&peer, offer) in &mut self.offers {
            if let State::Resting(until) = offer.state
                && until <= now
                && racing < RACERS
            {
                racing += 1;
                offer.state =
                    State::Fetching(Copy { parts: BTreeMap::new(), asked: Vec::new(), next: 0, last_heard: now });
            }
            if let State::Fetching(copy) = &mut offer.state {
                while copy.asked.len() < PIPELINE && u64::from(copy.next) * PART < offer.size {
                    ask(peer, MetadataMessage::Request { piece: copy.next });
                    copy.asked.push(copy.next);
                    copy.next += 1;
                }
            }
        }
    }

    /// When to poll again if nothing arrives.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let racing = self.offers.values().filter(|offer| matches!(offer.state, State::Fetching(_))).count();
        let due = |offer: &Offer| match &offer.state {
            State::Resting(until) => (racing < RACERS).then_some(*until),
            State::Fetching(copy) => Some(copy.last_heard + PATIENCE),
        };
        self.offers.values().filter_map(due).min()
    }
}

/// The part that a peer asked for; a reject if there is no such part.
pub(crate) fn serve(info: &[u8], piece: u32) -> MetadataMessage {
    let begin = u64::from(piece) * PART;
    let total_size = info.len() as u64;
    if begin >= total_size {
        return MetadataMessage::Reject { piece };
    }
    let end = (begin + PART).min(total_size);
    MetadataMessage::Data { piece, total_size, data: info[begin as usize..end as usize].to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_metainfo::InfoHashV1;

    fn dictionary() -> Vec<u8> {
        (0..100_000_u32).map(|n| (n * 7) as u8).collect()
    }

    fn fetch(info: &[u8]) -> MetadataFetch {
        MetadataFetch::new(InfoHashes { v1: Some(InfoHashV1(shoal_hash::sha1(info))), v2: None })
    }

    /// Lets `peers` answer until somebody has it or nobody is asked any more; the liars among them flip a byte.
    fn run(
        fetch: &mut MetadataFetch,
        info: &[u8],
        liars: &[PeerKey],
        mute: &[PeerKey],
    ) -> (Option<Vec<u8>>, Vec<PeerKey>, Time) {
        let (mut now, mut caught) = (Time::ZERO, Vec::new());
        for _ in 0..1_000 {
            let mut asked = Vec::new();
            fetch.poll(now, |peer, message| asked.push((peer, message)));
            for (peer, message) in asked {
                let MetadataMessage::Request { piece } = message else { panic!("only requests are sent") };
                if mute.contains(&peer) {
                    continue;
                }
                let mut answer = serve(info, piece);
                if let MetadataMessage::Data { data, .. } = &mut answer
                    && liars.contains(&peer)
                {
                    data[0] ^= 1;
                }
                match fetch.received(now, peer, answer) {
                    Fetched::Whole(bytes) => return (Some(bytes), caught, now),
                    Fetched::Wrong => caught.push(peer),
                    Fetched::Nothing => {}
                }
            }
            let Some(deadline) = fetch.deadline() else { break };
            now = now.max(deadline);
        }
        (None, caught, now)
    }

    #[test]
    fn nine_liars_do_not_keep_it_from_the_one_honest_peer() {
        let info = dictionary();
        let mut fetch = fetch(&info);
        for n in 0..10 {
            assert!(fetch.offered(Time::ZERO, PeerKey(n), info.len() as u64));
        }
        let liars: Vec<_> = (0..9).map(PeerKey).collect();
        let (whole, caught, at) = run(&mut fetch, &info, &liars, &[]);
        assert_eq!(whole.as_deref(), Some(&info[..]));
        assert!(caught.iter().all(|peer| liars.contains(peer)) && at < Time::from_secs(30));
    }

    #[test]
    fn mute_peers_give_up_their_turn() {
        let info = dictionary();
        let mut fetch = fetch(&info);
        for n in 0..10 {
            fetch.offered(Time::ZERO, PeerKey(n), info.len() as u64);
        }
        let mute: Vec<_> = (0..9).map(PeerKey).collect();
        let (whole, _, at) = run(&mut fetch, &info, &[], &mute);
        assert_eq!(whole.as_deref(), Some(&info[..]));
        assert!(at <= Time::from_secs(60), "{at:?}");
    }

    #[test]
    fn an_absurd_size_is_refused() {
        let mut fetch = fetch(b"x");
        assert!(!fetch.offered(Time::ZERO, PeerKey(1), 2 << 30));
        assert!(!fetch.offered(Time::ZERO, PeerKey(1), 0));
        assert_eq!(fetch.offers(), 0);
    }

    #[test]
    fn what_was_not_asked_for_is_not_kept() {
        let info = dictionary();
        let mut fetch = fetch(&info);
        fetch.offered(Time::ZERO, PeerKey(1), info.len() as u64);
        assert_eq!(fetch.received(Time::ZERO, PeerKey(1), serve(&info, 0)), Fetched::Nothing);
        fetch.poll(Time::ZERO, |_, _| {});
        assert_eq!(fetch.received(Time::ZERO, PeerKey(1), serve(&info, 6)), Fetched::Nothing);
        let State::Fetching(copy) = &fetch.offers[&PeerKey(1)].state else { panic!("it is being fetched") };
        assert!(copy.parts.is_empty());
    }

    #[test]
    fn a_part_beyond_the_end_is_rejected() {
        assert_eq!(serve(&[0; 10], 1), MetadataMessage::Reject { piece: 1 });
        assert_eq!(serve(&[0; 10], u32::MAX), MetadataMessage::Reject { piece: u32::MAX });
    }
}
