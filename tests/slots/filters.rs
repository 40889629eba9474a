//! What an earlier worker of a slot left subscribed.

use routemq_tests::{Mosquitto, MosquittoConfig};

use crate::{
    PLANE,
    pods::{PATIENCE, Pods},
    traffic::Traffic,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_leaves_the_share_that_its_slot_s_last_worker_joined_under_another_name() {
    let _shared = PLANE.read().await;
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let mut pods = Pods::start(&broker, 1).await;
    pods.subscribed().await;
    let pod = pods.names().unwrap().remove(0);
    pods.terminate(&pod).await;
    // It is nowhere in what the next process can read but on the Lease.
    let share = r#"{"spec":{"shareName":"another"}}"#;
    pods.bed.kubectl(&["patch", "mqttroute/devices", "--type=merge", "--patch", share]).unwrap();
    pods.bed
        .until(
            "the table is new",
            &["get", "configmap/devices-worker", "--output", "jsonpath={.data.route\\.json}"],
            |table| table.contains("another"),
        )
        .await;
    pods.mount();
    pods.follow(1).await;
    pods.subscribed().await;
    pods.holds_only("$share/another/devices/+/status").await;

    let traffic = Traffic::start(&broker, 100).await;
    traffic.flows(200, PATIENCE).await;
    let (published, again) = traffic.finish(PATIENCE).await;
    assert_eq!(again, 0, "of {published}: the old share is still subscribed");
    pods.terminate_all().await;
}
