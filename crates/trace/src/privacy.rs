//! What a trace does not tell: a trace is sent to strangers, with a report of a bug.
//!
//! Paths, queries and user names of tracker and web seed URLs hold pass keys; the machine only tells URLs apart, so each is
//! replaced by its scheme, host and number. Where an error's text quotes one of them, it is replaced there too.

use shoal_swarm::SwarmConfig;
use std::collections::BTreeMap;

/// URLs and what stands for them.
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    /// Longest first, so that one that begins like another is replaced whole.
    names: Vec<(String, String)>,
}

impl Hidden {
    /// Replaces the URLs of a configuration, and remembers them.
    pub(crate) fn of(config: &mut SwarmConfig) -> Hidden {
        let mut names = BTreeMap::new();
        for url in config.trackers.iter_mut().flatten().chain(&mut config.web_seeds) {
            let number = names.len();
            let name = names.entry(url.clone()).or_insert_with(|| format!("{}/#{number}", origin(url)));
            url.clone_from(name);
        }
        let mut names: Vec<(String, String)> = names.into_iter().collect();
        names.sort_by_key(|(url, _)| std::cmp::Reverse(url.len()));
        Hidden { names }
    }

    /// A text without them.
    pub(crate) fn cleaned(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (url, name) in &self.names {
            // Also without its scheme and host, as a server quotes it. A short path is no secret, and may be a word.
            let path = url.strip_prefix(&origin(url)).unwrap_or_default();
            for secret in [url.as_str(), path].into_iter().filter(|secret| secret.len() > "/announce".len()) {
                if text.contains(secret) {
                    text = text.replace(secret, name);
                }
            }
        }
        text
    }
}

/// Scheme, host and port.
fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_metainfo::{InfoHashV1, InfoHashes};

    #[test]
    fn pass_keys_are_left_out_and_equal_urls_stay_equal() {
        let url = "https://t.example:8443/announce/0123456789abcdef?key=secret";
        let mut config = SwarmConfig::new(InfoHashes::from_v1(InfoHashV1([1; 20])), [2; 20]);
        config.trackers = vec![vec![url.to_owned(), "udp://u:p@o.example:1/".to_owned()], vec![url.to_owned()]];
        config.web_seeds = vec!["http://w.example/files?token=x".to_owned()];
        let hidden = Hidden::of(&mut config);
        let t = "https://t.example:8443/#0";
        assert_eq!(config.trackers, [vec![t, "udp://o.example:1/#1"], vec![t]]);
        assert_eq!(config.web_seeds, ["http://w.example/#2"]);
        assert_eq!(hidden.cleaned(&format!("cannot reach {url}: no")), format!("cannot reach {t}: no"));
        assert!(!hidden.cleaned("no /announce/0123456789abcdef?key=secret here").contains("secret"));
    }
}
