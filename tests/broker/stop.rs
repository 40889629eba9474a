//! SIGTERM.

use routemq_tests::{Broker, Database, ensure, eventually};

use crate::bed::{Bed, Load, PATIENCE, messages, readings};

async fn stopped_under_load(broker: Broker) {
    let bed = Bed::start_on(broker, Database::mariadb().await).await;
    let routes = readings("  workerCount: 2\n");
    let mut workers = bed.run(&routes, 2).await;
    let load = Load::start(bed.client("publisher").await);
    for _ in 0..3 {
        bed.reaches(bed.acknowledged() + 1_000).await;
        let status = workers.terminate(PATIENCE).await;
        assert_eq!(status.code(), Some(0), "{}", workers.output());
        let before = bed.ledger.subscribed();
        workers.restart();
        bed.subscribed(before + 2, &mut workers).await;
    }
    let messages = load.finish().await;
    bed.distinct_rows(messages).await;
    bed.all_acknowledged("readings/", messages).await;
    let again: Vec<_> =
        bed.ledger.entries("readings/").into_iter().filter(|(_, e)| e.sent.len() > 1).collect();
    assert_eq!(bed.row_count().await, messages, "sent more than once: {again:?}");
    assert!(bed.ledger.strays().is_empty(), "{:?}", bed.ledger.strays());
}

#[tokio::test]
async fn a_worker_stopped_under_load_exits_with_0_and_nothing_is_lost_or_doubled() {
    stopped_under_load(Broker::mosquitto().await).await;
}

#[tokio::test]
async fn a_worker_stopped_under_load_exits_with_0_and_nothing_is_lost_or_doubled_on_rmqtt() {
    stopped_under_load(Broker::rmqtt().await).await;
}

#[tokio::test]
async fn a_worker_stopped_while_its_handlers_cannot_finish_gives_up_in_time_and_acknowledges_nothing()
 {
    let mut bed = Bed::start(Database::mariadb().await).await;
    let routes = readings("  delivery: {timeoutSeconds: 3}\n");
    let mut worker = bed.run(&routes, 1).await;
    bed.database.pause();
    bed.client("publisher").await.publish_all(messages(0..20), 20).await;
    eventually("they are on the way", PATIENCE, async || {
        let sent = bed.ledger.count("readings/", |entry| !entry.sent.is_empty());
        ensure(sent == 20, || format!("{sent} sent"))
    })
    .await;
    worker.terminate(PATIENCE).await;
    assert_eq!(bed.ledger.count("readings/", |e| !e.acknowledged.is_empty()), 0);
    bed.database.resume();
    worker.restart();
    bed.distinct_rows(20).await;
    bed.all_acknowledged("readings/", 20).await;
}
