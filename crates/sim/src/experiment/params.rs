//! What is asked: the swarm, its lines, who comes and goes, what goes wrong.

use super::fault::{Fault, parse_share, parse_time, time_text};
use crate::swarm::Kind;
use shoal_layout::{BLOCK_LENGTH, MAX_PIECES};
use shoal_machine::{Rng, Time};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Leeches, at most. Chosen: their numbers are part of their addresses; memory ends long before.
const MAX_PEERS: u32 = 1_000_000;
/// Connections a peer, at most. Chosen: what the product's own default is ten times below.
const MAX_NEIGHBOURS: usize = 1_000;
/// One-way latency, at most. Chosen: twice the way to a geostationary satellite and back is 0.5 s; connections time out at
/// five.
const MAX_LATENCY: Duration = Duration::from_secs(2);
/// Packet loss, at most: beyond it TCP hardly moves, and the formula that caps it was not fitted (RFC 5348, section 3.1).
const MAX_LOSS: f64 = 0.3;

/// When leeches come.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Arrivals {
    /// All at the beginning.
    AtOnce,
    /// One after another, at this distance.
    Every(Duration),
    /// At random, at this distance on average (a Poisson process).
    Poisson(Duration),
    /// A flash crowd: many at first, then ever fewer; the rate falls to a third in this time (exponentially, as Guo et al.
    /// 2005 found in "Measurements, analysis, and modeling of BitTorrent-like systems").
    Flash(Duration),
}

impl FromStr for Arrivals {
    type Err = String;

    fn from_str(text: &str) -> Result<Arrivals, String> {
        let bad = || {
            format!(
                "'{text}' says not when peers come; write at-once, 'every 2s', 'poisson 2s' (the mean) or 'flash 1m'"
            )
        };
        let (word, time) = text.trim().split_once([' ', ':', '=']).unwrap_or((text.trim(), ""));
        if matches!((word, time), ("at-once", "")) {
            return Ok(Arrivals::AtOnce);
        }
        let time = parse_time(time).filter(|time| !time.is_zero()).ok_or_else(bad)?;
        match word {
            "every" => Ok(Arrivals::Every(time)),
            "poisson" => Ok(Arrivals::Poisson(time)),
            "flash" => Ok(Arrivals::Flash(time)),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Arrivals::AtOnce => f.write_str("at-once"),
            Arrivals::Every(time) => write!(f, "every {}", time_text(time)),
            Arrivals::Poisson(mean) => write!(f, "poisson {}", time_text(mean)),
            Arrivals::Flash(fall) => write!(f, "flash {}", time_text(fall)),
        }
    }
}

impl Arrivals {
    /// When each of `peers` comes, in order.
    pub(super) fn times(self, peers: u32, rng: &mut Rng) -> Vec<Time> {
        let mut exponential = |mean: Duration| mean.mul_f64(-(1.0 - rng.unit()).ln());
        let mut at = Time::ZERO;
        let mut times: Vec<Time> = (0..peers)
            .map(|n| match self {
                Arrivals::AtOnce => Time::ZERO,
                Arrivals::Every(time) => Time::ZERO + time * n,
                Arrivals::Poisson(mean) => {
                    at = at + exponential(mean);
                    at
                }
                Arrivals::Flash(fall) => Time::ZERO + exponential(fall),
            })
            .collect();
        times.sort();
        times
    }
}

/// When leeches go.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Departure {
    /// Not before all have everything.
    Never,
    /// So long after they became complete.
    Complete(Duration),
    /// So long after they came, complete or not; they are not waited for.
    After(Duration),
}

impl FromStr for Departure {
    type Err = String;

    fn from_str(text: &str) -> Result<Departure, String> {
        let bad =
            || format!("'{text}' says not when peers leave; write never, complete, 'complete 30s' or 'after 10m'");
        let (word, time) = text.trim().split_once([' ', ':', '=']).unwrap_or((text.trim(), ""));
        match (word, time) {
            ("never", "") => Ok(Departure::Never),
            ("complete", "") => Ok(Departure::Complete(Duration::ZERO)),
            ("complete", time) => parse_time(time).map(Departure::Complete).ok_or_else(bad),
            ("after", time) => parse_time(time).filter(|time| !time.is_zero()).map(Departure::After).ok_or_else(bad),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Departure::Never => f.write_str("never"),
            Departure::Complete(Duration::ZERO) => f.write_str("complete"),
            Departure::Complete(time) => write!(f, "complete {}", time_text(time)),
            Departure::After(time) => write!(f, "after {}", time_text(time)),
        }
    }
}

