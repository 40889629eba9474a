//! The database is away.

use std::{env, time::Duration};

use routemq_tests::{Database, ensure, eventually};
use rumqttc::v5::mqttbytes::QoS;

use crate::bed::{Bed, PATIENCE, messages, readings};

const MESSAGES: usize = 20_000;
const MEGABYTE: u64 = 1024 * 1024;

/// 20 s is what is promised; a shorter one can fail just as well.
fn outage() -> Duration {
    let long = env::var_os("ROUTEMQ_TEST_LONG").is_some();
    Duration::from_secs(if long { 20 } else { 6 })
}

/// How many messages have been acknowledged, once that number has stood still for a second.
async fn settled(bed: &Bed) -> usize {
    let acknowledged = || bed.ledger.count("readings/", |entry| !entry.acknowledged.is_empty());
    let mut last = acknowledged();
    eventually("acknowledgements stand still", PATIENCE, async || {
        let before = last;
        tokio::time::sleep(Duration::from_secs(1)).await;
        last = acknowledged();
        ensure(last == before, || format!("{before}, then {last}"))
    })
    .await;
    last
}

async fn away_under_load(database: Database) {
    let mut bed = Bed::start(database).await;
    bed.rows().execute("ALTER TABLE readings ADD PRIMARY KEY (id)").await;
    let mut dead = bed.client("dead").await;
    dead.subscribe("dead/#", QoS::AtLeastOnce).await;
    let spec = "  workerCount: 2\n  delivery: {receiveMaximum: 500, deadLetter: {topic: \"dead/{route}\"}}\n";
    // A commit whose answer was lost is repeated: the key makes that harmless.
    let routes = readings(spec).replace(
        "table: readings",
        "table: readings\n            key: [id]\n            onConflict: Ignore",
    );
    let mut workers = bed.run(&routes, 2).await;
    let mut publisher = bed.client("publisher").await;
    let load = tokio::spawn(async move { publisher.publish_all(messages(0..MESSAGES), 500).await });
    eventually("some are handled", PATIENCE, async || {
        let done = bed.ledger.count("readings/", |entry| !entry.acknowledged.is_empty());
        ensure(done > MESSAGES / 20, || format!("{done} acknowledged"))
    })
    .await;

    bed.database.stop().await;
    let before = settled(&bed).await;
    tokio::time::sleep(outage()).await;
    let during = bed.ledger.count("readings/", |entry| !entry.acknowledged.is_empty());
    let on_the_way = bed.ledger.count("readings/", |entry| entry.acknowledged.is_empty());
    bed.database.restart().await;

    assert!(before < MESSAGES, "the outage came too late to say anything");
    assert_eq!(before, during, "acknowledged without a database");
    assert!(on_the_way <= 1000, "{on_the_way} on the way: more than two windows of 500");
    load.await.expect("the publisher finishes");
    bed.distinct_rows(MESSAGES).await;
    bed.all_acknowledged("readings/", MESSAGES).await;
    assert!(dead.receive_all(Duration::from_millis(200)).await.is_empty(), "dead letters");
    let peak = workers.process().peak_resident_bytes();
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
    bed.rows().execute("ALTER TABLE readings ADD PRIMARY KEY (id)").await;
    let routes = readings("  workerCount: 2\n").replace(
        "table: readings",
        "table: readings\n            key: [id]\n            onConflict: Ignore",
    );
    let _workers = bed.run(&routes, 2).await;
    let mut publisher = bed.client("publisher").await;
    let load = tokio::spawn(async move { publisher.publish_all(messages(0..MESSAGES), 200).await });
    for target in [2_000, 6_000] {
        eventually("some are handled", PATIENCE, async || {
            let done = bed.ledger.count("readings/", |entry| !entry.acknowledged.is_empty());
            ensure(done >= target, || format!("{done} of {target}"))
        })
        .await;
        bed.database.kill();
        bed.database.restart().await;
    }
    load.await.expect("the publisher finishes");
    bed.distinct_rows(MESSAGES).await;
    bed.all_acknowledged("readings/", MESSAGES).await;
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
