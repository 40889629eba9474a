//! Fewer workers: whose sessions are left is drained by the others, and ended.

use std::time::{Duration, Instant};

use routemq_tests::{Mosquitto, MosquittoConfig};

use crate::{
    PLANE,
    pods::{PATIENCE, Pods},
    traffic::{Traffic, sessions},
};

/// What is promised for orphans.
const ADOPTED: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_become_one_under_load_and_it_drains_and_ends_what_the_others_leave() {
    let _shared = PLANE.read().await;
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let mut pods = Pods::start(&broker, 3).await;
    pods.subscribed().await;
    let traffic = Traffic::start(&broker, 500).await;
    traffic.flows(500, PATIENCE).await;

    pods.scale(1);
    let gone = pods.follow(1).await;
    assert_eq!(gone.len(), 2);
    // One is stopped as a kubelet does; the other's node is gone.
    pods.kill(&gone[0]);
    pods.terminate(&gone[1]).await;
    let began = Instant::now();
    pods.slots("two slots are adopted, drained and deleted", ADOPTED, 1).await;
    println!("two slots ended after {:?}", began.elapsed());
    traffic.flows(500, PATIENCE).await;
    pods.subscribed().await;

    let (published, again) = traffic.finish(PATIENCE).await;
    println!("{published} messages: 0 lost, {again} again");
    // What the killed one had at work.
    assert!(again <= 1000, "{again} came again");
    pods.terminate_all().await;
    sessions(&broker, 1, PATIENCE).await;
}
