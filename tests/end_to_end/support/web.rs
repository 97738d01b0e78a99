//! A web server on this thread's network that answers each path with bytes that the test chose, plain or with TLS, and
//! certificates for it, good and bad.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig, ServerConnection, StreamOwned};

/// A whole answer: head and body.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut answer =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n").into_bytes();
    answer.extend(body);
    answer
}

/// A server; its thread ends with the test's process.
pub(crate) struct Web {
    pub(crate) addr: SocketAddr,
}

impl Web {
    /// Answers these paths (queries left out); others are not found. `own`: with TLS, as one who has this certificate.
    pub(crate) fn start(ip: IpAddr, own: Option<Own>, paths: &[(&str, Vec<u8>)]) -> Web {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let paths: BTreeMap<String, Vec<u8>> =
            paths.iter().map(|(path, answer)| ((*path).to_owned(), answer.clone())).collect();
        let (paths, tls) = (Arc::new(paths), own.map(|own| Arc::new(own.server())));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (paths, tls) = (Arc::clone(&paths), tls.clone());
                std::thread::spawn(move || match tls {
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).unwrap();
                        serve(StreamOwned::new(connection, stream), &paths, |io| io.conn.send_close_notify())
                    }
                    None => serve(stream, &paths, |_| {}),
                });
            }
        });
        Web { addr }
    }
}

/// Errors are the client's right: it may not trust us, or hang up.
fn serve<S: Read + Write>(stream: S, paths: &BTreeMap<String, Vec<u8>>, close: impl Fn(&mut S)) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let mut header = String::new();
    while reader.read_line(&mut header).ok()? > 2 {
        header.clear();
    }
    let path = request.split_whitespace().nth(1)?.split('?').next()?;
    let missing = answer("404 Not Found", "", b"");
    let mut stream = reader.into_inner();
    stream.write_all(paths.get(path).unwrap_or(&missing)).ok()?;
    close(&mut stream);
    stream.flush().ok()
}

/// A certificate and its key.
pub(crate) struct Own {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Own {
    fn server(self) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate], self.key)
            .unwrap()
    }
}

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for a name or address, that ended in 2020 if `expired`.
    pub(crate) fn sign(&self, name: &str, expired: bool) -> Own {
        let (params, key) = request(name, expired);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Own { certificate, key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
    }
}

/// A certificate that only its own key vouches for.
pub(crate) fn self_signed(name: &str) -> Own {
    let (params, key) = request(name, false);
    let certificate = params.self_signed(&key).unwrap().der().clone();
    Own { certificate, key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
}

fn request(name: &str, expired: bool) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    (params, KeyPair::generate().unwrap())
}
