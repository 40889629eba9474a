//! TLS and WebSocket against a real mosquitto, with certificates made for each test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise, its helpers as well"
)]

mod support;

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use routemq_mqtt::{ConnectionState, QoS, SessionConfig, SessionStatus, TlsConfig, Trouble};
use support::{
    Listener, config, filter,
    mosquitto::{Mosquitto, free_port},
};

/// An authority and what it signed, as PEM files.
struct Certificates {
    directory: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let own = Self { directory: tempfile::tempdir().unwrap(), authority };
        own.write("ca.crt", &own.authority.pem());
        own
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// `<name>.crt` and `<name>.key`, for these host names.
    fn issue(&self, name: &str, hosts: &[&str], change: impl FnOnce(&mut CertificateParams)) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        self.write(&format!("{name}.crt"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// A broker with a TLS listener, and its port.
    async fn broker(&self, extra: &str) -> (Mosquitto, u16) {
        let port = free_port();
        let text = format!(
            "allow_anonymous true\nlistener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\n{extra}",
            self.path("ca.crt").display(),
            self.path("server.crt").display(),
            self.path("server.key").display(),
        );
        (Mosquitto::with(&text).await, port)
    }
}

fn secure(port: u16, scheme: &str, ca: Option<&Path>) -> SessionConfig {
    let mut own = config(port, "worker");
    own.url = format!("{scheme}://localhost:{port}/mqtt").parse().unwrap();
    own.tls = TlsConfig { ca: ca.map(Path::to_owned), client: None };
    own
}

/// A round trip: connected, granted, and the barrier came back.
async fn works(own: SessionConfig) {
    let client = Listener::eager(own);
    client.handle.subscribe_to(vec![filter("a/#", QoS::AtLeastOnce, 1)]).await;
    client
        .status("granted", |now| {
            now.filters.values().all(|state| {
                matches!(state, routemq_mqtt::FilterState::Granted { settled: true, .. })
            })
        })
        .await;
}

async fn refusal(own: SessionConfig) -> String {
    trouble(own).await.0
}

/// In words, and as a kind.
async fn trouble(own: SessionConfig) -> (String, Trouble) {
    let client = Listener::eager(own);
    let waiting = |now: &SessionStatus| matches!(now.connection, ConnectionState::Waiting { .. });
    match client.status("a refusal", waiting).await.connection {
        ConnectionState::Waiting { reason, trouble, .. } => (reason, trouble),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_trusted_broker_is_spoken_to() {
    let certificates = Certificates::new();
    certificates.issue("server", &["localhost"], |_| {});
    let (_broker, port) = certificates.broker("").await;
    works(secure(port, "mqtts", Some(&certificates.path("ca.crt")))).await;
}

#[tokio::test]
async fn a_broker_that_cannot_be_trusted_is_refused_in_words() {
    let certificates = Certificates::new();
    let ca = certificates.path("ca.crt");
    let refused = Trouble::TlsRefused;
    for (name, host, expired, trusted, (words, kind)) in [
        ("an unknown authority", "localhost", false, false, ("is not trusted", refused)),
        ("another host name", "elsewhere.example", false, true, ("for another host name", refused)),
        ("an expired certificate", "localhost", true, true, ("has expired", Trouble::TlsExpired)),
    ] {
        certificates.issue("server", &[host], |params| {
            if expired {
                expire(params);
            }
        });
        let (_broker, port) = certificates.broker("").await;
        let own = secure(port, "mqtts", trusted.then_some(ca.as_path()));
        let (said, what) = trouble(own).await;
        assert!(said.contains(words), "{name}: {said}");
        assert_eq!(what, kind, "{name}: {said}");
    }
}

fn expire(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
}

#[tokio::test]
async fn a_client_certificate_that_has_expired_is_told_apart_from_one_that_is_not_accepted() {
    let certificates = Certificates::new();
    certificates.issue("server", &["localhost"], |_| {});
    certificates.issue("client", &["worker"], expire);
    let (_broker, port) = certificates.broker("require_certificate true\n").await;
    let mut own = secure(port, "mqtts", Some(&certificates.path("ca.crt")));
    own.tls.client = Some((certificates.path("client.crt"), certificates.path("client.key")));
    let (said, kind) = trouble(own).await;
    assert_eq!(kind, Trouble::TlsExpired, "{said}");
    assert!(said.contains("client certificate has expired"), "{said}");

    let strangers = Certificates::new();
    strangers.issue("client", &["worker"], |_| {});
    let mut own = secure(port, "mqtts", Some(&certificates.path("ca.crt")));
    own.tls.client = Some((strangers.path("client.crt"), strangers.path("client.key")));
    let (said, kind) = trouble(own).await;
    assert_eq!(kind, Trouble::TlsRefused, "{said}");
}

#[tokio::test]
async fn a_client_certificate_is_given_and_its_lack_is_said() {
    let certificates = Certificates::new();
    certificates.issue("server", &["localhost"], |_| {});
    certificates.issue("client", &["worker"], |_| {});
    let (_broker, port) = certificates.broker("require_certificate true\n").await;
    let mut own = secure(port, "mqtts", Some(&certificates.path("ca.crt")));
    let said = refusal(own.clone()).await;
    assert!(said.contains("client certificate"), "{said}");
    own.tls.client = Some((certificates.path("client.crt"), certificates.path("client.key")));
    works(own).await;
}

#[tokio::test]
async fn a_plain_port_is_recognised_and_nothing_is_sent_to_it_in_plain() {
    let broker = Mosquitto::start().await;
    let certificates = Certificates::new();
    let own = secure(broker.port, "mqtts", Some(&certificates.path("ca.crt")));
    let said = refusal(own).await;
    assert!(said.contains("no secure connection to localhost"), "{said}");
}

#[tokio::test]
async fn missing_and_wrong_files_are_named() {
    let certificates = Certificates::new();
    certificates.write("empty.crt", "no certificate");
    for (file, words) in [("absent.crt", "cannot read certificates"), ("empty.crt", "holds no")] {
        let broker = Mosquitto::start().await;
        let said = refusal(secure(broker.port, "mqtts", Some(&certificates.path(file)))).await;
        assert!(said.contains(words) && said.contains(file), "{said}");
    }
}

#[tokio::test]
async fn websocket_carries_mqtt_with_and_without_tls() {
    let certificates = Certificates::new();
    certificates.issue("server", &["localhost"], |_| {});
    let (_broker, port) = certificates.broker("protocol websockets\n").await;
    works(secure(port, "wss", Some(&certificates.path("ca.crt")))).await;

    let port = free_port();
    let extra = format!("allow_anonymous true\nlistener {port} 127.0.0.1\nprotocol websockets\n");
    let _broker = Mosquitto::with(&extra).await;
    works(secure(port, "ws", None)).await;
}

#[tokio::test]
async fn a_port_that_speaks_no_websocket_is_said() {
    let broker = Mosquitto::start().await;
    let mut own = secure(broker.port, "ws", None);
    own.connect_timeout = std::time::Duration::from_secs(2);
    let said = refusal(own).await;
    assert!(said.contains("WebSocket") || said.contains("did not accept"), "{said}");
}
