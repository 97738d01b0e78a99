//! As whom others see us.
//!
//! A peer's extension handshake tells the address from which we reached it (BEP 10, `yourip`). What most of the last ones say
//! is believed, for local networks and the rest apart; a lie costs a worse order of dials, no more (BEP 40: "a hint").

use crate::address::{KINDS, kind_of};
use std::collections::VecDeque;
use std::net::IpAddr;

/// Opinions kept. Chosen: changes of our address are noticed, and one liar is outvoted.
const KEPT: usize = 16;

/// What peers said, one opinion a host.
#[derive(Debug, Default)]
pub(crate) struct SeenAs {
    /// Who said it, and what; oldest first.
    said: VecDeque<(IpAddr, IpAddr)>,
    /// What most of them say, by the kind of address: asked for far more often than somebody says something else.
    believed: [Option<IpAddr>; KINDS],
}

impl SeenAs {
    /// The host `by` sees us as `ours`.
    pub(crate) fn said(&mut self, by: IpAddr, ours: IpAddr) {
        let (by, ours) = (by.to_canonical(), ours.to_canonical());
        if ours.is_unspecified() || ours.is_multicast() {
            return;
        }
        let mut other = [false; KINDS];
        // Who said what most say leaves them with one less; who says it makes them one more.
        let mut leaves = |ours: IpAddr| other[kind_of(ours)] |= self.believed[kind_of(ours)] == Some(ours);
        self.said.retain(|(who, what)| {
            let stays = *who != by;
            if !stays {
                leaves(*what);
            }
            stays
        });
        if self.said.len() == KEPT
            && let Some((_, what)) = self.said.pop_front()
        {
            leaves(what);
        }
        self.said.push_back((by, ours));
        let kind = kind_of(ours);
        if self.believed[kind] == Some(ours) && other[kind] {
            // One less and one more.
            other[kind] = false;
        } else if self.believed[kind] != Some(ours) {
            other[kind] = true;
        }
        for kind in (0..KINDS).filter(|&kind| other[kind]) {
            let opinions = || self.said.iter().map(|(_, ours)| *ours).filter(|ours| kind_of(*ours) == kind);
            self.believed[kind] = opinions().max_by_key(|ours| opinions().filter(|other| other == ours).count());
        }
    }

    /// How a host at `by` sees us, as far as others of its kind said.
    pub(crate) fn from(&self, by: IpAddr) -> Option<IpAddr> {
        self.believed[kind_of(by)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn most_of_the_last_are_believed_and_one_host_has_one_voice() {
        let mut seen = SeenAs::default();
        assert_eq!(seen.from(ip("9.9.9.9")), None);
        for _ in 0..20 {
            seen.said(ip("6.6.6.6"), ip("66.6.6.6"));
        }
        seen.said(ip("1.1.1.1"), ip("4.4.4.4"));
        seen.said(ip("1.1.1.2"), ip("4.4.4.4"));
        seen.said(ip("10.0.0.2"), ip("10.0.0.1"));
        assert_eq!(seen.from(ip("9.9.9.9")), Some(ip("4.4.4.4")));
        assert_eq!(seen.from(ip("10.0.0.77")), Some(ip("10.0.0.1")));
        assert_eq!(seen.from(ip("2600::1")), None);
    }
}
