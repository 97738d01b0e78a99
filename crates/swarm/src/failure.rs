//! Why a source of peers gave nothing, and why a peer could not be reached: by kind, so that nobody has to read the text.
//!
//! Drivers meet the failures and sort them; the choice of what to tell the user ([`crate::Reason`]) looks at kinds only.

use std::fmt;

/// What kind of failure a tracker, the DHT or a web seed met.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SourceErrorKind {
    /// This machine has no route to it: no network, or none of its address family.
    NoRoute,
    /// Its name has no address, or no name server answered.
    Dns,
    /// Its certificate is not valid yet: this machine's clock is most likely wrong.
    Clock,
    /// Its certificate is wrong or expired, or what it speaks is no TLS.
    Tls,
    /// It is on a network where the torrent may not lead us (`--allow-private-networks`).
    Forbidden,
    /// It answered, and said no: a failure reason, or a status that is none of success.
    Refusal,
    /// It answered something that makes no sense.
    Nonsense,
    /// Nothing listens there, or the connection broke.
    Refused,
    /// It did not answer in time.
    Silent,
    /// The URL, or its scheme, cannot be used.
    Unusable,
}

impl SourceErrorKind {
    /// Whether the source itself said something: then it is there, and others may be answered better.
    pub fn is_answer(self) -> bool {
        match self {
            SourceErrorKind::Refusal | SourceErrorKind::Nonsense => true,
            // Nobody was asked, and nobody is to be blamed.
            SourceErrorKind::Forbidden | SourceErrorKind::Unusable => true,
            SourceErrorKind::NoRoute
            | SourceErrorKind::Dns
            | SourceErrorKind::Clock
            | SourceErrorKind::Tls
            | SourceErrorKind::Refused
            | SourceErrorKind::Silent => false,
        }
    }
}

/// Why a source gave nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceError {
    /// Which kind.
    pub kind: SourceErrorKind,
    /// One line for the user; it may quote what the other side sent, not escaped.
    pub text: String,
}

impl SourceError {
    /// A failure with its line.
    pub fn new(kind: SourceErrorKind, text: impl Into<String>) -> SourceError {
        SourceError { kind, text: text.into() }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How a dial failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DialFailure {
    /// Its machine said that nothing listens there, or that we may not.
    Refused,
    /// Nobody answered in time.
    Silent,
    /// This machine has no route to it.
    NoRoute,
    /// It was connected, and then closed, was silent, or was no peer of this torrent.
    Broke,
}
