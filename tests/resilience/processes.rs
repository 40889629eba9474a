//! Workers that are killed, stopped and frozen.

use std::time::Duration;

use routemq_tests::{
    Bed, Broker, Database, Load, Mosquitto, MosquittoConfig, PATIENCE, Signal, WorkerConfig,
    WorkerProcess, ensure, eventually, messages, readings,
};

use crate::{ADD_KEY, keyed, lasting};

const WINDOW: usize = 100;
const WORKERS: usize = 3;

fn spec() -> String {
    format!("  workerCount: {WORKERS}\n  delivery: {{receiveMaximum: {WINDOW}}}\n")
}

/// A process for each slot, as pods are.
async fn run_slots(bed: &Bed, routes: &str) -> Vec<WorkerProcess> {
    let before = bed.ledger.subscribed();
    let mut processes = Vec::new();
    for slot in 0..WORKERS {
        let slot = Some(u32::try_from(slot).unwrap());
        processes.push(WorkerProcess::run(&WorkerConfig { slot, ..bed.config(routes) }));
    }
    bed.subscribed(before + WORKERS, &mut processes[0]).await;
    processes
}

#[tokio::test]
async fn all_workers_killed_together_and_back_after_a_while_lose_nothing() {
    all_killed(Broker::mosquitto().await).await;
}

#[tokio::test]
async fn all_workers_killed_together_and_back_after_a_while_lose_nothing_on_rmqtt() {
    all_killed(Broker::rmqtt().await).await;
}

async fn all_killed(broker: Broker) {
    let bed = Bed::start_on(broker, Database::mariadb().await).await;
    let mut workers = run_slots(&bed, &readings(&spec())).await;
    let load = Load::start(bed.client("publisher").await);
    bed.reaches(1000).await;
    for worker in &mut workers {
        worker.kill();
    }
    tokio::time::sleep(lasting(3, 20)).await;
    let before = bed.ledger.subscribed();
    for worker in &mut workers {
        worker.restart();
    }
    bed.subscribed(before + WORKERS, &mut workers[0]).await;
    let messages = load.finish().await;
    let messages = bed.all_handled(messages, WORKERS).await;
    let doubles = bed.row_count().await - messages;
    assert!(doubles <= WORKERS * WINDOW, "{doubles} rows too many for {WORKERS} kills");
    assert!(bed.ledger.strays().is_empty(), "{:?}", bed.ledger.strays());
}

/// Three processes, as three pods; the second dies, and its replacement takes up its session.
#[tokio::test]
async fn one_of_three_processes_killed_under_load_repeats_at_most_its_receive_maximum() {
    one_of_three_killed(Broker::mosquitto().await).await;
}

#[tokio::test]
async fn one_of_three_processes_killed_under_load_repeats_at_most_its_receive_maximum_on_rmqtt() {
    one_of_three_killed(Broker::rmqtt().await).await;
}

async fn one_of_three_killed(broker: Broker) {
    let bed = Bed::start_on(broker, Database::mariadb().await).await;
    let mut workers = run_slots(&bed, &readings(&spec())).await;
    let load = Load::start(bed.client("publisher").await);
    let kills = 3;
    for _ in 0..kills {
        bed.reaches(bed.acknowledged() + 500).await;
        let before = bed.ledger.subscribed();
        workers[1].restart();
        bed.subscribed(before + 1, &mut workers[1]).await;
    }
    let messages = load.finish().await;
    let messages = bed.all_handled(messages, kills).await;
    let doubles = bed.row_count().await - messages;
    assert!(doubles <= kills * WINDOW, "{doubles} rows too many for {kills} kills of {WINDOW}");
    assert!(bed.ledger.strays().is_empty(), "{:?}", bed.ledger.strays());
}

#[tokio::test]
async fn what_is_published_while_no_worker_runs_is_delivered_once_when_they_come_back() {
    published_meanwhile(Broker::mosquitto().await).await;
}

#[tokio::test]
async fn what_is_published_while_no_worker_runs_is_delivered_once_when_they_come_back_on_rmqtt() {
    published_meanwhile(Broker::rmqtt().await).await;
}

