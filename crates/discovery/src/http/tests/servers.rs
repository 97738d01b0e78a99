//! Servers on loopback that answer what a test says, and certificates for them.

use crate::resolve::{LookedUp, Lookup};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A server that gives each connection the next of these answers, nothing after the last, and tells what it was asked.
pub(crate) async fn server(answers: Vec<Vec<u8>>) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (asked, questions) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        while let Ok((tcp, _)) = listener.accept().await {
            answer(tcp, &answers.next().unwrap_or_default(), &asked).await;
        }
    });
    (addr, questions)
}

/// The same with TLS, as one who has this certificate.
pub(crate) async fn tls_server(own: Own, answers: Vec<Vec<u8>>) -> SocketAddr {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.certificate], own.key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (asked, _) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        while let Ok((tcp, _)) = listener.accept().await {
            // A client that does not trust us hangs up.
            if let Ok(tls) = acceptor.accept(tcp).await {
                answer(tls, &answers.next().unwrap_or_default(), &asked).await;
            }
        }
    });
    addr
}

async fn answer(mut io: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8], asked: &mpsc::UnboundedSender<String>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let _ = asked.send(String::from_utf8_lossy(&request).into_owned());
    // The client may hang up first; that is its right.
    let _ = io.write_all(answer).await;
    let _ = io.shutdown().await;
}

/// An answer of success with this body.
pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    with("200 OK", "", body)
}

/// An answer with a status, headers that each end a line, and a body.
pub(crate) fn with(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend(body);
    answer
}

/// A redirect.
pub(crate) fn redirect(to: &str) -> Vec<u8> {
    with("302 Found", &format!("Location: {to}\r\n"), b"")
}

/// Names and their answers, one after the other, the last for ever.
#[derive(Default)]
pub(crate) struct Table(Mutex<BTreeMap<String, VecDeque<Vec<IpAddr>>>>);

impl Table {
    pub(crate) fn insert(&self, name: &str, answers: &[&[&str]]) {
        let parse = |ips: &&[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
        self.0.lock().unwrap().insert(name.to_owned(), answers.iter().map(parse).collect());
    }
}

impl Lookup for Table {
    fn lookup(&self, host: &str, port: u16) -> LookedUp {
        let mut table = self.0.lock().unwrap();
        let answers = table.get_mut(host);
        let ips =
            answers.and_then(|answers| if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() });
        let found = ips.ok_or_else(|| std::io::Error::other("no such name"));
        Box::pin(async move { Ok(found?.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()) })
    }
}

/// A certificate and its key.
pub(crate) struct Own {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
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

    pub(crate) fn pem(&self) -> &[u8] {
        self.pem.as_bytes()
    }

    /// A certificate for this name, that ended in 2020 if `expired`.
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

/// Loopback.
pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
