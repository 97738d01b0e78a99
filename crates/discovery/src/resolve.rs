//! Names to addresses, behind a seam, so that what a name server answers can be part of a test.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

/// Addresses taken from one answer. Chosen: so many are tried within no one's patience.
pub(crate) const MAX_ADDRS: usize = 16;

/// The addresses of a name, or why there are none.
pub(crate) type LookedUp = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Finds the addresses of a name.
pub(crate) trait Lookup: Send + Sync {
    /// At most [`MAX_ADDRS`], in the order in which they are to be tried.
    fn lookup(&self, host: &str, port: u16) -> LookedUp;
}

/// The system's: hosts file, name servers.
pub(crate) struct System;

impl Lookup for System {
    fn lookup(&self, host: &str, port: u16) -> LookedUp {
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), port)).await?;
            Ok(found.take(MAX_ADDRS).collect())
        })
    }
}
