//! `shoal dht`: how the DHT looks from here; who is under an info hash; announcing once.
//!
//! Each run has a node of its own. Results go to standard output as they come; with `--json` one object at the end.

use super::Outcome;
use crate::args::{DhtAction, DhtArgs};
use crate::exit::{Exit, Failure, OrExit};
use crate::interrupt::Interrupt;
use crate::report::Level;
use crate::run::Context;
use crate::target::Target;
use serde_json::{Value, json};
use shoal_discovery::dht::{Dht, DhtConfig, DhtStatus, NodeStatus};
use shoal_session::DEFAULT_PORT;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks at a node that has just started.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Nodes after which a start is over. Chosen: one full bucket (BEP 5 has 8, the node 20).
const ENOUGH_NODES: usize = 20;

/// Does it.
pub(super) async fn run(args: DhtArgs, context: &Context, interrupt: Interrupt) -> Outcome {
    let target = args.target.as_deref().map(Target::read).transpose()?;
    if let Some(Target::Torrent(torrent)) = &target
        && torrent.info.private()
    {
        let message = format!("{} is private (BEP 27): only its trackers may be asked", torrent.info.name());
        return Err(Failure::new(Exit::Usage, message));
    }
    let dht = Dht::start(DhtConfig {
        bootstrap: args.dht_bootstrap.clone(),
        bind: args.bind.clone(),
        allow_private_networks: args.allow_private_networks,
        state_dir: context.state.clone(),
        ..DhtConfig::default()
    });
    let dht = dht.or_exit(Exit::Network, || "cannot start a DHT node".to_owned())?;
    if let Some(Target::Torrent(torrent)) = &target {
        torrent.nodes.iter().take(ENOUGH_NODES).for_each(|(host, port)| dht.add_node(host.clone(), *port));
    }
    let work = async {
        match (args.action, &target) {
            (DhtAction::Status, _) => status(&dht, &args, context).await,
            (action, Some(target)) => seek(&dht, target, action == DhtAction::Announce, &args, context).await,
            // clap asks for it.
            (_, None) => Err(Failure::new(Exit::Usage, "name an info hash, a link or a torrent file".to_owned())),
        }
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = interrupt.raised() => Ok(Exit::Interrupted),
    };
    dht.stop().await;
    outcome
}

/// Waits until the node knows as many nodes as there seem to be, or `timeout`.
async fn settled(dht: &Dht, timeout: Duration) -> DhtStatus {
    let end = Instant::now() + timeout;
    let _ = tokio::time::timeout(timeout, dht.node()).await;
    let mut before = 0;
    loop {
        let status = dht.status().await;
        let nodes = status.node.as_ref().map_or(0, |node| node.nodes);
        if nodes >= ENOUGH_NODES || (nodes > 0 && nodes == before) || Instant::now() >= end {
            return status;
        }
        before = nodes;
        // A lookup lasts as long as its slowest question: while none is known, look often; then wait for stragglers.
        tokio::time::sleep(if nodes > 0 { 8 * LOOK_EVERY } else { LOOK_EVERY }).await;
    }
}

async fn status(dht: &Dht, args: &DhtArgs, context: &Context) -> Outcome {
    let DhtStatus { node, bootstrap, unresolved, failure, .. } = settled(dht, args.timeout).await;
    let node = node.unwrap_or_default();
    if args.json.json {
        context.reporter.print(&object(&node, bootstrap, &unresolved).to_string());
    } else {
        let NodeStatus { id, port, nodes, firewalled, serves, public_address, size_estimate } = &node;
        let seen = public_address.map_or("not known yet".to_owned(), |addr| addr.to_string());
        let role = match (serves, firewalled) {
            (true, _) => "asks and answers",
            (false, true) => "asks only: nobody was seen to reach it yet",
            (false, false) => "asks; will answer others after a quarter of an hour",
        };
        let lines = [
            format!("nodes known: {nodes} (of about {size_estimate} in all)"),
            format!("our node: {} on UDP port {port}, {role}", hex(id)),
            format!("our address as others see it: {seen}"),
            format!("bootstrap addresses: {bootstrap}"),
        ];
        context.reporter.print(&lines.join("\n"));
    }
    for name in &unresolved {
        context.reporter.say(Level::Normal, &format!("no address for the bootstrap node {name}"));
    }
    if node.nodes > 0 {
        return Ok(Exit::Done);
    }
    let why = match failure {
        Some(failure) => format!("the DHT node cannot start: {failure}"),
        None if bootstrap == 0 => "no DHT node to ask: name one with --dht-bootstrap HOST:PORT".to_owned(),
        None => format!("none of {bootstrap} bootstrap addresses answers; is UDP let through?"),
    };
    Err(Failure::new(Exit::Network, why))
}

fn object(node: &NodeStatus, bootstrap: usize, unresolved: &[String]) -> Value {
    json!({
        "schema": 1,
        "nodes": node.nodes,
        "size_estimate": node.size_estimate,
        "id": hex(&node.id),
        "port": node.port,
        "firewalled": node.firewalled,
        "serves": node.serves,
        "public_address": node.public_address.map(|addr| addr.to_string()),
        "bootstrap": bootstrap,
        "unresolved": unresolved,
    })
}

async fn seek(dht: &Dht, target: &Target, announce: bool, args: &DhtArgs, context: &Context) -> Outcome {
    let hashes: Vec<[u8; 20]> = target.hashes().all_wire().collect();
    let found = Mutex::new(Vec::new());
    let print = |addrs: Vec<SocketAddr>| {
        if !announce && !args.json.json {
            addrs.iter().for_each(|addr| context.reporter.print(&addr.to_string()));
        }
        found.lock().unwrap_or_else(PoisonError::into_inner).extend(addrs);
    };
    let port = announce.then(|| args.port.unwrap_or(DEFAULT_PORT));
    let sought = tokio::time::timeout(args.timeout, dht.seek(&hashes, port, true, &print)).await;
    let sought = match sought {
        Ok(Ok(sought)) => sought,
        Ok(Err(error)) => return Err(Failure::new(Exit::Network, error.text)),
        Err(_) => {
            let after = crate::size::time(args.timeout);
            return Err(Failure::new(Exit::Network, format!("the DHT lookup is not done after {after}")));
        }
    };
    let names: Vec<String> = hashes.iter().map(|hash| hex(hash)).collect();
    if args.json.json {
        let peers = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
        let mut object = json!({ "schema": 1, "hashes": names, "peers": peers, "nodes": sought.nodes });
        if let Some(port) = port {
            object["announced_port"] = port.into();
        }
        context.reporter.print(&object.to_string());
    } else if let Some(port) = port {
        names.iter().for_each(|name| context.reporter.print(&format!("announced {name} with TCP port {port}")));
    } else if sought.peers == 0 {
        let nodes = crate::size::count(u64::from(sought.nodes), "node");
        context.reporter.say(Level::Normal, &format!("no peers: the DHT knows nobody under this hash ({nodes} known)"));
    }
    Ok(Exit::Done)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
