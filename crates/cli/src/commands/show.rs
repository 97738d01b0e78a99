//! `shoal show`: what a torrent file or link says, for people or as one JSON object.

use super::Outcome;
use crate::args::ShowArgs;
use crate::escape::{escape, escape_json};
use crate::exit::{Exit, Failure, OrExit};
use crate::run::Context;
use crate::size;
use crate::target::Target;
use serde::Serialize;
use shoal_metainfo::{Attributes, Format, InfoHashes, Magnet, Torrent};
use std::fmt::Write;
use std::time::{Duration, SystemTime};

/// Prints it.
pub(super) fn run(args: &ShowArgs, context: &Context) -> Outcome {
    print(&Target::read(&args.target)?, args.json.json, context)
}

/// Prints what is known of a target.
pub(super) fn print(target: &Target, json: bool, context: &Context) -> Outcome {
    print_with(target, None, json, context)
}

/// The same, with what trackers said.
pub(super) fn print_with(target: &Target, scrape: Option<Vec<ShownScrape>>, json: bool, context: &Context) -> Outcome {
    let shown = match target {
        Target::Torrent(torrent) => Shown::of_torrent(torrent),
        Target::Magnet(magnet) => Shown::of_magnet(magnet),
    };
    let shown = Shown { scrape, ..shown };
    if json {
        let line = serde_json::to_string(&shown).or_exit(Exit::Other, || "cannot write JSON".to_owned())?;
        context.reporter.print(&escape_json(&line));
    } else {
        context.reporter.print(shown.for_people().trim_end());
    }
    Ok(Exit::Done)
}

/// The object of `--json`: its keys are the contract. What a link does not say is null or empty.
#[derive(Serialize, Debug)]
struct Shown {
    name: Option<String>,
    info_hash_v1: Option<String>,
    info_hash_v2: Option<String>,
    format: Option<&'static str>,
    total_length: Option<u64>,
    piece_length: Option<u64>,
    piece_count: Option<u32>,
    private: Option<bool>,
    source: Option<String>,
    comment: Option<String>,
    created_by: Option<String>,
    creation_date: Option<i64>,
    trackers: Vec<Vec<String>>,
    web_seeds: Vec<String>,
    nodes: Vec<String>,
    peers: Vec<String>,
    select: Vec<u32>,
    files: Vec<ShownFile>,
    warnings: Vec<String>,
    /// With `--scrape` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    scrape: Option<Vec<ShownScrape>>,
}

/// What a tracker knows, or why it did not say.
#[derive(Serialize, Debug)]
pub(super) struct ShownScrape {
    pub(super) tracker: String,
    pub(super) seeds: Option<u32>,
    pub(super) leeches: Option<u32>,
    pub(super) completed: Option<u32>,
    pub(super) error: Option<String>,
}

impl ShownScrape {
    fn for_people(&self) -> String {
        let seeds = self.seeds.map(|count| size::count(u64::from(count), "seed"));
        let leeches = self.leeches.map(|count| format!("{count} leeching"));
        let completed = self.completed.map(|count| format!("{count} completed"));
        let said: Vec<String> = [seeds, leeches, completed].into_iter().flatten().collect();
        match &self.error {
            Some(error) => format!("{}: {error}", self.tracker),
            None if said.is_empty() => format!("{}: does not know it", self.tracker),
            None => format!("{}: {}", self.tracker, said.join(", ")),
        }
    }
}

/// One file; padding files are none.
#[derive(Serialize, Debug)]
struct ShownFile {
    path: Vec<String>,
    length: u64,
    root: Option<String>,
    attributes: String,
}

/// Numbers of `so` (BEP 53) that are written out, at most: no torrent has more files.
const MAX_SELECT: usize = shoal_layout::MAX_FILES;

