//! Whose certificates are believed: Mozilla's list, and what the user adds.
//!
//! Organisations sign their own servers' certificates; their authority's certificate is added, and nothing is ever left
//! unchecked (reliability.md D3).

use std::sync::Arc;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Certificates in a file that are read, at most. Chosen: a whole system's list has about 150.
const MAX_ADDED: usize = 1000;

/// Certificate authorities that are believed beside Mozilla's list.
#[derive(Debug, Clone, Default)]
pub struct Authorities {
    added: Vec<CertificateDer<'static>>,
}

/// A file of certificates that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no certificates in PEM form: {reason}")]
pub struct NoCertificates {
    /// What is wrong.
    pub reason: String,
}

impl Authorities {
    /// Mozilla's list and the certificates of a PEM file's text (RFC 7468).
    pub fn with_pem(pem: &[u8]) -> Result<Authorities, NoCertificates> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).take(MAX_ADDED).collect();
        let added = read.map_err(|error| NoCertificates { reason: error.to_string() })?;
        // Old ones in a system's list may be beyond reading.
        let (usable, _) = RootCertStore::empty().add_parsable_certificates(added.iter().cloned());
        if usable == 0 {
            return Err(NoCertificates { reason: "the file has none".to_owned() });
        }
        Ok(Authorities { added })
    }

    /// How TLS is spoken with these.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.add_parsable_certificates(self.added.iter().cloned());
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}
