//! Stops: what runs is finished, what does not stays with the broker.

use std::time::Duration;

use crate::bed::{Bed, yaml};
use routemq_worker::run::{RunSettings, totals};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_loses_nothing_and_doubles_nothing() {
    let bed = Bed::start().await;
    let yaml = yaml(2, "concurrency: 4", &[("control", "d/{id}", 3)]);
    let running = bed.run(&yaml).await;
    let stop = async {
        bed.tally.reaches(300).await;
        running.stop().await
    };
    let ((), summaries) = tokio::join!(bed.publish("d", 0..2000), stop);
    let first = totals(&summaries);
    assert!(first.unfinished > 0, "nothing was queued: the test shows nothing");
    assert_eq!(first.handled(), bed.tally.all().len() as u64);
    assert!(first.handled() < 2000);

    let running = bed.run(&yaml).await;
    bed.tally.reaches(2000).await;
    running.stop().await;
    bed.tally.each_once(2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_outlasts_the_drain_is_dropped_and_its_message_comes_again() {
    let bed = Bed::start().await;
    let settings = RunSettings { drain: Duration::from_millis(200), ..bed.settings() };
    let running = bed.run_with(&yaml(1, "", &[("control", "d/{id}", 20_000)]), settings).await;
    bed.publish("d", 0..5).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let totals = totals(&running.stop().await);
    assert_eq!((totals.handled(), totals.unfinished), (0, 5));

    let running = bed.run(&yaml(1, "", &[("control", "d/{id}", 0)])).await;
    bed.tally.reaches(5).await;
    running.stop().await;
    bed.tally.each_once(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_session_is_gone_after_the_stop() {
    let bed = Bed::start().await;
    let yaml = yaml(1, "session: Ephemeral", &[("control", "d/{id}", 0)]);
    bed.run(&yaml).await.stop().await;
    bed.publish("d", 0..10).await;
    let running = bed.run(&yaml).await;
    bed.publish("d", 10..20).await;
    bed.tally.reaches(10).await;
    running.stop().await;
    assert!(bed.tally.all().iter().all(|seen| seen.payload.parse::<u32>().unwrap() >= 10));
}
