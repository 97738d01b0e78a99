//! Failures of sources by kind, for the machine that says why nothing moves.

use crate::http::HttpError;
use crate::tracker::TrackerError;
use shoal_swarm::{SourceError, SourceErrorKind};
use std::io;
use tokio_rustls::rustls::{CertificateError, Error as TlsError};

/// The kind of what the system says when an address cannot be reached.
pub(crate) fn kind_of_io(error: &io::Error) -> SourceErrorKind {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => SourceErrorKind::Silent,
        io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => SourceErrorKind::NoRoute,
        _ => SourceErrorKind::Refused,
    }
}

/// The kind of what went wrong while a secure connection was opened.
fn kind_of_tls(error: &io::Error) -> SourceErrorKind {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    match inner {
        Some(TlsError::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => SourceErrorKind::Clock,
        _ => SourceErrorKind::Tls,
    }
}

impl HttpError {
    /// Which kind of failure it is.
    pub fn kind(&self) -> SourceErrorKind {
        match self {
            HttpError::Scheme { .. } | HttpError::Url { .. } => SourceErrorKind::Unusable,
            HttpError::Resolve { .. } => SourceErrorKind::Dns,
            HttpError::Forbidden { .. } => SourceErrorKind::Forbidden,
            HttpError::Connect { source, .. } => kind_of_io(source),
            HttpError::Tls { source, .. } => kind_of_tls(source),
            HttpError::Status { .. } => SourceErrorKind::Refusal,
            HttpError::Http { .. } | HttpError::TooLong { .. } | HttpError::Redirects | HttpError::Downgrade { .. } => {
                SourceErrorKind::Nonsense
            }
            HttpError::Timeout { .. } => SourceErrorKind::Silent,
        }
    }
}

impl TrackerError {
    /// Which kind of failure it is.
    pub fn kind(&self) -> SourceErrorKind {
        match self {
            TrackerError::Url | TrackerError::Scheme { .. } | TrackerError::NoScrape => SourceErrorKind::Unusable,
            TrackerError::Http(error) => error.kind(),
            TrackerError::Failure { .. } => SourceErrorKind::Refusal,
            TrackerError::Malformed => SourceErrorKind::Nonsense,
        }
    }
}

impl From<&TrackerError> for SourceError {
    fn from(error: &TrackerError) -> SourceError {
        SourceError::new(error.kind(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_has_a_kind() {
        for (kind, expected) in [
            (io::ErrorKind::ConnectionRefused, SourceErrorKind::Refused),
            (io::ErrorKind::ConnectionReset, SourceErrorKind::Refused),
            (io::ErrorKind::TimedOut, SourceErrorKind::Silent),
            (io::ErrorKind::NetworkUnreachable, SourceErrorKind::NoRoute),
            (io::ErrorKind::HostUnreachable, SourceErrorKind::NoRoute),
        ] {
            let error = HttpError::Connect { host: "t".to_owned(), source: kind.into() };
            assert_eq!(TrackerError::from(error).kind(), expected, "{kind:?}");
        }
    }

    #[test]
    fn a_certificate_of_the_future_accuses_the_clock_and_others_the_server() {
        let tls = |error| {
            let source = io::Error::new(io::ErrorKind::InvalidData, TlsError::InvalidCertificate(error));
            HttpError::Tls { host: "t".to_owned(), source }.kind()
        };
        assert_eq!(tls(CertificateError::NotValidYet), SourceErrorKind::Clock);
        assert_eq!(tls(CertificateError::Expired), SourceErrorKind::Tls);
        assert_eq!(tls(CertificateError::UnknownIssuer), SourceErrorKind::Tls);
    }
}