impl Shown {
    fn of_torrent(torrent: &Torrent) -> Shown {
        let info = &torrent.info;
        let files = info.files().map(|file| ShownFile {
            path: file.path.to_vec(),
            length: file.length,
            root: file.root.map(|root| hex(&root)),
            attributes: letters(file.attributes),
        });
        let (v1, v2) = hash_words(&info.hashes());
        Shown {
            name: Some(info.name().to_owned()),
            info_hash_v1: v1,
            info_hash_v2: v2,
            format: Some(format_word(info.format())),
            total_length: Some(info.layout().payload_length()),
            piece_length: Some(u64::from(info.layout().piece_length())),
            piece_count: Some(info.layout().pieces()),
            private: Some(info.private()),
            source: info.source().map(str::to_owned),
            comment: torrent.comment.clone(),
            created_by: torrent.created_by.clone(),
            creation_date: torrent.creation_date,
            trackers: torrent.trackers.clone(),
            web_seeds: torrent.web_seeds.clone(),
            nodes: torrent.nodes.iter().map(host_port).collect(),
            peers: Vec::new(),
            select: Vec::new(),
            files: files.collect(),
            warnings: torrent.warnings.iter().map(ToString::to_string).collect(),
            scrape: None,
        }
    }

    fn of_magnet(magnet: &Magnet) -> Shown {
        let (v1, v2) = hash_words(&magnet.hashes);
        Shown {
            name: magnet.name.clone(),
            info_hash_v1: v1,
            info_hash_v2: v2,
            format: None,
            total_length: magnet.length,
            piece_length: None,
            piece_count: None,
            private: None,
            source: None,
            comment: None,
            created_by: None,
            creation_date: None,
            trackers: magnet.trackers.iter().map(|url| vec![url.clone()]).collect(),
            web_seeds: magnet.web_seeds.clone(),
            nodes: Vec::new(),
            peers: magnet.peers.iter().map(host_port).collect(),
            select: magnet.select.iter().cloned().flatten().take(MAX_SELECT).collect(),
            files: Vec::new(),
            warnings: magnet.warnings.iter().map(ToString::to_string).collect(),
            scrape: None,
        }
    }

    fn for_people(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let mut line = |label: &str, text: &str| {
            let line = format!("{label:<14}{}", escape(text));
            let _ = writeln!(out, "{}", line.trim_end());
        };
        line("name", self.name.as_deref().unwrap_or("(the link does not say)"));
        for (label, value) in [("info hash v1", &self.info_hash_v1), ("info hash v2", &self.info_hash_v2)] {
            if let Some(value) = value {
                line(label, value);
            }
        }
        if let Some(format) = self.format {
            line("format", format);
        }
        if let Some(length) = self.total_length {
            let files = if self.files.is_empty() {
                String::new()
            } else {
                format!(" in {}", size::count(self.files.len() as u64, "file"))
            };
            line("size", &format!("{} ({length} bytes){files}", size::bytes(length)));
        }
        if let (Some(length), Some(count)) = (self.piece_length, self.piece_count) {
            line("pieces", &format!("{count} of {}", size::bytes(length)));
        }
        if self.private == Some(true) {
            line("private", "yes: only its trackers may tell peers about it");
        }
        for (label, value) in [("source", &self.source), ("comment", &self.comment), ("created by", &self.created_by)] {
            if let Some(value) = value {
                line(label, value);
            }
        }
        if let Some(date) = self.creation_date {
            line("created", &date_text(date));
        }
        for (number, tier) in self.trackers.iter().enumerate() {
            let label = if number == 0 { "trackers" } else { "" };
            line(label, &tier.join("  or  "));
        }
        for (number, scrape) in self.scrape.iter().flatten().enumerate() {
            line(if number == 0 { "scrape" } else { "" }, &scrape.for_people());
        }
        for (label, list) in [("web seeds", &self.web_seeds), ("DHT nodes", &self.nodes), ("peers", &self.peers)] {
            for (number, item) in list.iter().enumerate() {
                line(if number == 0 { label } else { "" }, item);
            }
        }
        if !self.select.is_empty() {
            // A link may name thousands; people see the first.
            let shown: Vec<String> = self.select.iter().take(20).map(ToString::to_string).collect();
            let more = if self.select.len() > 20 { ", …" } else { "" };
            line("select", &format!("{}{more}", shown.join(", ")));
        }
        if !self.files.is_empty() {
            line("files", "");
            out.push_str(&file_list(
                self.files.iter().map(|file| (file.path.join("/"), file.length, &file.attributes)),
            ));
        }
        for warning in &self.warnings {
            let _ = writeln!(out, "{:<14}{}", "warning", escape(warning));
        }
        out
    }
}

