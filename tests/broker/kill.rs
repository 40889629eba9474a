//! kill -9.

use routemq_tests::{Broker, Database, ensure, eventually};

use crate::bed::{Bed, Load, PATIENCE, messages, readings};

const WINDOW: usize = 50;
const MESSAGES: usize = 200;

/// The database stands still, so handlers cannot finish and the window fills; then the worker dies.
async fn killed_with_a_full_window(broker: Broker, database: Database) {
    let mut bed = Bed::start_on(broker, database).await;
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
    killed_with_a_full_window(Broker::recent_mosquitto().await, Database::mariadb().await).await;
}

#[tokio::test]
async fn a_worker_killed_with_a_full_window_repeats_it_and_loses_nothing_on_rmqtt() {
    killed_with_a_full_window(Broker::rmqtt().await, Database::mariadb().await).await;
}

#[tokio::test]
async fn a_worker_killed_with_a_full_window_repeats_it_and_loses_nothing_on_postgres() {
    killed_with_a_full_window(Broker::recent_mosquitto().await, Database::postgres().await).await;
}

async fn killed_again_and_again(broker: Broker) {
    let bed = Bed::start_on(broker, Database::mariadb().await).await;
    let spec = format!("  workerCount: 2\n  delivery: {{receiveMaximum: {WINDOW}}}\n");
    let mut workers = bed.run(&readings(&spec), 2).await;
    let kills = 4;
    let load = Load::start(bed.client("publisher").await);
    for _ in 0..kills {
        bed.reaches(bed.acknowledged() + 500).await;
        let before = bed.ledger.subscribed();
        workers.restart();
        bed.subscribed(before + 2, &mut workers).await;
    }
    let messages = load.finish().await;
    let messages = bed.all_handled(messages, kills * 2).await;
    let doubles = bed.row_count().await - messages;
    assert!(doubles <= kills * 2 * WINDOW, "{doubles} rows too many for {kills} kills");
    assert!(bed.ledger.strays().is_empty(), "{:?}", bed.ledger.strays());
}

#[tokio::test]
async fn workers_killed_again_and_again_under_load_lose_nothing() {
    killed_again_and_again(Broker::recent_mosquitto().await).await;
}

#[tokio::test]
async fn workers_killed_again_and_again_under_load_lose_nothing_on_rmqtt() {
    killed_again_and_again(Broker::rmqtt().await).await;
}