/// How a payload spreads from seeds to leeches: the question.
#[derive(Clone, PartialEq, Debug)]
pub struct SwarmParams {
    /// Leeches.
    pub peers: u32,
    /// Peers that have everything at the beginning.
    pub seeds: u32,
    /// Bytes of the torrent's one file.
    pub payload: u64,
    /// Bytes of a piece.
    pub piece_length: u32,
    /// The torrent's format.
    pub kind: Kind,
    /// Bytes per second that a leech can send; `None` for no limit.
    pub up: Option<u64>,
    /// Bytes per second that a leech can receive.
    pub down: Option<u64>,
    /// Bytes per second that a seed can send.
    pub seed_up: Option<u64>,
    /// One way between two peers: the least and the most.
    pub latency: (Duration, Duration),
    /// Each message is late by up to this.
    pub jitter: Duration,
    /// Chance that a packet is lost.
    pub loss: f64,
    /// When leeches come.
    pub arrivals: Arrivals,
    /// When they go.
    pub leave: Departure,
    /// Share of leeches that upload nothing.
    pub free_riders: f64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Connections a peer, at most.
    pub neighbours: usize,
    /// Payload, pieces and rates are this many times smaller in the simulation, so that it has so many times fewer blocks to
    /// simulate: as if a block were so many times 16 KiB. Times stay.
    pub scale: u32,
    /// Virtual time after which the run is given up; `None` for ten times the bound.
    pub timeout: Option<Duration>,
}

/// A parameter that cannot be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParamError {
    /// The parameter, as the field of [`SwarmParams`] with dashes.
    pub param: &'static str,
    /// What is wrong, and what to write instead.
    pub problem: String,
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}: {}", self.param, self.problem)
    }
}

impl std::error::Error for ParamError {}

impl SwarmParams {
    /// Whether it can be run at all.
    pub fn check(&self) -> Result<(), ParamError> {
        let wrong = |param, problem: &str| Err(ParamError { param, problem: problem.to_owned() });
        if self.peers == 0 || self.peers > MAX_PEERS {
            return wrong("peers", "takes 1 to 1000000");
        }
        if self.seeds == 0 || self.seeds > MAX_PEERS {
            return wrong("seeds", "takes 1 to 1000000: without a seed nobody has anything");
        }
        if self.payload == 0 {
            return wrong("payload", "an empty payload has nothing to send; write a size like 700M");
        }
        if !self.piece_length.is_power_of_two() || self.piece_length < BLOCK_LENGTH {
            return wrong("piece-length", "takes powers of two from 16KiB");
        }
        if self.pieces() > u64::from(MAX_PIECES) {
            return Err(ParamError {
                param: "piece-length",
                problem: format!("{} pieces are more than {MAX_PIECES}; make pieces larger", self.pieces()),
            });
        }
        if self.up == Some(0) {
            return wrong("up", "nobody could pass anything on; for peers that upload nothing use --free-riders");
        }
        if self.down == Some(0) {
            return wrong("down", "nobody could receive anything");
        }
        if self.seed_up == Some(0) {
            return wrong("seed-up", "nothing would ever leave the seeds");
        }
        if self.latency.0 > self.latency.1 || self.latency.1 > MAX_LATENCY {
            return wrong("latency", "takes a duration up to 2s, or a range like 10ms..80ms");
        }
        if self.jitter > MAX_LATENCY {
            return wrong("jitter", "takes a duration up to 2s");
        }
        if !(0.0..=MAX_LOSS).contains(&self.loss) {
            return wrong("loss", "takes 0% to 30%");
        }
        if !(0.0..=1.0).contains(&self.free_riders) {
            return wrong("free-riders", "takes 0% to 100%");
        }
        if self.neighbours == 0 || self.neighbours > MAX_NEIGHBOURS {
            return wrong("neighbours", "takes 1 to 1000");
        }
        if !self.scale.is_power_of_two() || self.piece_length / self.scale < BLOCK_LENGTH {
            let most = self.piece_length / BLOCK_LENGTH;
            return Err(ParamError {
                param: "scale",
                problem: format!("takes powers of two up to {most}, a block a piece"),
            });
        }
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return wrong("timeout", "takes more than nothing; leave it out for ten times the bound");
        }
        Ok(())
    }

    /// What is simulated in place of it: everything that is counted in bytes, `scale` times smaller.
    pub(super) fn scaled(&self) -> SwarmParams {
        let scale = u64::from(self.scale);
        let rate = |rate: Option<u64>| rate.map(|rate| (rate / scale).max(1));
        SwarmParams {
            payload: self.payload.div_ceil(scale),
            piece_length: self.piece_length / self.scale,
            up: rate(self.up),
            down: rate(self.down),
            seed_up: rate(self.seed_up),
            scale: 1,
            ..self.clone()
        }
    }

    /// How many pieces the payload has.
    pub fn pieces(&self) -> u64 {
        self.payload.div_ceil(u64::from(self.piece_length))
    }
}

