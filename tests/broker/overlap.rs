//! Routes that overlap: the broker sends a copy for each filter, the most specific route handles one of them.

use std::time::Duration;

use routemq_crds::document::Documents;
use routemq_tests::{Database, Rows, ensure, eventually};
use routemq_worker::{
    Secrets,
    run::{Change, Loaded, RunSettings, Running},
};

use crate::bed::{Bed, PATIENCE};

const TABLE: &str =
    "CREATE TABLE handled (topic VARCHAR(100) NOT NULL, route VARCHAR(40) NOT NULL)";

/// A route to a row that says which route it was.
fn route(name: &str, topic: &str) -> String {
    format!(
        "\x20   - name: {name}\n\
         \x20     topic: \"{topic}\"\n\
         \x20     handlers: [{{sql: {{table: handled, columns: {{topic: topic, route: route}}}}}}]\n"
    )
}

fn object(routes: &[(&str, &str)]) -> String {
    let routes: String = routes.iter().map(|(name, topic)| route(name, topic)).collect();
    format!(
        "apiVersion: routemq.io/v1alpha1\nkind: MqttRoute\nmetadata: {{name: overlap, namespace: bed}}\n\
         spec:\n  workerCount: 3\n  routes:\n{routes}"
    )
}

/// Publishes probes until one is handled exactly once: every worker has proof that it holds every filter.
async fn settled(bed: &Bed, prefix: &str) {
    let mut publisher = bed.client(&format!("probe-{prefix}")).await;
    let mut probe = 0;
    eventually("a row for each message", PATIENCE, async || {
        probe += 1;
        let topics = (0..30).map(|i| (format!("fleet/{prefix}-{probe}-{i}/status"), "1"));
        publisher.publish_all(topics, 30).await;
        let like = format!("WHERE topic LIKE 'fleet/{prefix}-{probe}-%'");
        quiet(bed.rows(), &like).await;
        let rows = bed.rows().count(&format!("SELECT COUNT(*) FROM handled {like}")).await;
        ensure(rows == 30, || format!("{rows} rows for 30 messages"))
    })
    .await;
}

/// Waits until the number of rows stands still.
async fn quiet(rows: &Rows, condition: &str) {
    let mut last = -1;
    eventually("rows stand still", PATIENCE, async || {
        let before = last;
        tokio::time::sleep(Duration::from_millis(400)).await;
        last = rows.count(&format!("SELECT COUNT(*) FROM handled {condition}")).await;
        ensure(last > 0 && last == before, || format!("{before}, then {last}"))
    })
    .await;
}

async fn routes_of(bed: &Bed, condition: &str) -> Vec<String> {
    bed.rows()
        .texts(&format!("SELECT DISTINCT route FROM handled {condition} ORDER BY route"))
        .await
}

#[tokio::test]
async fn overlapping_routes_handle_each_message_once_by_the_most_specific() {
    let bed = Bed::start(Database::mariadb().await).await;
    bed.rows().execute(TABLE).await;
    let routes = object(&[
        ("everything", "fleet/{rest...}"),
        ("status", "fleet/{id}/status"),
        ("seven", "fleet/seven/status"),
    ]);
    let _workers = bed.run(&routes, 3).await;
    settled(&bed, "probe").await;

    let mut publisher = bed.client("publisher").await;
    let topics = (0..500).map(|i| (format!("fleet/n-{i}/status"), "1"));
    publisher.publish_all(topics, 100).await;
    publisher.publish_all((0..200).map(|i| (format!("fleet/other/{i}"), "1")), 100).await;
    publisher.publish_all((0..50).map(|_| ("fleet/seven/status", "1")), 50).await;
    quiet(bed.rows(), "").await;

    for (condition, route, messages) in [
        ("WHERE topic LIKE 'fleet/n-%'", "status", 500),
        ("WHERE topic LIKE 'fleet/other/%'", "everything", 200),
        ("WHERE topic = 'fleet/seven/status'", "seven", 50),
    ] {
        assert_eq!(routes_of(&bed, condition).await, [route], "{condition}");
        let count = format!("SELECT COUNT(*) FROM handled {condition}");
        assert_eq!(bed.rows().count(&count).await, messages, "{condition}");
    }
}

/// The documents as `routemq run` gives them to its workers.
fn loaded(routes: &str) -> Vec<Loaded> {
    let documents = Documents::parse("routes.yaml", routes).expect("the document is sound");
    let tables = documents.compile().expect("it compiles");
    let pairs = documents.routes.iter().zip(tables);
    pairs
        .map(|(route, table)| Loaded {
            object: route.object.clone(),
            table: table.object,
            secrets: Secrets::default(),
        })
        .collect()
}

fn settings(bed: &Bed) -> RunSettings {
    RunSettings {
        client_id: "bed".to_owned(),
        database: Some(bed.database.url()),
        drain: PATIENCE,
        ..RunSettings::new(bed.proxy.url().parse().expect("the proxy's URL is one"))
    }
}

/// Topics that both tables know, some of which change hands.
async fn publish(bed: Bed, from: usize, to: usize) -> Bed {
    let mut publisher = bed.client(&format!("publisher-{from}")).await;
    let topics = (from..to).map(|i| (format!("fleet/n-{i}/status"), "1"));
    publisher.publish_all(topics, 20).await;
    bed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_changed_under_load_loses_nothing_and_doubles_only_meanwhile() {
    let bed = Bed::start(Database::mariadb().await).await;
    bed.rows().execute(TABLE).await;
    let wide = object(&[("everything", "fleet/{rest...}")]);
    let both = object(&[("everything", "fleet/{rest...}"), ("status", "fleet/{id}/status")]);
    let narrow = object(&[("status", "fleet/{id}/status")]);
    let mut running = Running::start(loaded(&wide), settings(&bed)).await.expect("it starts");
    running.settled().await;

    let load = tokio::spawn(publish(bed, 0, 6_000));
    for routes in [&both, &narrow, &both, &wide, &both] {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let changes = Box::pin(running.apply(loaded(routes))).await;
        assert!(matches!(changes.as_slice(), [(_, Change::Swapped)]), "{changes:?}");
        running.settled().await;
    }
    let bed = load.await.expect("the publisher finishes");
    let meanwhile = "SELECT COUNT(DISTINCT topic) FROM handled";
    eventually("every message is handled", PATIENCE, async || {
        let handled = bed.rows().count(meanwhile).await;
        ensure(handled == 6_000, || format!("{handled} of 6000"))
    })
    .await;

    settled(&bed, "after").await;
    let bed = publish(bed, 10_000, 10_500).await;
    let after = "WHERE topic LIKE 'fleet/n-10___/status'";
    quiet(bed.rows(), after).await;
    assert_eq!(routes_of(&bed, after).await, ["status"]);
    assert_eq!(bed.rows().count(&format!("SELECT COUNT(*) FROM handled {after}")).await, 500);
    running.stop().await;
}
