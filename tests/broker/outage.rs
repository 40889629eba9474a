//! The database is away.

use std::{env, time::Duration};

use routemq_tests::{Database, MosquittoConfig, ensure, eventually};
use rumqttc::v5::mqttbytes::QoS;

use crate::bed::{Bed, Load, PATIENCE, messages, readings};

const MEGABYTE: u64 = 1024 * 1024;

/// Two minutes are what is promised. A shorter one can fail just as well where every window is full, and every timeout
/// (5 s for a connection, a lock, and with [`SHORT`] for an attempt) has passed more than once.
fn outage() -> Duration {
    let long = env::var_os("ROUTEMQ_TEST_LONG").is_some();
    Duration::from_secs(if long { 120 } else { 20 })
}

const SHORT: &str = "timeoutSeconds: 5";
/// Connections of one process to its database, at most, and of the accountant.
const POOL: i64 = 4;
const ACCOUNTANT: i64 = 2;

/// How many messages have been acknowledged, once that number has stood still for a second.
async fn settled(bed: &Bed) -> usize {
    let mut last = bed.acknowledged();
    eventually("acknowledgements stand still", PATIENCE, async || {
        let before = last;
        tokio::time::sleep(Duration::from_secs(1)).await;
        last = bed.acknowledged();
        ensure(last == before, || format!("{before}, then {last}"))
    })
    .await;
    last
}

/// A commit whose answer was lost is repeated: the key makes that harmless.
async fn keyed(bed: &Bed, spec: &str) -> String {
    bed.rows().execute("ALTER TABLE readings ADD PRIMARY KEY (id)").await;
    let keyed = "table: readings\n            key: [id]\n            onConflict: Ignore";
    readings(spec).replace("table: readings", keyed)
}

/// All clients of the database.
async fn connections(bed: &Bed) -> i64 {
    let count = match bed.database {
        Database::MariaDb(_) => {
            "SELECT COUNT(*) FROM information_schema.processlist WHERE command <> 'Daemon'"
        }
        Database::Postgres(_) => {
            "SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        }
    };
    bed.rows().count(count).await
}

async fn away_under_load(database: Database) {
    let mut bed = Bed::start_with(database, MosquittoConfig::recent()).await;
    println!("on {}", bed.broker.name());
    let mut dead = bed.client("dead").await;
    dead.subscribe("dead/#", QoS::AtLeastOnce).await;
    let spec = format!(
        "  workerCount: 2\n  delivery: {{receiveMaximum: 500, {SHORT}, deadLetter: {{topic: \"dead/{{route}}\"}}}}\n"
    );
    let routes = keyed(&bed, &spec).await;
    let mut workers = bed.run(&routes, 2).await;
    let load = Load::start(bed.client("publisher").await);
    bed.reaches(1_000).await;

    bed.database.stop().await;
    let before = settled(&bed).await;
    tokio::time::sleep(outage()).await;
    assert_eq!(before, bed.acknowledged(), "acknowledged without a database");
    let on_the_way = bed.ledger.count("readings/", |entry| entry.acknowledged.is_empty());
    assert!(on_the_way >= 1000, "{on_the_way} on the way: two windows of 500 are not full");
    if bed.broker.keeps_to_receive_maximum() {
        assert_eq!(on_the_way, 1000, "more than two windows of 500");
    }
    bed.database.restart().await;

    let messages = load.finish().await;
    assert!(messages > before + 1000, "the load was too small to fill the windows");
    bed.distinct_rows(messages).await;
    bed.all_acknowledged("readings/", messages).await;
    assert!(dead.receive_all(Duration::from_millis(200)).await.is_empty(), "dead letters");
    let connections = connections(&bed).await;
    assert!(
        connections <= POOL + ACCOUNTANT,
        "{connections} connections: more than the pool's {POOL}"
    );
    let peak = workers.process().peak_resident_bytes();
    println!("{messages} messages, {on_the_way} on the way, at most {} MiB", peak / MEGABYTE);
    assert!(peak < 150 * MEGABYTE, "{} MiB of memory", peak / MEGABYTE);
}

#[tokio::test]
async fn while_mariadb_is_away_nothing_is_acknowledged_and_nothing_is_lost() {
    away_under_load(Database::mariadb().await).await;
}

#[tokio::test]
async fn while_postgres_is_away_nothing_is_acknowledged_and_nothing_is_lost() {
    away_under_load(Database::postgres().await).await;
}

#[tokio::test]
async fn a_database_killed_under_load_leaves_one_row_for_each_key() {
    let mut bed = Bed::start(Database::mariadb().await).await;
    let routes = keyed(&bed, "  workerCount: 2\n").await;
    let _workers = bed.run(&routes, 2).await;
    let load = Load::start(bed.client("publisher").await);
    for _ in 0..3 {
        bed.reaches(bed.acknowledged() + 1_000).await;
        bed.database.kill();
        bed.database.restart().await;
    }
    let messages = load.finish().await;
    bed.distinct_rows(messages).await;
    bed.all_acknowledged("readings/", messages).await;
}

#[tokio::test]
async fn a_database_that_hangs_is_waited_for() {
    let mut bed = Bed::start(Database::postgres().await).await;
    let spec = format!("  workerCount: 2\n  delivery: {{{SHORT}}}\n");
    let routes = keyed(&bed, &spec).await;
    let _workers = bed.run(&routes, 2).await;
    let load = Load::start(bed.client("publisher").await);
    bed.reaches(1_000).await;
    bed.database.pause();
    let before = settled(&bed).await;
    tokio::time::sleep(outage()).await;
    assert_eq!(before, bed.acknowledged(), "acknowledged while the database hangs");
    bed.database.resume();
    let messages = load.finish().await;
    bed.distinct_rows(messages).await;
    bed.all_acknowledged("readings/", messages).await;
}

#[tokio::test]
async fn a_table_that_is_missing_holds_messages_until_it_is_there() {
    let bed = Bed::start(Database::mariadb().await).await;
    bed.rows().execute("RENAME TABLE readings TO elsewhere").await;
    let mut dead = bed.client("dead").await;
    dead.subscribe("dead/#", QoS::AtLeastOnce).await;
    let spec = "  delivery: {maxAttempts: 2, deadLetter: {topic: \"dead/{route}\"}}\n";
    let _worker = bed.run(&readings(spec), 1).await;
    bed.client("publisher").await.publish_all(messages(0..20), 20).await;
    assert!(dead.receive(Duration::from_secs(4)).await.is_none(), "a flood of dead letters");
    assert_eq!(bed.ledger.count("readings/", |e| !e.acknowledged.is_empty()), 0);
    bed.rows().execute("RENAME TABLE elsewhere TO readings").await;
    bed.distinct_rows(20).await;
    bed.all_acknowledged("readings/", 20).await;
    assert_eq!(bed.row_count().await, 20);
}
