//! One rogue at a time: dialed by honest peers that have the torrent file, and dialing one that has a link only.

use super::{Claim, LINE, Named, completes, magnet, must, small};
use crate::swarm::{Kind, Misbehaviour, PeerSetup};
use shoal_machine::Time;

pub(super) fn all() -> Vec<Named> {
    Misbehaviour::ALL.iter().copied().flat_map(|rogue| [dialed(rogue), dialing(rogue)]).collect()
}

/// `FloodRequests` as `flood-requests`.
fn slug(rogue: Misbehaviour) -> String {
    let mut slug = String::new();
    for letter in format!("{rogue:?}").chars() {
        if letter.is_ascii_uppercase() && !slug.is_empty() {
            slug.push('-');
        }
        slug.push(letter.to_ascii_lowercase());
    }
    slug
}

/// Whether it is caught lying: then it is banned, and by nobody else's lie.
fn is_caught(rogue: Misbehaviour) -> bool {
    matches!(rogue, Misbehaviour::Poison | Misbehaviour::Absurd)
}

fn waste(rogue: Misbehaviour) -> f64 {
    match rogue {
        // What floods costs its line, which is as wide as ours.
        Misbehaviour::FloodBlocks => 6.0,
        Misbehaviour::Duplicate | Misbehaviour::Misplace => 2.0,
        Misbehaviour::Poison => 0.35,
        _ => 0.15,
    }
}

fn dialed(rogue: Misbehaviour) -> Named {
    let about = format!("a {} that honest peers dial, a seed, two leeches: both complete in 2 min", slug(rogue));
    Named::new(&format!("rogue-{}", slug(rogue)), &about, move || {
        let mut swarm = small(Kind::V1);
        let bad = swarm.rogue(rogue, LINE);
        swarm.seed(LINE);
        swarm.leeches(2, LINE);
        let claim = Claim { within_s: 120, waste: waste(rogue), may_be_banned: &[bad] };
        let report = completes(&mut swarm, claim)?;
        let caught = report.banned().contains(&bad);
        must(caught || !is_caught(rogue), || format!("it is not banned: {report}"))
    })
}

fn dialing(rogue: Misbehaviour) -> Named {
    let about = format!("a {} that dials one who has a link only: he gets metadata and payload in 3 min", slug(rogue));
    Named::new(&format!("intruder-{}", slug(rogue)), &about, move || {
        let mut swarm = small(Kind::Hybrid);
        let bad = swarm.intruder(rogue, LINE);
        let seed = swarm.seed(LINE);
        swarm.peer(PeerSetup { addresses: vec![seed], ..magnet() }, LINE, Time::from_secs(1));
        completes(&mut swarm, Claim { within_s: 180, waste: waste(rogue), may_be_banned: &[bad] })?;
        Ok(())
    })
}
