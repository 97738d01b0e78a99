//! Torrent files from the web, named by their URL.

use super::network;
use crate::args::NetworkArgs;
use crate::exit::{Exit, Failure, OrExit};
use crate::interrupt::Interrupt;
use crate::report::Level;
use crate::run::Context;
use crate::size;
use crate::target::{Target, Word};
use shoal_discovery::{Http, fetch_torrent};
use shoal_metainfo::Torrent;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Fetches what words name by a URL.
#[derive(Clone)]
pub(super) struct Fetch {
    http: Http,
    interrupt: Interrupt,
    /// Of the command as a whole, and when it is over.
    timeout: Option<(Duration, tokio::time::Instant)>,
}

impl Fetch {
    pub(super) fn new(
        args: &NetworkArgs,
        timeout: Option<(Duration, tokio::time::Instant)>,
        interrupt: Interrupt,
        context: &Context,
    ) -> Fetch {
        Fetch { http: network::http(&args.bind, args.allow_private_networks, context), interrupt, timeout }
    }

    /// What a word names, fetched if it is a URL.
    pub(super) async fn target(&self, word: Word, reporter: &crate::report::Reporter) -> Result<Target, Failure> {
        let url = match word {
            Word::Known(target) => return Ok(target),
            Word::Url(url) => url,
        };
        let shown = without_password(&url);
        reporter.say(Level::Verbose, &format!("fetching {shown}"));
        let timed_out = async {
            match self.timeout {
                Some((_, at)) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let bytes = tokio::select! {
            () = self.interrupt.raised() => return Err(Failure::new(Exit::Interrupted, "interrupted")),
            () = timed_out => {
                let after = size::time(self.timeout.map_or(Duration::ZERO, |(after, _)| after));
                return Err(Failure::new(Exit::NoPeers, format!("cannot fetch {shown}: no torrent file within {after}")));
            }
            fetched = fetch_torrent(&self.http, url) => {
                fetched.or_exit(Exit::Network, || format!("cannot fetch {shown}"))?
            }
        };
        let torrent = Torrent::parse(&bytes).or_exit(Exit::BadTorrent, || format!("bad torrent file {shown}"))?;
        Ok(Target::Torrent(Arc::new(torrent)))
    }
}

/// For people and logs.
fn without_password(url: &Url) -> String {
    let mut url = url.clone();
    // Fails for URLs without a host, and an http URL has one.
    let _ = url.set_password(None);
    url.to_string()
}
