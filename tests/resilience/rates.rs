//! Rate limits over several workers.

use std::time::{Duration, Instant};

use routemq_tests::{Bed, Database, PATIENCE, ensure, eventually, readings};
use rumqttc::v5::mqttbytes::QoS;
use tokio::time::interval;

use crate::per_second;

/// [`readings`] behind a limit for all topics together.
fn limited(spec: &str, limit: &str) -> String {
    let middleware =
        format!("      middleware: [{{rateLimit: {{{limit}, key: \"'all'\"}}}}]\n      handlers:");
    readings(spec).replace("      handlers:", &middleware)
}

/// Far more than the limit, for so long.
async fn flood(bed: &Bed, span: Duration) -> (usize, Duration) {
    let mut client = bed.client("publisher").await;
    let (mut tick, start, mut published) = (interval(Duration::from_millis(20)), Instant::now(), 0);
    while start.elapsed() < span {
        tick.tick().await;
        client.publish_all(routemq_tests::messages(published..published + 15), 15).await;
        published += 15;
    }
    (published, start.elapsed())
}

#[tokio::test]
async fn three_workers_share_the_limit_of_a_route_to_within_a_tenth() {
    let bed = Bed::start(Database::mariadb().await).await;
    let limit = "limit: 90, perSeconds: 1, burst: 30, scope: Route, action: Drop";
    let _workers = bed.run(&limited("  workerCount: 3\n", limit), 3).await;
    let (published, span) = flood(&bed, Duration::from_secs(8)).await;
    bed.all_acknowledged("readings/", published).await;
    let (rows, offered) = (per_second(bed.row_count().await, span), per_second(published, span));
    assert!(offered > 300.0, "{offered:.0} a second: the limit was not reached");
    assert!((81.0..99.0).contains(&rows), "{rows:.1} a second");
}

#[tokio::test]
async fn a_limit_of_each_worker_is_exact_and_what_is_beyond_it_is_dead_lettered() {
    let bed = Bed::start(Database::mariadb().await).await;
    let mut dead = bed.client("dead").await;
    dead.subscribe("dead/#", QoS::AtLeastOnce).await;
    // So slow that nothing comes back while the test runs.
    let limit = "limit: 20, perSeconds: 86400, burst: 20, scope: Worker, action: DeadLetter";
    let spec = "  workerCount: 3\n  delivery: {deadLetter: {topic: \"dead/{route}\"}}\n";
    let _workers = bed.run(&limited(spec, limit), 3).await;
    bed.client("publisher").await.publish_all(routemq_tests::messages(0..300), 50).await;
    bed.all_acknowledged("readings/", 300).await;
    assert_eq!(bed.row_count().await, 3 * 20);
    let letters = dead.receive_all(Duration::from_secs(1)).await;
    assert_eq!(letters.len(), 300 - 3 * 20);
    let limited = |name: &str, value: &str| {
        letters.iter().all(|letter| {
            letter.properties.user_properties.contains(&(name.to_owned(), value.to_owned()))
        })
    };
    assert!(limited("routemq-class", "RateLimited"));
}

#[tokio::test]
async fn what_is_delayed_comes_at_the_rate_and_all_of_it() {
    let bed = Bed::start(Database::mariadb().await).await;
    let limit = "limit: 60, perSeconds: 1, burst: 1, scope: Route, action: Delay";
    let _workers = bed.run(&limited("  workerCount: 3\n", limit), 3).await;
    let started = Instant::now();
    bed.client("publisher").await.publish_all(routemq_tests::messages(0..300), 50).await;
    eventually("all rows are there", PATIENCE, async || {
        let rows = bed.row_count().await;
        ensure(rows == 300, || format!("{rows} of 300"))
    })
    .await;
    // Each worker has a hundred, and twenty a second.
    let took = started.elapsed().as_secs_f64();
    assert!((4.8..7.5).contains(&took), "{took:.1} s for 300 at 60 a second");
}
