//! What is acknowledged to a publisher arrives, whatever happens to the workers.

use std::time::Instant;

use routemq_tests::{ensure, eventually};

use crate::{
    bed::{Bed, SOON},
    load::{Load, payload},
};

/// How many messages a worker has logged.
fn handled(bed: &Bed, pod: &str) -> usize {
    let log = bed.kubectl(&["logs", pod]).unwrap();
    log.lines().filter(|line| line.contains("\"handled\"")).count()
}

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn five_thousand_messages_become_five_thousand_rows_and_every_worker_takes_some() {
    let bed = Bed::new().await;
    bed.apply_and_wait(3);
    let messages = (0..5000).map(|number| (bed.topic(number % 50), payload(number)));
    bed.client().await.publish_all(messages, 100).await;
    let doubled = bed.all_stored(5000, SOON).await;
    assert_eq!(doubled, 0);
    for pod in bed.workers() {
        let handled = handled(&bed, &pod);
        println!("{pod}: {handled} messages");
        assert!(handled > 0, "{pod} took none");
    }
}

/// Two of five go, with whatever the broker had given them: those that stay adopt their sessions.
#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn scaling_up_and_down_under_load_loses_and_doubles_nothing() {
    let bed = Bed::new().await;
    bed.apply_and_wait(3);
    let load = Load::start(&bed, 200);
    bed.scale(5);
    bed.wait_until_ready();
    eventually("each of five workers takes some", SOON, async || {
        let shares: Vec<_> = bed.workers().iter().map(|pod| handled(&bed, pod)).collect();
        ensure(shares.len() == 5 && !shares.contains(&0), || format!("{shares:?}"))
    })
    .await;
    bed.scale(2);
    bed.wait_until_ready();
    let slots = ["get", "leases", "--output", "name"];
    bed.until("three slots are drained and gone", &slots, |it| it.lines().count() == 2).await;
    let sent = load.finish();
    let doubled = bed.all_stored(sent, SOON).await;
    println!("{sent} messages while scaling 3 → 5 → 2: 0 lost, {doubled} doubled");
    assert_eq!(doubled, 0);
}

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn a_rolling_update_under_load_loses_and_doubles_nothing() {
    let bed = Bed::new().await;
    bed.apply_and_wait(3);
    let before = bed.workers();
    let started = Instant::now();
    let load = Load::start(&bed, 1000);
    bed.patch(r#"{"spec":{"worker":{"podAnnotations":{"example.org/rolled":"yes"}}}}"#);
    let template = "jsonpath={.spec.template.metadata.annotations}";
    let annotations = ["get", "deployment/devices-worker", "--output", template];
    bed.until("the template is new", &annotations, |all| all.contains("rolled")).await;
    bed.kubectl(&["rollout", "status", "deployment/devices-worker", "--timeout=120s"]).unwrap();
    bed.wait_until_ready();
    let now = bed.workers();
    let (sent, took) = (load.finish(), started.elapsed());
    let doubled = bed.all_stored(sent, SOON).await;
    println!(
        "{sent} messages in {took:?}, during a rollout of 3 workers: 0 lost, {doubled} doubled"
    );
    assert_eq!(doubled, 0);
    assert!(now.len() == 3 && now.iter().all(|pod| !before.contains(pod)), "{before:?} → {now:?}");
}

/// The slots stay, and with them the broker keeps what is published.
#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn what_is_published_while_there_is_no_worker_arrives_when_there_are_three() {
    const MESSAGES: u64 = 10_000;
    let bed = Bed::new().await;
    bed.apply_and_wait(2);
    bed.scale(0);
    bed.until("no worker is left", &["get", "pods", "--output", "name"], str::is_empty).await;
    let messages = (0..MESSAGES).map(|number| (bed.topic(number % 50), payload(number)));
    bed.client().await.publish_all(messages, 100).await;
    bed.scale(3);
    bed.wait_until_ready();
    assert_eq!(bed.all_stored(MESSAGES, SOON).await, 0);
}
