//! The store behind the API server hangs: no slot is renewed, claimed or reported, and messages flow all the same.

use std::time::{Duration, Instant};

use routemq_tests::{Mosquitto, MosquittoConfig};

use crate::{
    PLANE,
    pods::{PATIENCE, Pods},
    traffic::{Traffic, sessions},
};

/// Four times a slot's expiry.
const HANGS: Duration = Duration::from_mins(2);
/// The longest that messages may stop.
const STILL: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_hangs_for_two_minutes_stops_no_message_and_a_worker_restarted_meanwhile_gets_its_slot()
 {
    let _alone = PLANE.write().await;
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let mut pods = Pods::start(&broker, 2).await;
    pods.subscribed().await;
    let traffic = Traffic::start(&broker, 200).await;
    traffic.flows(200, PATIENCE).await;
    let restarted = pods.names().unwrap().remove(0);

    pods.bed.plane.component("pause", "etcd");
    let hangs = Instant::now();
    pods.kill(&restarted);
    pods.run(&restarted);
    while hangs.elapsed() < HANGS {
        traffic.flows(500, STILL).await;
    }
    pods.bed.plane.component("resume", "etcd");

    // What the restarted worker's session holds comes out only where it has its slot again.
    let (published, again) = traffic.finish(PATIENCE).await;
    println!("{published} messages: 0 lost, {again} again");
    assert!(again <= 1000, "{again} came again");
    pods.subscribed().await;
    pods.terminate_all().await;
    sessions(&broker, 2, PATIENCE).await;
}
