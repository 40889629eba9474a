//! Several workers in one share.

use crate::bed::{Bed, load, yaml};
use routemq_worker::run::{RunError, Running, totals};

const ONE: &[(&str, &str, u32)] = &[("control", "d/{id}", 0)];

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_each_take_some_and_every_message_is_handled_once_in_order() {
    let bed = Bed::start().await;
    let running = bed.run(&yaml(3, "", ONE)).await;
    bed.publish("d", 0..3000).await;
    bed.tally.reaches(3000).await;
    let summaries = running.stop().await;

    bed.tally.each_once(3000);
    let slots = bed.tally.by_slot();
    assert_eq!(slots.len(), 3, "{slots:?}");
    assert!(slots.values().all(|count| *count > 500), "{slots:?}");
    let totals = totals(&summaries);
    assert_eq!(totals.to_string(), "3000 done");
    assert_eq!(totals.routes["control"].received, 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_keeps_the_order_of_each_topic_while_handlers_wait() {
    let bed = Bed::start().await;
    let running = bed.run(&yaml(1, "concurrency: 8", &[("control", "d/{id}", 1)])).await;
    bed.publish("d", 0..500).await;
    bed.tally.reaches(500).await;
    running.stop().await;
    bed.tally.each_once(500);
    for (topic, order) in bed.tally.order_by_topic() {
        assert!(order.is_sorted(), "{topic}: {order:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_with_a_slot_each_share_the_work() {
    let bed = Bed::start().await;
    let yaml = yaml(2, "", ONE);
    let slot = |slot| routemq_worker::run::RunSettings { slot: Some(slot), ..bed.settings() };
    let (one, two) = (bed.run_with(&yaml, slot(0)).await, bed.run_with(&yaml, slot(1)).await);
    bed.publish("d", 0..200).await;
    bed.tally.reaches(200).await;
    let (one, two) = (one.stop().await, two.stop().await);
    bed.tally.each_once(200);
    assert_eq!((one[0].worker.slot, two[0].worker.slot), (0, 1));
    assert!(one[0].totals.handled() > 50 && two[0].totals.handled() > 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_no_route_has_is_refused() {
    let bed = Bed::start().await;
    let settings = routemq_worker::run::RunSettings { slot: Some(2), ..bed.settings() };
    let refused = Running::start(load(&yaml(2, "", ONE)), settings).await.unwrap_err();
    assert!(matches!(refused, RunError::Slot { slot: 2, most: 2 }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unshared_route_has_one_plain_subscriber_whatever_its_count() {
    let bed = Bed::start().await;
    let yaml = yaml(1, "", ONE).replace("spec:\n", "spec:\n  shared: false\n");
    let running = bed.run(&yaml).await;
    bed.publish("d", 0..20).await;
    bed.tally.reaches(20).await;
    running.stop().await;
    bed.tally.each_once(20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_route_runs_no_worker() {
    let bed = Bed::start().await;
    let running = bed.run(&yaml(3, "", ONE).replace("spec:\n", "spec:\n  paused: true\n")).await;
    assert_eq!(running.stop().await, []);
}
