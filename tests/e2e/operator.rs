//! The operator's own life: workers do not depend on it.

use crate::{
    bed::{Bed, SOON},
    load::Load,
};

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn an_upgrade_of_the_operator_restarts_no_worker() {
    let bed = Bed::alone().await;
    bed.apply_and_wait(2);
    let before = bed.pods();
    let load = Load::start(&bed, 100);
    bed.cluster.upgrade(&bed.cluster.images.operator_next);
    // What the new operator did to the route it has done once it serves a change.
    bed.kubectl(&["annotate", "mqttroute/devices", "example.org/seen=1"]).unwrap();
    bed.kubectl(&["delete", "pdb/devices-worker"]).unwrap();
    bed.until("the new operator is at work", &["get", "pdb", "--output", "name"], |names| {
        names.contains("devices-worker")
    })
    .await;
    let sent = load.finish();
    assert_eq!(bed.all_stored(sent, SOON).await, 0);
    assert_eq!(bed.pods(), before);
    bed.cluster.upgrade(&bed.cluster.images.operator);
}

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn messages_flow_while_the_operator_is_down_and_while_a_pod_is_replaced() {
    let bed = Bed::alone().await;
    bed.apply_and_wait(2);
    bed.cluster.scale_operator(0);
    let load = Load::start(&bed, 100);
    let pod = &bed.workers()[0];
    bed.kubectl(&["delete", "pod", pod]).unwrap();
    bed.kubectl(&["rollout", "status", "deployment/devices-worker", "--timeout=90s"]).unwrap();
    let sent = load.finish();
    assert_eq!(bed.all_stored(sent, SOON).await, 0);
    bed.cluster.scale_operator(1);
    bed.wait_until_ready();
}
