//! What a seed contains: drawn from it, and from nothing else.

use crate::swarm::{
    Act, Content, DiskSetup, Kind, Misbehaviour, PeerSetup, Report, Scenario, TrackerMood, WebSeedKind, WebSeedSetup,
};
use crate::{Access, NodeId, Path};
use shoal_machine::{Rng, Time};
use shoal_pieces::PickMode;
use std::collections::BTreeSet;
use std::time::Duration;

/// A swarm and what befalls it.
pub struct Storm {
    /// Ready to run.
    pub scenario: Scenario,
    /// How long faults are on.
    pub lasts: Duration,
    /// Whether rogues go on when all else is well.
    pub(super) rogues_stay: bool,
    /// Whether links of the storm are so bad that only new ones are of use.
    pub(super) narrow: bool,
    /// Those who lie.
    liars: BTreeSet<NodeId>,
    /// Pairs whose path damages blocks: they cannot know that it is not the other.
    damaged: BTreeSet<(NodeId, NodeId)>,
}

fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.index(of.len())]
}

fn between(rng: &mut Rng, least: u64, most: u64) -> u64 {
    least + rng.below(most - least + 1)
}

/// A line: from a bad mobile one to a good one.
fn line(rng: &mut Rng) -> Access {
    let up = pick(rng, &[60_000, 250_000, 1_000_000, 5_000_000]);
    let down = up * pick(rng, &[1, 1, 4]);
    let latency = Duration::from_millis(between(rng, 1, 120));
    Access { up_bytes_per_s: Some(up), down_bytes_per_s: Some(down), latency }
}

impl Storm {
    /// The storm of a seed.
    pub fn of(seed: u64) -> Storm {
        let mut rng = Rng::new(seed).fork("storm");
        let (content, files) = torrent(seed, &mut rng);
        let lasts = Duration::from_secs(between(&mut rng, 10, 60));
        let mut scenario = Scenario::of(seed, content);
        let trackers: Vec<NodeId> = (0..between(&mut rng, 1, 2)).map(|_| scenario.tracker()).collect();
        let mut storm = Storm {
            scenario,
            lasts,
            rogues_stay: false,
            narrow: false,
            liars: BTreeSet::new(),
            damaged: BTreeSet::new(),
        };
        storm.weather_of_paths(&mut rng);
        // The honest source: it has everything, tells the truth, and no path of its own damages anything.
        let anchor_line = Access { up_bytes_per_s: Some(pick(&mut rng, &[250_000, 1_000_000])), ..line(&mut rng) };
        let anchor = storm.scenario.seed(anchor_line);
        for _ in 0..rng.below(3) {
            let lies = pick(&mut rng, &[0.02, 0.1, 0.5, 1.0]);
            let setup = PeerSetup { seed: true, lies, ..PeerSetup::default() };
            let liar = storm.scenario.peer(setup, line(&mut rng), Time::ZERO);
            storm.liars.insert(liar);
        }
        for _ in 0..rng.below(4) {
            let misbehaviour = pick(&mut rng, Misbehaviour::ALL);
            let line = line(&mut rng);
            let rogue = match rng.chance(0.5) {
                true => storm.scenario.intruder(misbehaviour, line),
                false => storm.scenario.rogue(misbehaviour, line),
            };
            storm.liars.insert(rogue);
        }
        let mut peers = vec![anchor];
        for _ in 0..between(&mut rng, 1, 6) {
            let setup = storm.leech(&mut rng, files, &peers);
            let start = Time::from_millis(rng.below(storm.lasts.as_millis() as u64 / 2));
            peers.push(storm.scenario.peer(setup, line(&mut rng), start));
        }
        storm.damage_paths(&mut rng, &peers[1..]);
        storm.acts(&mut rng, &trackers, &peers, files);
        storm.rogues_stay = rng.chance(0.3);
        storm
    }

    fn weather_of_paths(&mut self, rng: &mut Rng) {
        let mean_lifetime = rng.chance(0.6).then(|| Duration::from_secs(between(rng, 2, 60)));
        let extra_latency = Duration::from_millis(pick(rng, &[0, 0, 50, 400]));
        let bytes_per_s = pick(rng, &[None, None, Some(40_000), Some(400_000)]);
        let jitter = Duration::from_millis(pick(rng, &[0, 0, 5, 100]));
        let loss = pick(rng, &[0.0, 0.0, 0.01, 0.1]);
        self.narrow = bytes_per_s.is_some() || loss > 0.0;
        self.scenario.default_path(Path { mean_lifetime, extra_latency, bytes_per_s, jitter, loss, ..Path::CLEAR });
    }

    fn leech(&self, rng: &mut Rng, files: usize, known: &[NodeId]) -> PeerSetup {
        let pieces = self.scenario.content().pieces() as usize;
        let magnet = rng.chance(0.3);
        let mut setup = PeerSetup {
            magnet,
            order: if rng.chance(0.2) { PickMode::InOrder } else { PickMode::RarestFirst },
            // Without the extension protocol nobody gives it the info dictionary.
            plain: !magnet && rng.chance(0.15),
            up: rng.chance(0.15).then(|| pick(rng, &[20_000, 200_000])),
            down: rng.chance(0.15).then(|| pick(rng, &[50_000, 500_000])),
            disk: DiskSetup { write: Duration::from_millis(pick(rng, &[1, 2, 50, 900])), ..DiskSetup::default() },
            ..PeerSetup::default()
        };
        if files > 1 && rng.chance(0.3) {
            setup.files = (0..files).map(|_| rng.chance(0.5)).collect();
        }
        if !setup.magnet && rng.chance(0.2) {
            setup.pieces = (0..pieces).map(|_| rng.chance(0.5)).collect();
        }
        if rng.chance(0.3) {
            setup.addresses = vec![pick(rng, known)];
        }
        if rng.chance(0.15) {
            setup.max_connections = between(rng, 2, 5) as usize;
        }
        if rng.chance(0.15) {
            setup.neighbours = Some(between(rng, 2, 4) as usize);
        }
        if rng.chance(0.2) {
            let kind = pick(
                rng,
                &[
                    WebSeedKind::Honest,
                    WebSeedKind::Lying,
                    WebSeedKind::Stalling { after: 5 },
                    WebSeedKind::IgnoringRanges,
                    WebSeedKind::Breaking { after: 2 },
                ],
            );
            setup.web_seeds = vec![WebSeedSetup { kind, rate: 100_000, delay: Duration::from_millis(100) }];
        }
        setup
    }

