//! `/metrics` while messages flow, compared with what others counted.

use std::{collections::BTreeSet, fs, time::Duration};

use routemq_tests::{Database, Mosquitto, MosquittoConfig, ensure, eventually, folder};
use rumqttc::v5::mqttbytes::QoS;

use crate::{
    bed::{PATIENCE, Pod, config},
    metrics::Metrics,
};

const TABLE: &str =
    "CREATE TABLE readings (id BIGINT PRIMARY KEY, value DOUBLE PRECISION NOT NULL)";

/// Rows, messages that are dropped, and messages that end in the dead letters.
const ROUTES: &str = "\
apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {name: readings, namespace: bed}
spec:
  workerCount: 2
  delivery: {maxAttempts: 2, deadLetter: {topic: \"dead/{route}\"}}
  routes:
    - name: reading
      topic: \"readings/{id:int}\"
      middleware: [{filter: {expression: \"payload.value >= 0.0\"}}]
      handlers:
        - log: {level: debug}
        - sql: {table: readings, columns: {id: params.id, value: payload.value}}
    - name: rest
      topic: \"other/{rest...}\"
      handlers: [{log: {level: debug}}]
";

async fn scrape(pod: &Pod) -> Metrics {
    let answer = pod.get("/metrics").await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.head.contains("application/openmetrics-text; version=1.0.0"), "{}", answer.head);
    Metrics::parse(&answer.body)
}

const READING: (&str, &str) = ("route", "reading");
const REST: (&str, &str) = ("route", "rest");

/// 1,000 rows, 30 dropped, 20 dead letters, 40 of the other route.
fn messages() -> Vec<(String, String)> {
    let reading =
        |id: usize, value: &str| (format!("readings/{id}"), format!("{{\"value\": {value}}}"));
    let mut all: Vec<_> = (0..1000).map(|id| reading(id, "1.5")).collect();
    all.extend((1000..1030).map(|id| reading(id, "-1.0")));
    all.extend((1030..1050).map(|id| reading(id, "\"warm\"").clone()));
    all.extend((0..40).map(|n| (format!("other/{n}"), String::new())));
    fastrand::shuffle(&mut all);
    all
}

#[tokio::test]
async fn a_scrape_tells_what_others_counted() {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let database = Database::mariadb().await;
    database.rows().execute(TABLE).await;
    let mut dead = broker.client("dead").await;
    dead.subscribe("dead/#", QoS::AtLeastOnce).await;
    let pod = Pod::run(&config(ROUTES, &broker, Some(&database)));
    pod.ready().await;
    let before = scrape(&pod).await;
    assert_eq!(before.count("routemq_connected", &[]), 2);

    broker.client("publisher").await.publish_all(messages(), 100).await;
    eventually("everything is handled", PATIENCE, async || {
        let rows = database.rows().count("SELECT COUNT(*) FROM readings").await;
        let now = scrape(&pod).await;
        let (inflight, rest) =
            (now.count("routemq_inflight", &[]), now.count("routemq_messages_total", &[REST]));
        ensure(rows == 1000 && inflight == 0 && rest >= 40, || {
            format!("{rows} rows, {inflight} in flight, {rest}")
        })
    })
    .await;
    let letters = dead.receive_all(Duration::from_millis(500)).await.len();

    let now = scrape(&pod).await;
    let outcome = |name| now.count("routemq_messages_total", &[READING, ("outcome", name)]);
    assert_eq!((outcome("done"), outcome("dropped")), (1000, 30));
    assert_eq!((letters, outcome("dead_lettered")), (20, 20));
    assert_eq!(now.count("routemq_dead_letters_total", &[READING]), letters);
    assert_eq!(now.count("routemq_messages_received_total", &[READING]), 1050);
    assert_eq!(now.count("routemq_messages_total", &[REST, ("outcome", "done")]), 40);
    assert_eq!(now.count("routemq_db_batch_rows_sum", &[]), 1000);
    for name in ["log", "sql"] {
        let attempts =
            now.count("routemq_handler_duration_seconds_count", &[READING, ("handler", name)]);
        assert_eq!(attempts, 1000, "{name}");
    }
    assert_eq!(now.count("routemq_delivery_duration_seconds_count", &[READING]), 1050);
    assert_eq!(now.count("routemq_reconnects_total", &[]), 0);
    assert!(now.sum("routemq_oldest_unacked_seconds", &[]).abs() < f64::EPSILON);
    documented(&now);
}

/// The table of docs/operations.md is what a scrape gives: names, types, labels.
fn documented(now: &Metrics) {
    let page = fs::read_to_string(folder("docs/operations.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `routemq_"));
    let rows = rows.filter(|row| !row.starts_with("operator_"));
    let mut names = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let name = format!("routemq_{}", cells[0].trim_end_matches('`').trim());
        let family = name.trim_end_matches("_total").to_owned();
        assert_eq!(now.types.get(&family).map(String::as_str), Some(cells[1]), "{name}");
        let labels: BTreeSet<String> = cells[2]
            .split(',')
            .map(|label| label.trim().trim_matches('`').to_owned())
            .filter(|label| !label.is_empty())
            .collect();
        assert_eq!(now.labels(&family), labels, "labels of {name}");
        names.insert(family);
    }
    let told: BTreeSet<String> = now.types.keys().cloned().collect();
    assert_eq!(names, told, "documented and told");
}

#[tokio::test]
async fn a_database_that_is_away_shows_in_what_waits_and_in_retries() {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let mut database = Database::mariadb().await;
    database.rows().execute(TABLE).await;
    let routes = ROUTES
        .replace("workerCount: 2", "workerCount: 1")
        .replace("delivery: {", "delivery: {receiveMaximum: 100, ");
    let pod = Pod::run(&config(&routes, &broker, Some(&database)));
    pod.ready().await;
    database.stop().await;
    let readings = (0..50).map(|id| (format!("readings/{id}"), "{\"value\": 1.5}"));
    broker.client("publisher").await.publish_all(readings, 50).await;
    eventually("they wait", PATIENCE, async || {
        let now = scrape(&pod).await;
        let (inflight, oldest) =
            (now.count("routemq_inflight", &[]), now.sum("routemq_oldest_unacked_seconds", &[]));
        let retries = now.count("routemq_retries_total", &[READING]);
        ensure(inflight >= 50 && oldest > 1.0 && retries > 50, || {
            format!("{inflight} in flight for {oldest} s, {retries} retries")
        })
    })
    .await;
    let share = scrape(&pod).await.sum("routemq_inflight_utilization", &[]);
    assert!((0.5..=1.0).contains(&share), "{share}");
    pod.ready().await;
    assert_eq!(pod.get("/livez").await.unwrap().status, 200);
    database.restart().await;
    eventually("nothing waits any more", PATIENCE, async || {
        let inflight = scrape(&pod).await.count("routemq_inflight", &[]);
        ensure(inflight == 0, || format!("{inflight} in flight"))
    })
    .await;
}
