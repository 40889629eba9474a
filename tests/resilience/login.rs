//! Passwords and certificates that are wrong, expired or exchanged while workers run.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use routemq_tests::{
    Authority, Certificate, Client, ClientConfig, Database, Directory, Mosquitto, MosquittoConfig,
    MosquittoTls, PATIENCE, Proxy, TABLE, WorkerConfig, WorkerProcess, ensure, eventually,
    free_port, messages, readings,
};
use rumqttc::v5::mqttbytes::QoS;

fn with_secrets(folder: &Path) -> Vec<String> {
    vec!["--secrets".to_owned(), folder.display().to_string()]
}

async fn rows(database: &Database, expected: i64) {
    eventually("every message has its row", PATIENCE, async || {
        let rows = database.rows().count("SELECT COUNT(DISTINCT id) FROM readings").await;
        ensure(rows == expected, || format!("{rows} of {expected}"))
    })
    .await;
}

async fn told(worker: &WorkerProcess, words: &str) {
    eventually("it is told", PATIENCE, async || {
        let output = worker.output();
        ensure(output.contains(words), || format!("no {words:?} in\n{output}"))
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_mended_in_its_file_and_the_worker_gets_in_without_a_restart() {
    let database = Database::mariadb().await;
    database.rows().execute(TABLE).await;
    let user = |name: &str| (name.to_owned(), "right".to_owned());
    let users = vec![user("worker"), user("publisher")];
    let broker = Mosquitto::start(MosquittoConfig { users, ..MosquittoConfig::default() }).await;
    let secrets = Directory::new("secrets");
    secrets.write("login/username", "worker");
    secrets.write("login/password", "wrong");
    let mut worker = WorkerProcess::run(&WorkerConfig {
        routes: readings("  broker: {credentialsSecretRef: {name: login}}\n"),
        broker: Some(broker.url()),
        database: Some(database.url()),
        arguments: with_secrets(secrets.path()),
        ..WorkerConfig::default()
    });
    told(&worker, "credentialsSecretRef").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let refused = broker.log().matches("not authorised").count();
    assert!(refused < 25, "{refused} attempts in some seconds");
    secrets.write("login/password", "right");
    eventually("the worker gets in", Duration::from_mins(1), async || {
        let output = worker.output();
        ensure(output.contains("connected"), || output)
    })
    .await;
    assert_eq!(worker.process().exit_status(), None);
    assert!(!worker.output().contains("wrong"), "a password in the log");
}

/// A broker that wants certificates of clients, the worker's line to it, and a plain port for publishers.
struct Secure {
    broker: Mosquitto,
    line: Proxy,
    plain: SocketAddr,
    /// The broker's own certificates.
    own: Directory,
    /// The worker's.
    secrets: Directory,
}

impl Secure {
    async fn start(authority: &Authority) -> Self {
        let (own, secrets) = (Directory::new("server"), Directory::new("secrets"));
        serve(&own, authority);
        trust(&secrets, authority);
        let plain = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let file = |name: &str| own.path().join(name);
        let tls = MosquittoTls {
            ca: file("ca.crt"),
            certificate: file("server.crt"),
            key: file("server.key"),
            require_client: true,
        };
        let extra = format!("use_identity_as_username true\nlistener {} 127.0.0.1\n", plain.port());
        let config = MosquittoConfig { tls: Some(tls), extra, ..MosquittoConfig::default() };
        let broker = Mosquitto::start(config).await;
        let line = Proxy::start(broker.address()).await;
        Self { broker, line, plain, own, secrets }
    }

    fn worker(&self, database: &Database) -> WorkerProcess {
        let spec =
            "  broker: {tls: {caSecretRef: {name: ca}, clientCertSecretRef: {name: client}}}\n";
        WorkerProcess::run(&WorkerConfig {
            routes: readings(spec),
            broker: Some(format!("mqtts://localhost:{}", self.line.address().port())),
            database: Some(database.url()),
            arguments: with_secrets(self.secrets.path()),
            ..WorkerConfig::default()
        })
    }

    /// Publishes a hundred messages more.
    async fn publish(&self, hundred: usize) {
        let mut client = Client::connect(self.plain, ClientConfig::new("publisher")).await;
        client.publish_all(messages(hundred * 100..(hundred + 1) * 100), 50).await;
    }

    /// Waits until the worker is known under the name in its certificate.
    async fn knows(&self, name: &str) {
        eventually("the worker comes with its certificate", PATIENCE, async || {
            let log = self.broker.log();
            ensure(log.contains(&format!("u'{name}'")), || log)
        })
        .await;
    }
}

fn serve(own: &Directory, authority: &Authority) {
    let server = authority.issue("server", &["localhost"]);
    fs::copy(authority.ca(), own.path().join("ca.crt")).unwrap();
    fs::copy(server.certificate, own.path().join("server.crt")).unwrap();
    fs::copy(server.key, own.path().join("server.key")).unwrap();
}

fn show(secrets: &Directory, certificate: &Certificate) {
    secrets.write("client/tls.crt", fs::read(&certificate.certificate).unwrap());
    secrets.write("client/tls.key", fs::read(&certificate.key).unwrap());
}

fn trust(secrets: &Directory, authority: &Authority) {
    secrets.write("ca/ca.crt", fs::read(authority.ca()).unwrap());
}

#[tokio::test]
async fn certificates_exchanged_in_their_files_are_taken_up_and_nothing_is_lost() {
    let database = Database::mariadb().await;
    database.rows().execute(TABLE).await;
    let first = Authority::new();
    let mut bed = Secure::start(&first).await;
    show(&bed.secrets, &first.issue("one", &[]));
    let mut worker = bed.worker(&database);
    bed.knows("one").await;
    told(&worker, "subscribed").await;
    bed.publish(0).await;
    rows(&database, 100).await;

    // Another certificate of the worker.
    show(&bed.secrets, &first.issue("two", &[]));
    bed.publish(1).await;
    bed.line.cut();
    bed.knows("two").await;
    rows(&database, 200).await;

    // One that has expired: the broker refuses it, and the worker says so.
    show(&bed.secrets, &first.issue_expired("expired", &[]));
    bed.line.cut();
    told(&worker, "the client certificate has expired").await;
    bed.publish(2).await;
    assert!(!bed.broker.log().contains("u'expired'"));
    show(&bed.secrets, &first.issue("three", &[]));
    bed.knows("three").await;
    rows(&database, 300).await;

    // The broker has moved to another authority: it is not trusted until the worker is told to.
    let second = Authority::new();
    serve(&bed.own, &second);
    bed.broker.restart().await;
    told(&worker, "authority that is not trusted").await;
    trust(&bed.secrets, &second);
    show(&bed.secrets, &second.issue("four", &[]));
    bed.knows("four").await;
    told_subscribed_again(&bed).await;
    bed.publish(3).await;
    rows(&database, 400).await;
    assert_eq!(worker.process().exit_status(), None);
}

/// mosquitto 2.0.11 has forgotten the shared subscription over its restart.
async fn told_subscribed_again(bed: &Secure) {
    let mut client = Client::connect(bed.plain, ClientConfig::new("sys")).await;
    client.subscribe("$SYS/broker/shared_subscriptions/count", QoS::AtMostOnce).await;
    eventually("the worker subscribes again", PATIENCE, async || {
        let count = client.receive(Duration::from_secs(2)).await.map(|count| count.text());
        ensure(count.as_deref() == Some("1"), || format!("{count:?}"))
    })
    .await;
}
