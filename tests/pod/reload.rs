//! Mounted files that change under a worker that goes on.

use std::{fmt::Write as _, time::Duration};

use routemq_tests::{
    Client, ClientConfig, Database, Directory, Mosquitto, MosquittoConfig, WorkerConfig, ensure,
    eventually,
};
use rumqttc::v5::mqttbytes::QoS;

use crate::{
    bed::{Load, PATIENCE, Pod, config},
    metrics::Metrics,
    mount::Mount,
};

const TABLE: &str = "CREATE TABLE readings (id BIGINT PRIMARY KEY, route VARCHAR(40) NOT NULL)";

/// Routes by name and topic, each to a row; doubles are told apart by their key.
fn table(spec: &str, routes: &[(&str, &str)]) -> String {
    let mut text = format!(
        "apiVersion: routemq.io/v1alpha1\nkind: MqttRoute\nmetadata: {{name: readings, namespace: bed}}\nspec:\n{spec}  routes:\n"
    );
    for (name, topic) in routes {
        let _ = write!(
            text,
            "    - name: {name}\n      topic: \"{topic}\"\n      handlers:\n        - sql: {{table: readings, columns: {{id: params.id, route: route}}, key: [id], onConflict: Ignore}}\n"
        );
    }
    text
}

const ALL: (&str, &str) = ("all", "readings/{device}/{id:int}");
const ONE: (&str, &str) = ("one", "readings/d-1/{id:int}");
const OTHER: (&str, &str) = ("other", "others/{id:int}");

/// A worker whose table is mounted, and what it works with.
struct Bed {
    broker: Mosquitto,
    database: Database,
    table: Mount,
    secrets: Directory,
    pod: Pod,
}

impl Bed {
    async fn start(spec: &str, prepare: impl AsyncFnOnce(&Database, &Directory)) -> Self {
        let broker = Mosquitto::start(MosquittoConfig::default()).await;
        let database = Database::mariadb().await;
        database.rows().execute(TABLE).await;
        let secrets = Directory::new("secrets");
        prepare(&database, &secrets).await;
        let table =
            Mount::new(secrets.path().join("table"), &[("route.yaml", &table(spec, &[ALL]))]);
        let config = mounted(&config("", &broker, Some(&database)), &table, &secrets);
        let pod = Pod::run(&config);
        pod.ready().await;
        Self { broker, database, table, secrets, pod }
    }

    async fn rows_are(&self, published: usize) {
        let published = i64::try_from(published).unwrap();
        eventually("every message has its row", PATIENCE, async || {
            let rows = self.database.rows().count("SELECT COUNT(*) FROM readings").await;
            ensure(rows == published, || {
                format!("{rows} of {published}\n{}", self.pod.process.output())
            })
        })
        .await;
    }

    async fn routed(&self, route: &str) -> i64 {
        let count = format!("SELECT COUNT(*) FROM readings WHERE route = '{route}'");
        self.database.rows().count(&count).await
    }

    /// Waits until the worker's log holds so many of these lines.
    async fn logged(&self, words: &str, times: usize) {
        eventually(&format!("{words:?} is logged"), PATIENCE, async || {
            let output = self.pod.process.output();
            let found = output.matches(words).count();
            ensure(found >= times, || format!("{found} of {times} in\n{output}"))
        })
        .await;
    }
}

/// Reads its table and its Secrets from mounts.
fn mounted(config: &WorkerConfig, table: &Mount, secrets: &Directory) -> WorkerConfig {
    let arguments = [table.file("route.yaml"), "--secrets".into(), secrets.path().join("secrets")];
    let arguments = arguments.map(|it| it.to_string_lossy().into_owned());
    WorkerConfig { arguments: arguments.to_vec(), ..config.clone() }
}

const SWAPPED: &str = "reloaded: the new table is in use";