/// Reads a share: `5%` or `0.05`.
pub fn share(text: &str) -> Result<f64, String> {
    parse_share(text)
}

/// Reads a latency: one duration, or the least and the most of a range.
pub fn latency(text: &str) -> Result<(Duration, Duration), String> {
    let bad = || format!("'{text}' is not a latency; write it like 20ms, or 10ms..80ms");
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    match (parse_time(least), parse_time(most)) {
        (Some(least), Some(most)) if least <= most => Ok((least, most)),
        _ => Err(bad()),
    }
}

/// A latency as [`latency`] reads it.
pub fn latency_text((least, most): (Duration, Duration)) -> String {
    if least == most { time_text(least) } else { format!("{}..{}", time_text(least), time_text(most)) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::experiment) fn params() -> SwarmParams {
        SwarmParams {
            peers: 10,
            seeds: 1,
            payload: 4 << 20,
            piece_length: 64 << 10,
            kind: Kind::V1,
            up: Some(1_000_000),
            down: None,
            seed_up: Some(1_000_000),
            latency: (Duration::from_millis(20), Duration::from_millis(20)),
            jitter: Duration::ZERO,
            loss: 0.0,
            arrivals: Arrivals::AtOnce,
            leave: Departure::Never,
            free_riders: 0.0,
            faults: Vec::new(),
            neighbours: 40,
            scale: 1,
            timeout: None,
        }
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for text in ["at-once", "every 2s", "poisson 500ms", "flash 60s"] {
            assert_eq!(text.parse::<Arrivals>().unwrap().to_string(), text);
        }
        for text in ["never", "complete", "complete 30s", "after 600s"] {
            assert_eq!(text.parse::<Departure>().unwrap().to_string(), text);
        }
        for text in ["20ms", "10ms..80ms"] {
            assert_eq!(latency_text(latency(text).unwrap()), text);
        }
        for text in ["", "every", "every 0s", "sometimes", "poisson -1s", "at-once 3s"] {
            assert!(text.parse::<Arrivals>().is_err(), "{text}");
        }
        for text in ["", "after", "after 0s", "soon", "never 3s"] {
            assert!(text.parse::<Departure>().is_err(), "{text}");
        }
        for text in ["", "80ms..10ms", "x..y", "10ms.."] {
            assert!(latency(text).is_err(), "{text}");
        }
    }

    #[test]
    fn arrivals_are_in_order_and_have_their_mean() {
        let mut rng = Rng::new(4);
        let second = Duration::from_secs(1);
        for arrivals in [Arrivals::AtOnce, Arrivals::Every(second), Arrivals::Poisson(second), Arrivals::Flash(second)]
        {
            let times = arrivals.times(2_000, &mut rng);
            assert!(times.len() == 2_000 && times.is_sorted(), "{arrivals}");
            let last_s = times[1_999].as_micros() as f64 / 1e6;
            let expected = match arrivals {
                Arrivals::AtOnce => 0.0..0.1,
                Arrivals::Every(_) => 1_998.0..2_000.0,
                Arrivals::Poisson(_) => 1_850.0..2_150.0,
                // The greatest of n exponentials is about ln n.
                Arrivals::Flash(_) => 5.0..15.0,
            };
            assert!(expected.contains(&last_s), "{arrivals}: {last_s}");
        }
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let mut all: Vec<(&str, SwarmParams)> = Vec::new();
        let mut with = |name, change: &dyn Fn(&mut SwarmParams)| {
            let mut changed = params();
            change(&mut changed);
            all.push((name, changed));
        };
        with("peers", &|p| p.peers = 0);
        with("seeds", &|p| p.seeds = 0);
        with("payload", &|p| p.payload = 0);
        with("piece-length", &|p| p.piece_length = 100_000);
        with("piece-length", &|p| p.payload = 1 << 50);
        with("up", &|p| p.up = Some(0));
        with("down", &|p| p.down = Some(0));
        with("seed-up", &|p| p.seed_up = Some(0));
        with("latency", &|p| p.latency.1 = Duration::from_secs(60));
        with("jitter", &|p| p.jitter = Duration::from_secs(60));
        with("loss", &|p| p.loss = f64::NAN);
        with("free-riders", &|p| p.free_riders = 1.1);
        with("neighbours", &|p| p.neighbours = 0);
        with("scale", &|p| p.scale = 3);
        with("scale", &|p| p.scale = 8);
        with("timeout", &|p| p.timeout = Some(Duration::ZERO));
        for (name, changed) in all {
            assert_eq!(changed.check().unwrap_err().param, name);
        }
        assert_eq!(params().check(), Ok(()));
    }
}
