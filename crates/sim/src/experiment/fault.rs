//! What goes wrong in an experiment: a list of faults, each with how much of it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One kind of trouble.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Fault {
    /// So many of the leeches, as a share, have a disk that takes two seconds for a piece.
    SlowDisk(f64),
    /// So many of the leeches have no room for a minute, from a quarter of the bound on.
    FullDisk(f64),
    /// Every connection is reset after an exponential time with this mean.
    Resets(Duration),
    /// One half of the network cannot reach the other for so long, from a quarter of the bound on.
    Partition(Duration),
    /// Every leech is killed after an exponential time with this mean, again and again, and is back ten seconds later with what
    /// its disk has.
    Churn(Duration),
    /// So many peers more, as a share of the leeches, pretend to be seeds and damage one block in five.
    Liars(f64),
    /// A block is damaged on its way with this chance.
    Corrupt(f64),
    /// So many peers more, as a share of the leeches, say that they have everything and never send a block.
    Mute(f64),
    /// So many peers more send what nobody asked for and ask for more than anybody serves.
    Flood(f64),
    /// So many peers more send random bytes.
    Garbage(f64),
}

/// The kinds: name, what the value is, an example.
pub(super) const KINDS: [(&str, &str); 10] = [
    ("slow-disk", "10%"),
    ("full-disk", "10%"),
    ("resets", "60s"),
    ("partition", "30s"),
    ("churn", "5m"),
    ("liars", "5%"),
    ("corrupt", "0.1%"),
    ("mute", "5%"),
    ("flood", "2%"),
    ("garbage", "2%"),
];

impl Fault {
    /// Its kind and value.
    fn parts(&self) -> (&'static str, Value) {
        match *self {
            Fault::SlowDisk(share) => ("slow-disk", Value::Share(share)),
            Fault::FullDisk(share) => ("full-disk", Value::Share(share)),
            Fault::Resets(mean) => ("resets", Value::Time(mean)),
            Fault::Partition(time) => ("partition", Value::Time(time)),
            Fault::Churn(mean) => ("churn", Value::Time(mean)),
            Fault::Liars(share) => ("liars", Value::Share(share)),
            Fault::Corrupt(chance) => ("corrupt", Value::Share(chance)),
            Fault::Mute(share) => ("mute", Value::Share(share)),
            Fault::Flood(share) => ("flood", Value::Share(share)),
            Fault::Garbage(share) => ("garbage", Value::Share(share)),
        }
    }
}

enum Value {
    Share(f64),
    Time(Duration),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (kind, Value::Share(share)) => write!(f, "{kind}={}", share_text(share)),
            (kind, Value::Time(time)) => write!(f, "{kind}={}", time_text(time)),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    /// `KIND=VALUE`, or a kind alone with its usual value.
    fn from_str(text: &str) -> Result<Fault, String> {
        let (kind, value) = text.split_once('=').unwrap_or((text, ""));
        let known = || KINDS.map(|(kind, value)| format!("{kind}={value}")).join(", ");
        let Some((_, usual)) = KINDS.iter().find(|(name, _)| *name == kind) else {
            return Err(format!("'{kind}' is no fault; there are {}", known()));
        };
        let value = if value.is_empty() { usual } else { value };
        let share = || parse_share(value).map_err(|error| format!("{kind}: {error}"));
        let time = || {
            parse_time(value)
                .filter(|time| !time.is_zero())
                .ok_or_else(|| format!("{kind}: '{value}' is not a duration; write it like {usual}"))
        };
        Ok(match kind {
            "slow-disk" => Fault::SlowDisk(share()?),
            "full-disk" => Fault::FullDisk(share()?),
            "resets" => Fault::Resets(time()?),
            "partition" => Fault::Partition(time()?),
            "churn" => Fault::Churn(time()?),
            "liars" => Fault::Liars(share()?),
            "corrupt" => Fault::Corrupt(share()?),
            "mute" => Fault::Mute(share()?),
            "flood" => Fault::Flood(share()?),
            _ => Fault::Garbage(share()?),
        })
    }
}

/// Reads a share: `5%` or `0.05`, from 0 to 1.
pub(super) fn parse_share(text: &str) -> Result<f64, String> {
    let bad = || format!("'{text}' is not a share; write it like 5% or 0.05");
    let (number, scale) = match text.trim().strip_suffix('%') {
        Some(percent) => (percent, 0.01),
        None => (text.trim(), 1.0),
    };
    let share = number.trim().parse::<f64>().map_err(|_| bad())? * scale;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(bad()) }
}

/// A share for people, without the noise of binary fractions.
pub(super) fn share_text(share: f64) -> String {
    let percent = format!("{:.6}", share * 100.0);
    format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
}

/// Reads a duration of one number and one unit, `ms`, `s`, `m` or `h`; a bare number is seconds.
pub(super) fn parse_time(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit.trim() {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * scale;
    // Chosen: ten years are enough for anything.
    (0.0..=3.2e8).contains(&seconds).then(|| Duration::from_micros((seconds * 1e6).round() as u64))
}

/// A duration as [`parse_time`] reads it.
pub(super) fn time_text(time: Duration) -> String {
    let micros = time.as_micros();
    if micros == 0 {
        "0s".to_owned()
    } else if micros.is_multiple_of(1_000_000) {
        format!("{}s", micros / 1_000_000)
    } else if micros.is_multiple_of(1_000) {
        format!("{}ms", micros / 1_000)
    } else {
        format!("{micros}us")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_written() {
        for (kind, value) in KINDS {
            let usual: Fault = kind.parse().unwrap();
            assert_eq!(format!("{kind}={value}").parse(), Ok(usual));
            assert_eq!(usual.to_string().parse(), Ok(usual), "{usual}");
            assert!(usual.to_string().starts_with(kind));
        }
        assert_eq!("liars=0.25".parse(), Ok(Fault::Liars(0.25)));
        assert_eq!("resets=1500ms".parse(), Ok(Fault::Resets(Duration::from_millis(1_500))));
    }

    #[test]
    fn what_is_no_fault_is_told_with_what_there_is() {
        let error = "flod=3%".parse::<Fault>().unwrap_err();
        assert!(error.contains("'flod'") && error.contains("flood=2%"), "{error}");
        for text in ["liars=150%", "liars=x", "liars=-1%", "resets=0s", "resets=5%", "churn=nan", "corrupt=NaN"] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for micros in [0, 1, 1_000, 1_500, 20_000, 1_000_000, 90_000_000] {
            let time = Duration::from_micros(micros);
            assert_eq!(parse_time(&time_text(time)), Some(time));
        }
        assert_eq!(parse_time("1.5m"), Some(Duration::from_secs(90)));
        for text in ["", "x", "-1s", "1d", "1e400", "."] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