async fn published_meanwhile(broker: Broker) {
    let bed = Bed::start_on(broker, Database::mariadb().await).await;
    let routes = readings(&spec());
    for mut worker in run_slots(&bed, &routes).await {
        let status = worker.terminate(PATIENCE).await;
        assert_eq!(status.code(), Some(0), "{}", worker.output());
    }
    let published = 10_000;
    bed.client("publisher").await.publish_all(messages(0..published), 500).await;
    tokio::time::sleep(lasting(0, 60)).await;
    let _workers = run_slots(&bed, &routes).await;
    bed.distinct_rows(published).await;
    bed.all_acknowledged("readings/", published).await;
    assert_eq!(bed.row_count().await, published);
    // rmqtt gives all of it to one absent member.
    let shares = if bed.broker.is_mosquitto() { WORKERS } else { 1 };
    assert_eq!(bed.ledger.shares("readings/").len(), shares);
}

/// More than there are packet ids: mosquitto before 2.0.13 sends all of it at once, whatever the receive maximum.
#[tokio::test]
async fn seventy_thousand_messages_queued_for_one_worker_are_taken_up_without_a_break() {
    let bed = Bed::start(Database::mariadb().await).await;
    let nothing = "      middleware: [{filter: {expression: \"false\"}}]\n      handlers:";
    let routes = readings("").replace("      handlers:", nothing);
    let mut worker = bed.run(&routes, 1).await;
    assert_eq!(worker.terminate(PATIENCE).await.code(), Some(0), "{}", worker.output());
    let published = 70_000;
    bed.client("publisher").await.publish_all(messages(0..published), 1000).await;
    worker.restart();
    bed.all_acknowledged("readings/", published).await;
    assert_eq!(bed.ledger.subscribed(), 2, "the connection broke");
    assert!(bed.ledger.strays().is_empty(), "{} strays", bed.ledger.strays().len());
}

/// The worker is stopped with a window of messages at work; when it goes on, it finishes them and knows only then that
/// the broker has dropped it. Its acknowledgements are for packet ids that stand for other messages by then.
#[tokio::test]
async fn a_worker_frozen_beyond_its_keep_alive_is_dropped_and_its_late_acknowledgements_count_for_nothing()
 {
    let broker =
        MosquittoConfig { extra: "max_keepalive 10\n".to_owned(), ..MosquittoConfig::default() };
    frozen(Broker::Mosquitto(Mosquitto::start(broker).await)).await;
}

#[tokio::test]
async fn a_worker_frozen_beyond_its_keep_alive_is_dropped_and_its_late_acknowledgements_count_for_nothing_on_rmqtt()
 {
    frozen(Broker::rmqtt().await).await;
}

async fn frozen(broker: Broker) {
    let mut bed = Bed::start_on(broker, Database::mariadb().await).await;
    bed.rows().execute(ADD_KEY).await;
    let spec = format!("  delivery: {{receiveMaximum: {WINDOW}}}\n");
    let mut worker = bed.run(&keyed(&spec), 1).await;
    bed.database.pause();
    let published = 3 * WINDOW;
    bed.client("publisher").await.publish_all(messages(0..published), 50).await;
    eventually("the window is full", PATIENCE, async || {
        let sent = bed.ledger.count("readings/", |entry| !entry.sent.is_empty());
        ensure(sent == WINDOW, || format!("{sent} of {WINDOW}"))
    })
    .await;
    worker.process().signal(Signal::STOP);
    bed.database.resume();
    eventually("the broker drops the silent worker", Duration::from_secs(40), async || {
        // The session's connection, and the one that handlers publish over.
        let ended = bed.proxy.ended_by_broker();
        ensure(ended >= 2, || format!("{ended} connections ended"))
    })
    .await;
    worker.process().signal(Signal::CONT);
    bed.distinct_rows(published).await;
    bed.all_acknowledged("readings/", published).await;
    let entries = bed.ledger.entries("readings/");
    let connections = bed.ledger.subscribed() as u64;
    assert!(connections >= 2, "the worker never noticed");
    let again = entries.values().filter(|entry| entry.sent.len() > 1).count();
    assert_eq!(again, WINDOW, "the window is sent again on the next connection");
    assert!(bed.ledger.strays().is_empty(), "{:?}", bed.ledger.strays());
}
