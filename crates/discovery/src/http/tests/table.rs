//! Every row of the table in `docs/networks.md`, asked as it says.

use super::servers::Table;
use super::*;
use crate::networks::scope;
use crate::{Trackers, TrackersConfig};

/// A row: what is asked, the URL, the addresses of its name in turn, and what is to happen in turn.
struct Row {
    number: u32,
    what: String,
    url: String,
    addrs: Vec<Vec<String>>,
    outcomes: Vec<String>,
}

fn rows() -> Vec<Row> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/networks.md")).unwrap();
    let in_turn = |cell: &str| cell.split(", then ").map(|part| part.trim().to_owned()).collect::<Vec<_>>();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim().trim_matches('|').split(" | ").map(str::trim).collect();
        let &[number, what, url, addrs, outcome] = &cells[..] else { return None };
        Some(Row {
            number: number.parse().ok()?,
            what: what.to_owned(),
            url: url.split('`').nth(1)?.to_owned(),
            addrs: in_turn(addrs).iter().map(|ips| ips.split_whitespace().map(str::to_owned).collect()).collect(),
            outcomes: in_turn(outcome),
        })
    };
    // An empty cell is as wide as one space.
    page.replace("| |", "|  |").lines().filter_map(row).collect()
}

/// Where it is asked, or `refused`.
async fn ask(row: &Row, http: &Http) -> String {
    let found = match row.what.as_str() {
        "tracker" | "typed" => {
            let config = TrackersConfig { peer_id: [0; 20], key: 0, port: 1, allow_private_networks: false };
            let trackers = Trackers::new(config, http.clone());
            trackers.addrs(&row.url, row.what == "typed").await.map_err(|error| error.to_string())
        }
        "web seed" => {
            let url = Url::parse(&row.url).unwrap();
            let found = http.find(&url, Asked::File, Named::ByTorrent, Vec::new()).await;
            found.map_err(|error| error.to_string())
        }
        what => {
            let from: IpAddr = what.strip_prefix("redirect from ").unwrap().parse().unwrap();
            let named = Named::ByRedirect(scope(from).unwrap());
            let base = Url::parse("http://t.example/announce").unwrap();
            match redirect(&base, &row.url) {
                Ok(url) => {
                    let found = http.find(&url, Asked::Tracker, named, Vec::new()).await;
                    found.map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            }
        }
    };
    match found {
        Ok(addrs) => {
            let ips: Vec<String> = addrs.iter().map(|addr| addr.ip().to_string()).collect();
            format!("asked at {}", ips.join(" "))
        }
        Err(why) => {
            let refused = why.contains("local or private network") || why.contains("not supported here");
            assert!(refused, "{}: refused for another reason: {why}", row.number);
            "refused".to_owned()
        }
    }
}

#[tokio::test]
async fn every_row_of_the_page_is_as_it_says() {
    let rows = rows();
    assert_eq!(rows.len(), 44, "the page was read");
    for row in rows {
        let table = Table::default();
        if let Some(host) = Url::parse(&row.url).unwrap().host_str() {
            let answers: Vec<Vec<&str>> =
                row.addrs.iter().map(|ips| ips.iter().map(String::as_str).collect()).collect();
            let answers: Vec<&[&str]> = answers.iter().map(Vec::as_slice).collect();
            table.insert(host, &answers);
        }
        let http = Http::with_names(&HttpConfig::default(), Arc::new(table));
        for outcome in &row.outcomes {
            assert_eq!(&ask(&row, &http).await, outcome, "{}: {}", row.number, row.url);
        }
    }
}
