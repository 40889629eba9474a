//! kill -9.

use routemq_tests::{Database, ensure, eventually};

use crate::bed::{Bed, PATIENCE, messages, readings};

const WINDOW: usize = 50;
const MESSAGES: usize = 200;

/// The database stands still, so handlers cannot finish and the window fills; then the worker dies.
async fn killed_with_a_full_window(database: Database) {
    let mut bed = Bed::start(database).await;
    let spec = format!("  delivery: {{receiveMaximum: {WINDOW}}}\n");
    let mut worker = bed.run(&readings(&spec), 1).await;
    bed.database.pause();
    bed.client("publisher").await.publish_all(messages(0..MESSAGES), 100).await;
    eventually("the receive window is full", PATIENCE, async || {
        let sent = bed.ledger.count("readings/", |entry| !entry.sent.is_empty());
        ensure(sent == WINDOW, || format!("{sent} on the way"))
    })
    .await;
    assert_eq!(bed.ledger.count("readings/", |e| !e.acknowledged.is_empty()), 0);
    worker.kill();
    bed.database.resume();
    let first = bed.ledger.entries("readings/");

    worker.restart();
    bed.distinct_rows(MESSAGES).await;
    bed.all_acknowledged("readings/", MESSAGES).await;

    let entries = bed.ledger.entries("readings/");
    for topic in first.keys() {
        let sent = &entries[topic].sent;
        assert!(sent.len() == 2 && sent[1].1, "{topic} was not redelivered: {sent:?}");
    }
    let twice: Vec<_> = entries.iter().filter(|(_, e)| e.acknowledged.len() > 1).collect();
    assert!(twice.is_empty(), "acknowledged twice: {twice:?}");
    assert!(bed.ledger.strays().is_empty(), "{:?}", bed.ledger.strays());
    let doubles = bed.row_count().await - MESSAGES;
    assert!(doubles <= WINDOW, "{doubles} rows more than the window allows");
}

#[tokio::test]
async fn a_worker_killed_with_a_full_window_repeats_it_and_loses_nothing_on_mariadb() {
    killed_with_a_full_window(Database::mariadb().await).await;
}

#[tokio::test]
async fn a_worker_killed_with_a_full_window_repeats_it_and_loses_nothing_on_postgres() {
    killed_with_a_full_window(Database::postgres().await).await;
}

#[tokio::test]
async fn workers_killed_again_and_again_under_load_lose_nothing() {
    let bed = Bed::start(Database::mariadb().await).await;
    let spec = format!("  workerCount: 2\n  delivery: {{receiveMaximum: {WINDOW}}}\n");
    let mut workers = bed.run(&readings(&spec), 2).await;
    let kills = 4;
    let mut publisher = bed.client("publisher").await;
    let load = tokio::spawn(async move { publisher.publish_all(messages(0..4_000), 20).await });
    for kill in 1..=kills {
        let target = kill * 500;
        eventually("some are handled", PATIENCE, async || {
            let done = bed.ledger.count("readings/", |entry| !entry.acknowledged.is_empty());
            ensure(done >= target, || format!("{done} of {target}"))
        })
        .await;
        let before = bed.ledger.subscribed();
        workers.restart();
        bed.subscribed(before + 2, &mut workers).await;
    }
    load.await.expect("the publisher finishes");
    bed.distinct_rows(4_000).await;
    bed.all_acknowledged("readings/", 4_000).await;
    let doubles = bed.row_count().await - 4_000;
    assert!(doubles <= kills * 2 * WINDOW, "{doubles} rows too many for {kills} kills");
    assert!(bed.ledger.strays().is_empty(), "{:?}", bed.ledger.strays());
}
