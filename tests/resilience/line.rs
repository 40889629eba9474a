//! Lines that are late, lossy or dead.

use std::time::{Duration, Instant};

use routemq_tests::{Bed, Database, Line, MosquittoConfig, ensure, eventually, messages, readings};

use crate::per_second;

/// 200 ms ± 100 ms, 5 % lost: with a window of 1,000 a round trip of half a second allows 2,000 messages a second.
#[tokio::test]
async fn a_late_and_lossy_line_is_slow_and_loses_nothing() {
    let bed = Bed::start(Database::mariadb().await).await;
    let _worker = bed.run(&readings(""), 1).await;
    let (delay, jitter) = (Duration::from_millis(200), Duration::from_millis(100));
    bed.proxy.behave(Line { delay, jitter, loss: 0.05 });
    let (published, started) = (3000, Instant::now());
    bed.client("publisher").await.publish_all(messages(0..published), 500).await;
    bed.distinct_rows(published).await;
    bed.all_acknowledged("readings/", published).await;
    let rate = per_second(published, started.elapsed());
    assert!(rate > 200.0, "{rate:.0} messages a second");
    assert_eq!(bed.row_count().await, published);
    assert_eq!(bed.ledger.subscribed(), 1, "the line was late, not broken");
}

#[tokio::test]
async fn a_line_that_carries_nothing_is_noticed_within_two_keep_alives_and_nothing_is_lost() {
    let keep_alive = Duration::from_secs(10);
    let broker =
        MosquittoConfig { extra: "max_keepalive 10\n".to_owned(), ..MosquittoConfig::default() };
    let bed = Bed::start_with(Database::mariadb().await, broker).await;
    let mut worker = bed.run(&readings(""), 1).await;
    bed.client("publisher").await.publish_all(messages(0..10), 10).await;
    bed.all_acknowledged("readings/", 10).await;
    let (before, silent) = (bed.proxy.accepted(), Instant::now());
    bed.proxy.swallow();
    bed.client("publisher").await.publish_all(messages(10..500), 100).await;
    eventually("the worker connects anew", 3 * keep_alive, async || {
        let connections = bed.proxy.accepted() - before;
        ensure(connections > 0, || format!("{connections} connections"))
    })
    .await;
    assert!(silent.elapsed() <= 2 * keep_alive, "noticed after {:?}", silent.elapsed());
    let subscribed = bed.ledger.subscribed();
    bed.proxy.heal();
    bed.subscribed(subscribed + 1, &mut worker).await;
    bed.distinct_rows(500).await;
    assert_eq!(bed.row_count().await, 500);
}
