//! Starting a session from the flags that `share`, `seed` and `download` have in common, and what its errors mean.

use crate::args::NetworkArgs;
use crate::exit::{Exit, Failure};
use crate::report::Event;
use crate::run::Context;
use crate::size::Rate;
use shoal_discovery::{Http, HttpConfig};
use shoal_session::{DEFAULT_PORT, DhtChoice, MappingStatus, PortChoice, Session, SessionConfig, SessionError};
use shoal_storage::{LockError, StorageError};
use std::net::IpAddr;
use std::time::Duration;

/// Stopping takes 2 s at most for trackers (product.md) and a sync of what was written; after this the process ends
/// whatever hangs (reliability.md F15: 5 s in all).
const STOP_WITHIN: Duration = Duration::from_millis(4500);

/// For the router's answer. Chosen: PCP and NAT-PMP take less, UPnP's search may take more.
const MAPPING_WITHIN: Duration = Duration::from_secs(2);

/// Listens, and tells where.
pub(super) async fn start(args: &NetworkArgs, down: Option<Rate>, context: &Context) -> Result<Session, Failure> {
    let session = open(args, down, context).await?;
    tell(&session, context);
    Ok(session)
}

/// The events that say where it listens. A seed tells when its torrents are in place: whoever reads it may dial at once.
pub(super) fn tell(session: &Session, context: &Context) {
    for addr in session.listening() {
        context.reporter.event(0, &Event::Listening { addr: addr.to_string() });
    }
}

/// What the flags say.
fn config(args: &NetworkArgs, down: Option<Rate>, context: &Context) -> SessionConfig {
    SessionConfig {
        bind: args.bind.clone(),
        port: match args.port {
            None => PortChoice::FirstFreeFrom(DEFAULT_PORT),
            Some(0) => PortChoice::Any,
            Some(port) => PortChoice::Exactly(port),
        },
        up_limit_bytes_per_s: args.up.and_then(|rate| rate.0),
        down_limit_bytes_per_s: down.and_then(|rate| rate.0),
        lan: !args.no_lan,
        allow_private_networks: args.allow_private_networks,
        authorities: context.authorities(),
        dht: uses_dht(args).then(|| DhtChoice { bootstrap: args.dht_bootstrap.clone() }),
        port_mapping: !args.no_port_mapping,
        lan_only: args.lan_only,
        state_dir: context.state.clone(),
        ..SessionConfig::default()
    }
}

/// Listens, keeps nothing on the disk and lets no payload in.
pub(super) async fn open_without_traces(args: &NetworkArgs, context: &Context) -> Result<Session, Failure> {
    let config = config(args, Some(Rate(Some(0))), context);
    Session::start(SessionConfig { state_dir: None, ..config }).await.map_err(failure)
}

/// Listens.
pub(super) async fn open(args: &NetworkArgs, down: Option<Rate>, context: &Context) -> Result<Session, Failure> {
    Session::start(config(args, down, context)).await.map_err(failure)
}

/// Waits until the router has answered, but not longer than a user who looks at the screen would.
pub(super) async fn mapping_settled(session: &Session) {
    let mut mapping = session.port_mapping();
    let settled = mapping.wait_for(|status| *status != MappingStatus::Trying);
    // What comes later is told when it comes.
    let _ = tokio::time::timeout(MAPPING_WITHIN, settled).await;
}

/// What the router said, as a sentence.
pub(super) fn mapping_line(session: &Session) -> String {
    let port = session.listening().first().map_or(0, std::net::SocketAddr::port);
    match &*session.port_mapping().borrow() {
        MappingStatus::Off => format!("port {port} is not mapped: reachable on this network only"),
        MappingStatus::Trying => format!("asking the router for port {port}"),
        MappingStatus::Failed(why) => {
            format!("port {port} is not mapped: {why}; LAN only, unless your router forwards it")
        }
        MappingStatus::Mapped(mapped) => match (session.public_address(), mapped.address) {
            (Some(public), _) => {
                format!("port {port} is reachable: mapped by {}, public address {public}", mapped.method.name())
            }
            (None, Some(far)) => format!(
                "port {port} is mapped by {}, but the router is behind another one (at {far}); LAN only",
                mapped.method.name()
            ),
            (None, None) => format!("port {port} is mapped by {}", mapped.method.name()),
        },
    }
}

/// Makes requests as these flags say, without a session.
pub(super) fn http(bind: &[IpAddr], allow_private_networks: bool, context: &Context) -> Http {
    Http::new(&HttpConfig { bind: bind.to_vec(), authorities: context.authorities(), allow_private_networks })
}

/// Whether torrents are looked for in the DHT; private ones never are.
pub(super) fn uses_dht(args: &NetworkArgs) -> bool {
    !args.no_dht && !args.lan_only
}

/// `0.0.0.0:6881, [::]:6881`.
pub(super) fn listening(session: &Session) -> String {
    session.listening().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Saves and stops everything, within bounds.
pub(super) async fn stop(session: &Session) {
    // Past the bound the process may end: what is on disk is valid at any moment.
    let _ = tokio::time::timeout(STOP_WITHIN, session.shutdown()).await;
}

/// The exit code that belongs to a session's error, with its message.
pub(super) fn failure(error: SessionError) -> Failure {
    let exit = match &error {
        SessionError::Listen { .. } => Exit::Network,
        SessionError::Duplicate | SessionError::Lock(LockError::AlreadyRunning { .. }) => Exit::Running,
        SessionError::Lock(LockError::SamePlace { .. }) => Exit::Other,
        SessionError::Lock(_) => Exit::Disk,
        SessionError::Metadata(_) => Exit::BadTorrent,
        SessionError::Selection(_) => Exit::Usage,
        SessionError::Storage(
            StorageError::Foreign { .. }
            | StorageError::Long { .. }
            | StorageError::Link { .. }
            | StorageError::NotAFile { .. },
        ) => Exit::Other,
        SessionError::Storage(_) => Exit::Disk,
        _ => Exit::Other,
    };
    Failure { exit, error: error.into() }
}
