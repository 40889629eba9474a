//! SIGTERM.

use routemq_tests::{Database, ensure, eventually};

use crate::bed::{Bed, PATIENCE, messages, readings};

const MESSAGES: usize = 6_000;

#[tokio::test]
async fn a_worker_stopped_under_load_exits_with_0_and_nothing_is_lost_or_doubled() {
    let bed = Bed::start(Database::mariadb().await).await;
    let routes = readings("  workerCount: 2\n");
    let mut workers = bed.run(&routes, 2).await;
    let mut publisher = bed.client("publisher").await;
    let load = tokio::spawn(async move { publisher.publish_all(messages(0..MESSAGES), 20).await });
    for round in 1..=3 {
        let target = round * MESSAGES / 5;
        eventually("some are handled", PATIENCE, async || {
            let done = bed.ledger.count("readings/", |entry| !entry.acknowledged.is_empty());
            ensure(done >= target, || format!("{done} of {target}"))
        })
        .await;
        assert!(!load.is_finished(), "the load must last longer than the stop");
        let status = workers.terminate(PATIENCE).await;
        assert_eq!(status.code(), Some(0), "{}", workers.output());
        let before = bed.ledger.subscribed();
        workers.restart();
        bed.subscribed(before + 2, &mut workers).await;
    }
    load.await.expect("the publisher finishes");
    bed.distinct_rows(MESSAGES).await;
    bed.all_acknowledged("readings/", MESSAGES).await;
    assert_eq!(bed.row_count().await, MESSAGES, "rows are doubled");
    assert!(bed.ledger.strays().is_empty(), "{:?}", bed.ledger.strays());
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
