//! Why there is no answer over HTTP.

use std::io;
use std::net::IpAddr;
use std::time::Duration;
use tokio_rustls::rustls::{self, CertificateError};

/// Why there is no answer. Every message is one line; it may quote what the other side sent, not escaped.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The scheme is not one that is spoken here.
    #[error("{scheme} is not supported here, only http and https")]
    Scheme {
        /// Which.
        scheme: String,
    },
    /// It is no URL, or one without a host.
    #[error("not a usable URL: {url}")]
    Url {
        /// The text.
        url: String,
    },
    /// The name has no address, or none of the family that was asked for.
    #[error("cannot resolve {host}: {reason}")]
    Resolve {
        /// The name.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// The address is one that the rule forbids.
    #[error("{} on a local or private network; use --allow-private-networks if that is meant", place(.host, .ip))]
    Forbidden {
        /// The name.
        host: String,
        /// An address that it has.
        ip: IpAddr,
    },
    /// No address could be connected to.
    #[error("cannot connect to {host}: {source}")]
    Connect {
        /// The name.
        host: String,
        /// What the system said of the last one.
        source: io::Error,
    },
    /// The certificate is wrong, or what it speaks is no TLS.
    #[error("no secure connection to {host}: {}", tls_reason(.source))]
    Tls {
        /// The name.
        host: String,
        /// What is wrong.
        source: io::Error,
    },
    /// What it speaks is no HTTP, or the connection broke.
    #[error("bad answer from {host}: {reason}")]
    Http {
        /// The name.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// The body is longer than the bound, before or after unpacking.
    #[error("the answer from {host} is too long")]
    TooLong {
        /// The name.
        host: String,
    },
    /// A status other than success.
    #[error("{host} answered {status}")]
    Status {
        /// The name.
        host: String,
        /// The status.
        status: u16,
    },
    /// More redirects than are followed.
    #[error("too many redirects")]
    Redirects,
    /// A redirect from https to http, where that is not taken.
    #[error("{host} redirects from https to http; name that URL itself if that is meant")]
    Downgrade {
        /// The name.
        host: String,
    },
    /// The time is up.
    #[error("no answer within {} s", .after.as_secs())]
    Timeout {
        /// The time that it had.
        after: Duration,
    },
}

/// `t.example is at 10.0.0.1,`, or `10.0.0.1 is` where the host is the address.
fn place(host: &str, ip: &IpAddr) -> String {
    let ip = ip.to_string();
    if host.trim_matches(['[', ']']) == ip { format!("{ip} is") } else { format!("{host} is at {ip},") }
}

/// What is wrong with a certificate, in words that say what to do.
fn tls_reason(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(wrong)) = inner else { return error.to_string() };
    match wrong {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; is this computer's clock right?".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "its certificate is signed by itself or by an authority that is not known here; \
             SSL_CERT_FILE can name a file with that authority's certificate"
                .to_owned()
        }
        other => format!("its certificate is wrong: {other}"),
    }
}
