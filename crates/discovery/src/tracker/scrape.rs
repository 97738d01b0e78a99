//! How many peers a tracker knows, without joining them: BEP 48 over HTTP; the UDP form is in `udp`.

use super::reply::{count, failure};
use super::{Scraped, TrackerError};
use percent_encoding::percent_encode;
use shoal_bencode::{Document, Limits};
use url::Url;

/// The URL that is asked: where an announce URL's last part begins with `announce`, that word is `scrape` (BEP 48). `None`
/// for other URLs: such a tracker has none.
pub(super) fn scrape_url(announce: &Url, hashes: &[[u8; 20]]) -> Option<Url> {
    let (folder, last) = announce.path().rsplit_once('/')?;
    let rest = last.strip_prefix("announce")?;
    let mut url = announce.clone();
    url.set_path(&format!("{folder}/scrape{rest}"));
    let mut query = announce.query().filter(|own| !own.is_empty()).map_or(String::new(), |own| format!("{own}&"));
    for (number, hash) in hashes.iter().enumerate() {
        query.push_str(if number == 0 { "info_hash=" } else { "&info_hash=" });
        query.extend(percent_encode(hash, super::query::ENCODED));
    }
    url.set_query(Some(&query));
    Some(url)
}

/// Reads an answer: for each of these hashes what it says, `None` where it says nothing.
pub fn parse(body: &[u8], hashes: &[[u8; 20]]) -> Result<Vec<Option<Scraped>>, TrackerError> {
    let document = Document::parse_prefix(body, Limits::MESSAGE).map_err(|_| TrackerError::Malformed)?;
    let dict = document.root().as_dict().ok_or(TrackerError::Malformed)?;
    if let Some(reason) = failure(&dict) {
        return Err(TrackerError::Failure { reason });
    }
    let files = dict.get("files").and_then(|files| files.as_dict()).ok_or(TrackerError::Malformed)?;
    let of = |hash: &[u8; 20]| {
        let file = files.get(hash)?.as_dict()?;
        Some(Scraped {
            seeds: count(&file, "complete"),
            completed: count(&file, "downloaded"),
            leeches: count(&file, "incomplete"),
        })
    };
    Ok(hashes.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announce_url_has_a_scrape_form_as_bep_48_says() {
        for (announce, expected) in [
            ("http://t/announce", Some("http://t/scrape?info_hash=hhhhhhhhhhhhhhhhhhhh")),
            ("http://t/x/announce.php?k=1", Some("http://t/x/scrape.php?k=1&info_hash=hhhhhhhhhhhhhhhhhhhh")),
            ("http://t/announce/x", None),
            ("http://t/a", None),
            ("http://t/", None),
        ] {
            let url = scrape_url(&Url::parse(announce).unwrap(), &[[b'h'; 20]]);
            assert_eq!(url.as_ref().map(Url::as_str), expected, "{announce}");
        }
        let two = scrape_url(&Url::parse("http://t/announce").unwrap(), &[[b'a'; 20], [b'b'; 20]]).unwrap();
        assert_eq!(two.query().unwrap().matches("info_hash=").count(), 2);
    }

    #[test]
    fn answers_are_read_by_hash_and_what_is_strange_counts_as_not_said() {
        let mut body = b"d5:filesd20:".to_vec();
        body.extend([b'h'; 20]);
        body.extend(b"d8:completei3e10:downloaded1:910:incompletei-1eeee");
        let expected = Scraped { seeds: Some(3), completed: Some(9), leeches: None };
        assert_eq!(parse(&body, &[[b'h'; 20], [0; 20]]).unwrap(), [Some(expected), None]);
        assert!(matches!(parse(b"de", &[]), Err(TrackerError::Malformed)));
        assert!(matches!(parse(b"<html>", &[]), Err(TrackerError::Malformed)));
        let refused = parse(b"d14:failure reason2:noe", &[]);
        assert!(matches!(refused, Err(TrackerError::Failure { reason }) if reason == "no"));
    }
}
