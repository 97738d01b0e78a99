//! Torrents of every shape, links, private ones, chosen files.

use super::{Claim, LINE, Named, all_complete, at, completes, magnet, must, seconds};
use crate::swarm::{Act, Content, Kind, Misbehaviour, PeerSetup, Scenario};
use shoal_machine::Time;

const KINDS: [(Kind, &str); 3] = [(Kind::V1, "v1"), (Kind::V2, "v2"), (Kind::Hybrid, "hybrid")];

/// A torrent of these files, a seed and two leeches.
fn of_files(
    kind: Kind,
    lengths: &[u64],
    piece_length: u32,
    private: bool,
    setup: &PeerSetup,
) -> Result<Scenario, String> {
    let mut swarm = Scenario::of(1, Content::of_files(kind, lengths, piece_length, 1, private));
    swarm.tracker();
    swarm.seed(LINE);
    (0..2).for_each(|_| {
        swarm.peer(setup.clone(), LINE, Time::ZERO);
    });
    all_complete(&mut swarm, 60, 0.1)?;
    Ok(swarm)
}

fn shape(name: &str, about: &str, kind: Kind, lengths: &'static [u64], piece_length: u32) -> Named {
    Named::new(name, about, move || of_files(kind, lengths, piece_length, false, &PeerSetup::default()).map(|_| ()))
}

