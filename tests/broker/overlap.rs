//! Routes that overlap: the broker sends a copy for each filter, the most specific route handles one of them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use routemq_crds::document::Documents;
use routemq_tests::{Client, Database, Direction, Frame, Proxy, Rows, Verdict, ensure, eventually};
use routemq_worker::{
    Secrets,
    run::{Change, Loaded, RunSettings, Running},
};
use tokio::sync::watch;

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
            written: (&route.object).into(),
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

/// Topics that both tables know.
async fn publish(bed: Bed, from: usize, to: usize) -> Bed {
    let mut publisher = bed.client(&format!("publisher-{from}")).await;
    let topics = (from..to).map(|i| (format!("fleet/n-{i}/status"), "1"));
    publisher.publish_all(topics, 20).await;
    bed
}

/// When a part of the load was published.
struct Part {
    topics: Vec<String>,
    from: Instant,
    to: Instant,
}

/// A thousand messages a second until it is told to stop.
async fn load(mut publisher: Client, stop: watch::Receiver<bool>) -> Vec<Part> {
    let (mut parts, mut tick) = (Vec::new(), tokio::time::interval(Duration::from_millis(20)));
    while !*stop.borrow() {
        tick.tick().await;
        let first = parts.len() * 20;
        let topics: Vec<_> = (first..first + 20).map(|i| format!("fleet/n-{i}/status")).collect();
        let from = Instant::now();
        let messages: Vec<_> = topics.iter().map(|topic| (topic.clone(), "1")).collect();
        publisher.publish_all(messages, 20).await;
        parts.push(Part { topics, from, to: Instant::now() });
    }
    parts
}

/// How long the workers of one process consult an earlier table, and what a busy machine adds.
const TRANSITION: Duration = Duration::from_secs(5 + 3);

/// Applies each table in turn. From when until when copies may be doubled.
async fn change(running: &mut Running, tables: &[&String]) -> (Instant, Instant) {
    let start = Instant::now();
    for routes in tables {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let changes = Box::pin(running.apply(loaded(routes))).await;
        assert!(matches!(changes.as_slice(), [(_, Change::Swapped)]), "{changes:?}");
        running.settled().await;
    }
    (start, Instant::now() + TRANSITION)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_changed_under_load_loses_nothing_and_doubles_only_meanwhile() {
    let bed = Bed::start(Database::mariadb().await).await;
    bed.rows().execute(TABLE).await;
    bed.rows().execute("CREATE INDEX topics ON handled (topic)").await;
    let wide = object(&[("everything", "fleet/{rest...}")]);
    let both = object(&[("everything", "fleet/{rest...}"), ("status", "fleet/{id}/status")]);
    let narrow = object(&[("status", "fleet/{id}/status")]);
    let mut running = Running::start(loaded(&wide), settings(&bed)).await.expect("it starts");
    running.settled().await;
    tokio::time::sleep(TRANSITION).await;

    let stop = watch::Sender::new(false);
    let load = tokio::spawn(load(bed.client("publisher").await, stop.subscribe()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let first = change(&mut running, &[&both, &narrow, &both]).await;
    tokio::time::sleep_until((first.1 + Duration::from_secs(1)).into()).await;
    let second = change(&mut running, &[&wide, &both]).await;
    stop.send_replace(true);
    let parts = load.await.expect("the publisher finishes");
    let published: usize = parts.iter().map(|part| part.topics.len()).sum();
    eventually("every message is handled", PATIENCE, async || {
        let handled = bed.rows().count("SELECT COUNT(DISTINCT topic) FROM handled").await;
        ensure(usize::try_from(handled) == Ok(published), || format!("{handled} of {published}"))
    })
    .await;
    quiet(bed.rows(), "").await;

    let inside =
        |part: &Part| [first, second].iter().any(|(from, to)| part.from <= *to && part.to >= *from);
    let doubled = "SELECT topic FROM handled GROUP BY topic HAVING COUNT(*) > 1";
    let doubled: BTreeSet<String> = bed.rows().texts(doubled).await.into_iter().collect();
    let outside = parts.iter().filter(|part| !inside(part)).flat_map(|part| &part.topics);
    let outside: Vec<_> = outside.collect();
    println!("{published} published, {} doubled, {} in calm times", doubled.len(), outside.len());
    assert!(outside.len() > 500, "too few messages in calm times: the test shows nothing");
    let wrong: Vec<_> = outside.into_iter().filter(|topic| doubled.contains(*topic)).collect();
    assert!(wrong.is_empty(), "doubled in calm times: {wrong:?}");
    let more = "SELECT topic FROM handled GROUP BY topic HAVING COUNT(*) > 2";
    assert_eq!(bed.rows().texts(more).await, [""; 0], "more rows than filters");

    settled(&bed, "after").await;
    let bed = publish(bed, 100_000, 100_500).await;
    let after = "WHERE topic LIKE 'fleet/n-100___/status'";
    quiet(bed.rows(), after).await;
    assert_eq!(routes_of(&bed, after).await, ["status"]);
    assert_eq!(bed.rows().count(&format!("SELECT COUNT(*) FROM handled {after}")).await, 500);
    running.stop().await;
}

/// Takes away what sessions publish to their own topics, while `hold` is set.
fn barriers(
    hold: &Arc<AtomicBool>,
) -> impl Fn(u64, Direction, &Frame) -> Verdict + Send + Sync + 'static {
    let hold = Arc::clone(hold);
    move |_, direction, frame| {
        let barrier = direction == Direction::ToBroker
            && frame.kind() == Frame::PUBLISH
            && frame.topic().is_some_and(|topic| topic.starts_with(b"routemq/barrier/"));
        if barrier && hold.load(Ordering::Relaxed) { Verdict::Drop } else { Verdict::Pass }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_its_subscriptions_and_its_barrier_a_worker_handles_both_copies() {
    let bed = Bed::start(Database::mariadb().await).await;
    bed.rows().execute(TABLE).await;
    let hold = Arc::new(AtomicBool::new(true));
    let proxy = Proxy::tapped(bed.broker.address(), barriers(&hold)).await;
    let routes = object(&[("everything", "fleet/{rest...}"), ("status", "fleet/{id}/status")])
        .replace("workerCount: 3", "workerCount: 1");
    let broker = proxy.url().parse().expect("the proxy's URL is one");
    let settings = RunSettings { broker, ..settings(&bed) };
    let running = Running::start(loaded(&routes), settings).await.expect("it starts");
    let mut publisher = bed.client("publisher").await;
    let mut number = 0;
    eventually("each filter brings a copy, and both are handled", PATIENCE, async || {
        number += 1;
        let topic = format!("fleet/held-{number}/status");
        publisher.publish_all([(topic.clone(), "1")], 1).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let count = format!("SELECT COUNT(*) FROM handled WHERE topic = '{topic}'");
        let rows = bed.rows().count(&count).await;
        ensure(rows == 2, || format!("{rows} rows"))
    })
    .await;
    assert_eq!(routes_of(&bed, "").await, ["status"], "whatever the copy, the winner handles it");

    hold.store(false, Ordering::Relaxed);
    proxy.cut();
    running.settled().await;
    settled(&bed, "after").await;
    running.stop().await;
}