    /// Some paths between leeches damage blocks; never one to the honest seed, whom they would else ban.
    fn damage_paths(&mut self, rng: &mut Rng, leeches: &[NodeId]) {
        if !rng.chance(0.2) {
            return;
        }
        for (n, &a) in leeches.iter().enumerate() {
            for &b in &leeches[n + 1..] {
                if rng.chance(0.5) {
                    self.scenario.path(a, b, Path { corrupt: 0.05, ..Path::CLEAR });
                    self.damaged.extend([(a, b), (b, a)]);
                }
            }
        }
    }

    fn acts(&mut self, rng: &mut Rng, trackers: &[NodeId], peers: &[NodeId], files: usize) {
        let micros = self.lasts.as_micros() as u64;
        let when = |rng: &mut Rng| Time::from_micros(rng.below(micros));
        let pause = |rng: &mut Rng| Duration::from_millis(between(rng, 1, 20_000));
        for &tracker in trackers {
            for _ in 0..rng.below(4) {
                let moods = [
                    TrackerMood::Dead,
                    TrackerMood::Refusing,
                    TrackerMood::Lying,
                    TrackerMood::Forgetful,
                    TrackerMood::Helpful,
                ];
                self.scenario.befall(tracker, when(rng), Act::Mood(pick(rng, &moods)));
            }
        }
        for _ in 0..rng.below(10) {
            let (node, at) = (pick(rng, peers), when(rng));
            let other = pick(rng, peers);
            let is_anchor = node == peers[0];
            let any = rng.next_u64() as u32;
            match rng.below(14) {
                0 => self.scenario.restart(node, at, pause(rng)),
                1 => self.scenario.power_cut(node, at, pause(rng)),
                2 if node != other => self.scenario.cut(node, other, at),
                3 => {
                    let side: Vec<NodeId> = peers.iter().copied().filter(|_| rng.chance(0.5)).collect();
                    let end = (at + pause(rng)).min(Time::ZERO + self.lasts);
                    self.scenario.part(side, at, end);
                }
                4 | 5 => {
                    self.scenario.befall(node, at, Act::RefuseWrites(true));
                    self.scenario.befall(node, at + pause(rng), Act::RefuseWrites(false));
                }
                6 => {
                    self.scenario.befall(node, at, Act::FailReads(true));
                    self.scenario.befall(node, at + pause(rng), Act::FailReads(false));
                }
                7 => {
                    self.scenario.befall(node, at, Act::FailSyncs(true));
                    self.scenario.befall(node, at + pause(rng), Act::FailSyncs(false));
                }
                8 => {
                    self.scenario.befall(node, at, Act::SlowWrites(Duration::from_millis(pick(rng, &[1, 300, 5_000]))))
                }
                // What only the honest seed has would be nowhere.
                9 if !is_anchor => self.scenario.befall(node, at, Act::Rot(any)),
                10 if !is_anchor => self.scenario.befall(node, at, Act::Lose(any)),
                11 if files > 1 && !is_anchor => {
                    let chosen = (0..files).map(|_| rng.chance(0.6)).collect();
                    self.scenario.befall(node, at, Act::Select(chosen));
                }
                12 if !is_anchor => self.scenario.befall(node, at, Act::WebSeeds(WebSeedKind::Stalling { after: 0 })),
                13 if peers.len() > 2 && node == peers[1] => self.scenario.leave(node, at),
                _ => {}
            }
        }
    }

    /// Nobody is banned who told the truth (`reliability.md` B4).
    pub(super) fn check_bans(&self, report: &Report) -> Result<(), String> {
        for peer in report.peers() {
            for &banned in &report.record(peer).banned {
                if !self.liars.contains(&banned) && !self.damaged.contains(&(peer, banned)) {
                    return Err(format!("node {} banned node {}, who never lied (B4)", peer.0, banned.0));
                }
            }
        }
        Ok(())
    }
}

/// The torrent, and how many files it has.
fn torrent(seed: u64, rng: &mut Rng) -> (Content, usize) {
    let kind = pick(rng, &[Kind::V1, Kind::V2, Kind::Hybrid]);
    let piece_length = 16_384 << rng.below(5);
    let pieces = between(rng, 1, 40).min((4 << 20) / piece_length);
    let private = rng.chance(0.1);
    let total = pieces * piece_length - rng.below(piece_length);
    let files = if rng.chance(0.5) { 1 } else { between(rng, 2, 6) as usize };
    // Cut where it happens, as files do not end where pieces do.
    let mut cuts: Vec<u64> = (1..files).map(|_| 1 + rng.below(total)).collect();
    cuts.extend([0, total]);
    cuts.sort_unstable();
    let lengths: Vec<u64> = cuts.windows(2).map(|pair| pair[1] - pair[0]).filter(|&length| length > 0).collect();
    (Content::of_files(kind, &lengths, piece_length as u32, seed, private), lengths.len())
}