#[tokio::test]
async fn a_mounted_table_that_changes_under_load_loses_nothing_and_keeps_the_connection() {
    let mut bed = Bed::start("  workerCount: 2\n", async |_, _| ()).await;
    let load = Load::start(bed.broker.client("publisher").await);
    let steps: [&[(&str, &str)]; 4] = [&[ALL, OTHER], &[ALL, ONE], &[ONE, ALL, OTHER], &[ALL]];
    for (done, routes) in steps.into_iter().enumerate() {
        bed.table.replace(&[("route.yaml", &table("  workerCount: 2\n", routes))]);
        bed.logged(SWAPPED, done + 1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let published = load.finish().await;
    bed.rows_are(published).await;
    assert!(bed.routed("one").await > 0, "the second table was never used");
    let answer = bed.pod.get("/metrics").await.unwrap();
    let metrics = Metrics::parse(&answer.body);
    assert_eq!(metrics.count("routemq_reconnects_total", &[]), 0);
    assert_eq!(metrics.count("routemq_inflight", &[]), 0);
}

#[tokio::test]
async fn a_table_that_is_wrong_leaves_the_last_good_one_and_is_told_once() {
    let mut bed = Bed::start("", async |_, _| ()).await;
    let mut publisher = bed.broker.client("publisher").await;
    let wrong = [
        ("not YAML", "apiVersion: [".to_owned(), "refused"),
        ("no route", table("", &[("all", "readings/#/{id:int}")]), "refused"),
        ("nothing at all", String::new(), "no MqttRoute"),
    ];
    for (number, (name, text, words)) in wrong.into_iter().enumerate() {
        bed.table.replace(&[("route.yaml", &text)]);
        bed.logged("the documents are refused", number + 1).await;
        assert!(bed.pod.process.output().contains(words), "{name}: {}", bed.pod.process.output());
        assert_eq!(bed.pod.get("/readyz").await.unwrap().status, 200, "{name}");
        publisher.publish(&format!("readings/d-1/{number}"), "", QoS::AtLeastOnce).await;
        bed.rows_are(number + 1).await;
    }
    // The same content in a new folder: nothing new to tell.
    bed.table.replace(&[("route.yaml", "")]);
    bed.table.replace(&[("route.yaml", &table("", &[ALL, ONE]))]);
    bed.logged(SWAPPED, 1).await;
    publisher.publish("readings/d-1/99", "", QoS::AtLeastOnce).await;
    bed.rows_are(4).await;
    assert_eq!(bed.routed("one").await, 1);
    let told = bed.pod.process.output().matches("the documents are refused").count();
    assert_eq!(told, 3, "{}", bed.pod.process.output());
}

/// As a user of its own, whose password can change.
const WORKER: &str = "CREATE USER worker@'%' IDENTIFIED BY 'old'";

#[tokio::test]
async fn a_database_password_that_changes_under_load_is_taken_up_and_nothing_is_lost() {
    let spec = "  workerCount: 2\n  database: {urlSecretRef: {name: rows, key: url}}\n";
    let url = |database: &Database, password: &str| {
        database.url().replacen("routemq:routemq", &format!("worker:{password}"), 1)
    };
    let bed = Bed::start(spec, async |database, secrets| {
        database.rows().execute(WORKER).await;
        database.rows().execute("GRANT ALL ON routemq.* TO worker@'%'").await;
        Mount::new(secrets.path().join("secrets/rows"), &[("url", &url(database, "old"))]);
    })
    .await;
    let load = Load::start(bed.broker.client("publisher").await);
    eventually("rows are written", PATIENCE, async || {
        ensure(bed.routed("all").await > 500, || "not yet".to_owned())
    })
    .await;
    bed.database.rows().execute("ALTER USER worker@'%' IDENTIFIED BY 'new'").await;
    bed.database.rows().execute("KILL USER worker@'%'").await;
    bed.logged("messages are held until this is mended", 1).await;
    Mount::new(bed.secrets.path().join("secrets/rows"), &[("url", &url(&bed.database, "new"))]);
    bed.logged("reloaded: changed secrets are in use", 1).await;
    let before = bed.routed("all").await;
    eventually("rows are written again", PATIENCE, async || {
        let rows = bed.routed("all").await;
        ensure(rows > before + 500, || format!("{rows} after {before}"))
    })
    .await;
    let published = load.finish().await;
    bed.rows_are(published).await;
    let answer = bed.pod.get("/metrics").await.unwrap();
    assert_eq!(Metrics::parse(&answer.body).count("routemq_reconnects_total", &[]), 0);
}

#[tokio::test]
async fn a_wrong_broker_password_that_is_mended_is_taken_up_within_a_minute_without_a_restart() {
    let users = vec![("worker".to_owned(), "right".to_owned())];
    let broker = Mosquitto::start(MosquittoConfig { users, ..MosquittoConfig::default() }).await;
    let secrets = Directory::new("secrets");
    let login = |password| [("username", "worker"), ("password", password)];
    let mut secret = Mount::new(secrets.path().join("secrets/login"), &login("wrong"));
    let text = table("  broker: {credentialsSecretRef: {name: login}}\n", &[])
        .replace("routes:\n", "routes:\n    - {name: ping, topic: ping, handlers: [{publish: {topic: pong, payload: topic}}]}\n");
    let mount = Mount::new(secrets.path().join("table"), &[("route.yaml", &text)]);
    let pod = Pod::run(&mounted(&config("", &broker, None), &mount, &secrets));
    pod.answers("/readyz", 503, "not authorized (0x87)").await;
    // Long enough for pauses between attempts to have grown.
    tokio::time::sleep(Duration::from_secs(10)).await;
    secret.replace(&login("right"));
    pod.ready().await;
    let login = Some(("worker".to_owned(), "right".to_owned()));
    let client = ClientConfig { login, ..ClientConfig::new("client") };
    let mut client = Client::connect(broker.address(), client).await;
    client.subscribe("pong", QoS::AtLeastOnce).await;
    client.publish("ping", "", QoS::AtLeastOnce).await;
    assert!(client.receive(PATIENCE).await.is_some());
}

#[tokio::test]
async fn an_api_key_that_is_added_and_one_that_is_taken_away_count_from_then_on() {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let secrets = Directory::new("secrets");
    let mut keys = Mount::new(secrets.path().join("secrets/keys"), &[("device", "first\n")]);
    let text = table("", &[]).replace(
        "routes:\n",
        "routes:\n    - name: ping\n      topic: ping\n      middleware: [{apiKey: {secretRef: {name: keys, key: device}, field: key}}]\n\
         \x20     handlers: [{publish: {topic: pong, payload: \"'pong'\"}}]\n",
    );
    let mount = Mount::new(secrets.path().join("table"), &[("route.yaml", &text)]);
    let pod = Pod::run(&mounted(&config("", &broker, None), &mount, &secrets));
    pod.ready().await;
    let mut client = broker.client("client").await;
    client.subscribe("pong", QoS::AtLeastOnce).await;
    let mut accepted = async |key: &str| {
        client.publish("ping", format!("{{\"key\": \"{key}\"}}"), QoS::AtLeastOnce).await;
        client.receive(Duration::from_millis(500)).await.is_some()
    };
    assert!(accepted("first").await && !accepted("second").await);
    keys.replace(&[("device", "second\n")]);
    eventually("the new key counts", PATIENCE, async || {
        ensure(accepted("second").await, || "rejected".to_owned())
    })
    .await;
    assert!(!accepted("first").await, "the old key counts still");
}