pub(super) fn all() -> Vec<Named> {
    let mut all = vec![
        shape("one-byte", "a torrent of one byte: one block of one byte, asked for once", Kind::V1, &[1], 16_384),
        shape("one-block", "a torrent of exactly one block: no second block is asked for", Kind::V2, &[16_384], 16_384),
        shape(
            "one-piece",
            "a torrent of one piece of 64 blocks: endgame from the start",
            Kind::V1,
            &[1 << 20],
            1 << 20,
        ),
        shape(
            "last-byte",
            "one byte more than whole pieces: the last block is one byte",
            Kind::V1,
            &[(1 << 20) + 1],
            65_536,
        ),
        shape("last-byte-v2", "the same in v2: the last piece's tree is one leaf", Kind::V2, &[(1 << 20) + 1], 65_536),
        shape(
            "one-byte-short",
            "one byte less than whole pieces: the last block is 16,383 bytes",
            Kind::Hybrid,
            &[(1 << 20) - 1],
            65_536,
        ),
        shape(
            "large-pieces",
            "three pieces of 4 MiB: few are open at once, all complete in a minute",
            Kind::V1,
            &[12 << 20],
            4 << 20,
        ),
        shape("small-pieces", "256 pieces of one block each, v2: a piece is a leaf", Kind::V2, &[4 << 20], 16_384),
        shape("many-tiny-files", "sixty files of one byte, v1: all in one piece", Kind::V1, &[1; 60], 16_384),
        shape("many-tiny-files-v2", "sixty files of one byte, v2: a piece each", Kind::V2, &[1; 60], 16_384),
        shape(
            "many-tiny-files-hybrid",
            "sixty files of one byte, hybrid: a piece each, the rest of it padding",
            Kind::Hybrid,
            &[1; 60],
            16_384,
        ),
        Named::new("long-layer", "a link to a v2 file of 700 pieces: its layer comes in two runs with proofs", || {
            let mut swarm = Scenario::new(1, Kind::V2, 700 * 16_384, 16_384);
            swarm.tracker();
            swarm.seed(LINE);
            swarm.peer(magnet(), LINE, Time::ZERO);
            all_complete(&mut swarm, 60, 0.05).map(|_| ())
        }),
        Named::new(
            "layer-from-one-of-two",
            "a link to a v2 file; of two that have it one answers no hash request: the other does",
            || {
                let mut swarm = Scenario::new(1, Kind::V2, 2 << 20, 16_384);
                swarm.tracker();
                // Silent about hashes, and first in every order.
                swarm.rogue(Misbehaviour::Flap, LINE);
                swarm.seed(LINE);
                swarm.peer(magnet(), LINE, at(1));
                all_complete(&mut swarm, 120, 0.2).map(|_| ())
            },
        ),
        Named::new(
            "metadata-nine-liars",
            "a link; nine give a forged info dictionary, one the right one: there in 60 s (A10)",
            || {
                let mut swarm = Scenario::new(1, Kind::V1, 1 << 20, 65_536);
                swarm.tracker();
                let liars: Vec<_> = (0..9).map(|_| swarm.rogue(Misbehaviour::ForgeMetadata, LINE)).collect();
                swarm.seed(LINE);
                swarm.peer(magnet(), LINE, at(1));
                completes(&mut swarm, Claim { within_s: 60, waste: 0.1, may_be_banned: &liars }).map(|_| ())
            },
        ),
        Named::new("one-file-chosen", "one of four files is chosen: nothing but its pieces is fetched", || {
            let mut swarm = Scenario::of(1, Content::of_files(Kind::V2, &[500_000; 4], 65_536, 1, false));
            swarm.tracker();
            swarm.seed(LINE);
            let files = vec![false, true, false, false];
            let leech = swarm.peer(PeerSetup { files, ..PeerSetup::default() }, LINE, Time::ZERO);
            let report = swarm.run(seconds(30)).map_err(|violation| violation.to_string())?;
            let came = report.record(leech).downloaded_bytes;
            must(report.is_complete() && came == 500_000, || format!("{came} bytes came: {report}"))
        }),
        Named::new(
            "choice-changes",
            "the other file is chosen while the first comes: the other is complete at the end",
            || {
                let mut swarm = Scenario::of(1, Content::of_files(Kind::V1, &[2_000_000, 2_000_000], 65_536, 1, false));
                swarm.tracker();
                swarm.seed(LINE);
                let files = vec![true, false];
                let leech = swarm.peer(PeerSetup { files, ..PeerSetup::default() }, LINE, Time::ZERO);
                swarm.befall(leech, at(1), Act::Select(vec![false, true]));
                swarm.run_for(seconds(2)).map_err(|violation| violation.to_string())?;
                let report = swarm.run(seconds(60)).map_err(|violation| violation.to_string())?;
                let came = report.record(leech).downloaded_bytes;
                must(report.is_complete() && came < 4_000_000, || format!("{came} bytes came: {report}"))
            },
        ),
        Named::new("choice-grows", "all is chosen after one file is complete: it goes on and completes", || {
            let mut swarm = Scenario::of(1, Content::of_files(Kind::Hybrid, &[400_000, 400_000], 65_536, 1, false));
            swarm.tracker();
            swarm.seed(LINE);
            let files = vec![true, false];
            let leech = swarm.peer(PeerSetup { files, ..PeerSetup::default() }, LINE, Time::ZERO);
            swarm.run_for(seconds(20)).map_err(|violation| violation.to_string())?;
            must(swarm.report().is_complete(), || "the first file is not there".to_owned())?;
            swarm.befall(leech, at(20), Act::Select(vec![true, true]));
            swarm.run_for(seconds(1)).map_err(|violation| violation.to_string())?;
            all_complete(&mut swarm, 120, 0.0).map(|_| ())
        }),
        Named::new(
            "in-order",
            "a leech that fetches in order beside one that does not: both complete, waste under 5 %",
            || {
                let mut swarm = Scenario::new(1, Kind::V1, 2 << 20, 65_536);
                swarm.tracker();
                swarm.seed(LINE);
                swarm.leeches(1, LINE);
                swarm.peer(
                    PeerSetup { order: shoal_pieces::PickMode::InOrder, ..PeerSetup::default() },
                    LINE,
                    Time::ZERO,
                );
                all_complete(&mut swarm, 30, 0.05).map(|_| ())
            },
        ),
    ];
    for (kind, name) in KINDS {
        all.push(Named::new(
            &format!("files-{name}"),
            &format!("five files whose ends lie anywhere, {name}: all complete, padding is never asked for"),
            move || {
                of_files(kind, &[70_000, 1, 65_536, 200_001, 16_384], 65_536, false, &PeerSetup::default()).map(|_| ())
            },
        ));
        all.push(Named::new(
            &format!("link-{name}"),
            &format!("two with a link only, {name}: info dictionary and hashes come from the seed"),
            move || of_files(kind, &[700_000, 300_000], 16_384, false, &magnet()).map(|_| ()),
        ));
        all.push(Named::new(
            &format!("private-{name}"),
            &format!("a private torrent, {name}: nobody is told of anybody by peers (I8)"),
            move || {
                let mut swarm = of_files(kind, &[1_000_000], 65_536, true, &PeerSetup::default())?;
                // Long enough for peer exchange to have happened.
                swarm.run_for(seconds(150)).map(|_| ()).map_err(|violation| violation.to_string())
            },
        ));
    }
    all
}