/// Numbered lines, from 1: size, path, attributes. Also what `download --list` prints.
pub(super) fn file_list(files: impl Iterator<Item = (String, u64, impl AsRef<str>)>) -> String {
    let mut out = String::new();
    for (number, (path, length, attributes)) in files.enumerate() {
        let _ = write!(out, "{:>6}  {:>10}  {}", number + 1, size::bytes(length), escape(&path));
        let words: Vec<&str> = attributes.as_ref().chars().filter_map(attribute_word).collect();
        if !words.is_empty() {
            let _ = write!(out, "  ({})", words.join(", "));
        }
        out.push('\n');
    }
    out
}

/// The letters of BEP 47.
pub(super) fn letters(attributes: &Attributes) -> String {
    let mut letters = String::new();
    for (set, letter) in [(attributes.executable, 'x'), (attributes.hidden, 'h'), (attributes.symlink.is_some(), 'l')] {
        if set {
            letters.push(letter);
        }
    }
    letters
}

fn attribute_word(letter: char) -> Option<&'static str> {
    match letter {
        'x' => Some("executable"),
        'h' => Some("hidden"),
        'l' => Some("symlink"),
        _ => None,
    }
}

fn format_word(format: Format) -> &'static str {
    match format {
        Format::V1 => "v1",
        Format::V2 => "v2",
        Format::Hybrid => "hybrid",
    }
}

/// Both hashes in hex.
pub(super) fn hash_words(hashes: &InfoHashes) -> (Option<String>, Option<String>) {
    (hashes.v1.map(|hash| hash.to_string()), hashes.v2.map(|hash| hash.to_string()))
}

fn host_port((host, port): &(String, u16)) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Seconds since 1970 as a date; what is no date of a common year, as the number that it is.
fn date_text(seconds: i64) -> String {
    // The end of the year 9999, the last that RFC 3339 can write.
    const LAST: u64 = 253_402_300_799;
    match u64::try_from(seconds) {
        Ok(seconds) if seconds <= LAST => {
            humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
        }
        _ => seconds.to_string(),
    }
}

/// For a target that must be a torrent file.
pub(super) fn need_torrent(target: Target, what_for: &str) -> Result<std::sync::Arc<Torrent>, Failure> {
    match target {
        Target::Torrent(torrent) => Ok(torrent),
        Target::Magnet(_) => {
            Err(Failure::new(Exit::Usage, format!("a link does not hold what {what_for} needs; name a torrent file")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_shows_what_it_says_and_null_for_the_rest() {
        let link = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=a%20b&tr=http%3A%2F%2Ft%2Fannounce&x.pe=10.0.0.1:7&so=0,2-4";
        let Ok(Target::Magnet(magnet)) = Target::read(link) else { panic!("it is a link") };
        let value = serde_json::to_value(Shown::of_magnet(&magnet)).unwrap();
        assert_eq!(value["name"], "a b");
        assert_eq!(value["info_hash_v1"], "0123456789abcdef0123456789abcdef01234567");
        assert_eq!(value["info_hash_v2"], serde_json::Value::Null);
        assert_eq!(value["trackers"], serde_json::json!([["http://t/announce"]]));
        assert_eq!(value["peers"], serde_json::json!(["10.0.0.1:7"]));
        assert_eq!(value["select"], serde_json::json!([0, 2, 3, 4]));
        assert_eq!(value.as_object().unwrap().len(), 19);
    }

    #[test]
    fn dates_beyond_any_calendar_are_numbers() {
        assert_eq!(date_text(0), "1970-01-01T00:00:00Z");
        assert_eq!(date_text(-5), "-5");
        assert_eq!(date_text(i64::MAX), i64::MAX.to_string());
    }

    #[test]
    fn listed_names_are_harmless() {
        let text = file_list(std::iter::once(("a\u{1b}[2J/b".to_owned(), 2048, "x")));
        assert_eq!(text, "     1     2.0 KiB  a\\u{1b}[2J/b  (executable)\n");
    }
}
