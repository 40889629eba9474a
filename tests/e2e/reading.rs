//! What people see: Ready, columns, describe, wait, an autoscaler, and nothing after a delete.

use std::time::Duration;

use routemq_tests::{ensure, eventually};

use crate::bed::{Bed, SOON};

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn an_applied_route_is_ready_within_thirty_seconds_and_tells_its_state() {
    let bed = Bed::new().await;
    let took = bed.apply_and_wait(2);
    println!("kubectl apply → Ready: {took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    let table = bed.kubectl(&["get", "mr"]).unwrap();
    let words: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        words[0],
        ["NAME", "READY", "WORKERS", "DESIRED", "ROUTES", "SHARED", "REASON", "AGE"]
    );
    assert_eq!(words[1][..7], ["devices", "True", "2", "2", "1", "true", "Running"], "{table}");
    let text = bed.kubectl(&["describe", "mqttroute/devices"]).unwrap();
    for explanation in [
        "every worker is subscribed to every filter".to_owned(),
        format!("$share/{}.devices/{}/+/reading", bed.namespace, bed.namespace),
    ] {
        assert!(text.contains(&explanation), "{explanation:?} is not in\n{text}");
    }
}

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn waiting_for_ready_after_a_change_waits_for_that_change() {
    let bed = Bed::new().await;
    bed.apply_and_wait(1);
    bed.kubectl(&["scale", "mqttroute/devices", "--replicas=3"]).unwrap();
    bed.wait_until_ready();
    assert_eq!(bed.field("mqttroute/devices", ".status.readyReplicas"), "3");
    let generations =
        bed.field("mqttroute/devices", ".metadata.generation} {.status.observedGeneration");
    let (wanted, seen) = generations.split_once(' ').unwrap();
    assert_eq!(wanted, seen);
}

/// Without a metrics server it cannot decide, but that it reads the scale of an MqttRoute it says.
#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn an_autoscaler_takes_a_route_as_its_target() {
    let bed = Bed::new().await;
    bed.apply_and_wait(1);
    bed.apply(
        "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: devices}, spec: {
          scaleTargetRef: {apiVersion: routemq.io/v1alpha1, kind: MqttRoute, name: devices}, minReplicas: 2, maxReplicas: 4,
          metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]}}",
    );
    // Below its minimum it puts the scale, whatever metrics say.
    bed.until(
        "the autoscaler has raised the route to its minimum",
        &["get", "mqttroute/devices", "--output", "jsonpath={.spec.workerCount}"],
        |n| n == "2",
    )
    .await;
    let able = bed.field("hpa/devices", ".status.conditions[?(@.type==\"AbleToScale\")].status");
    assert_eq!(able, "True");
}

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn deleting_a_route_takes_everything_with_it() {
    let bed = Bed::new().await;
    bed.apply_and_wait(2);
    bed.kubectl(&["delete", "mqttroute/devices"]).unwrap();
    let kinds =
        "deployments,replicasets,pods,configmaps,serviceaccounts,roles,rolebindings,leases,pdb";
    let query = ["get", kinds, "--selector", "routemq.io/route=devices", "--output", "name"];
    eventually("nothing of it is left", SOON, async || {
        let left = bed.kubectl(&query)?;
        ensure(left.is_empty(), || left.clone())
    })
    .await;
}
