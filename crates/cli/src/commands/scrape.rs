//! `shoal show --scrape`: what a torrent's trackers know of it, asked without joining.

use super::show::{self, ShownScrape};
use super::{Outcome, network};
use crate::args::ShowArgs;
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::run::Context;
use crate::target::Target;
use shoal_discovery::{Scraped, TrackerError, Trackers, TrackersConfig};
use tokio::task::JoinSet;

/// Trackers that are asked, all at once. Chosen: what a swarm would use.
const MAX_TRACKERS: usize = 100;

/// Asks every tracker, then prints the torrent and what they said.
pub(super) async fn run(args: ShowArgs, context: &Context, interrupt: Interrupt) -> Outcome {
    let target = Target::read(&args.target)?;
    let urls: Vec<String> = match &target {
        Target::Torrent(torrent) => torrent.trackers.iter().flatten().cloned().collect(),
        Target::Magnet(magnet) => magnet.trackers.clone(),
    };
    if urls.is_empty() {
        return Err(Failure::new(Exit::Usage, "it names no tracker that could be asked; leave --scrape out"));
    }
    let allow_private_networks = args.allow_private_networks;
    let config = TrackersConfig { peer_id: [0; 20], key: 0, port: 0, allow_private_networks };
    let trackers = Trackers::new(config, network::http(&[], allow_private_networks, context));
    let hashes: Vec<[u8; 20]> = target.hashes().all_wire().collect();
    let mut asked = JoinSet::new();
    for (place, url) in urls.into_iter().take(MAX_TRACKERS).enumerate() {
        let (trackers, hashes) = (trackers.clone(), hashes.clone());
        asked.spawn(async move {
            let result = trackers.scrape(&url, &hashes, false).await;
            (place, shown(url, result))
        });
    }
    let answers = async {
        let mut answers = Vec::new();
        while let Some(Ok(answer)) = asked.join_next().await {
            answers.push(answer);
        }
        answers
    };
    let mut answers = tokio::select! {
        () = interrupt.raised() => return Err(Failure::new(Exit::Interrupted, "interrupted")),
        answers = answers => answers,
    };
    answers.sort_by_key(|(place, _)| *place);
    let answers: Vec<ShownScrape> = answers.into_iter().map(|(_, answer)| answer).collect();
    let any = answers.iter().any(|answer| answer.error.is_none());
    show::print_with(&target, Some(answers), args.json.json, context)?;
    if any { Ok(Exit::Done) } else { Ok(Exit::Network) }
}

/// A hybrid is asked about by both hashes; most peers are in both swarms, so the larger counts.
fn shown(tracker: String, result: Result<Vec<Option<Scraped>>, TrackerError>) -> ShownScrape {
    let (all, error) = match result {
        Ok(all) => (all, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let most = |of: fn(&Scraped) -> Option<u32>| all.iter().flatten().filter_map(of).max();
    ShownScrape {
        tracker,
        seeds: most(|scraped| scraped.seeds),
        leeches: most(|scraped| scraped.leeches),
        completed: most(|scraped| scraped.completed),
        error,
    }
}
