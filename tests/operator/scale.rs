//! Who may change the number of workers, and who only seems to.

use std::time::Duration;

use crate::bed::{Bed, route};

/// The autoscaler looks every 15 s, and learns of new kinds every 30 s.
const AUTOSCALED: Duration = Duration::from_mins(2);

/// Wants three at least. It has no metrics to go by here, and needs none for that.
fn autoscaler(version: &str, kind: &str, name: &str) -> String {
    format!(
        "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: {name}}}
spec:
  scaleTargetRef: {{apiVersion: {version}, kind: {kind}, name: {name}}}
  minReplicas: 3
  maxReplicas: 4
  metrics: [{{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 50}}}}}}]
"
    )
}

#[tokio::test]
async fn kubectl_scale_of_the_deployment_is_put_back_and_an_event_says_so() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 2));
    bed.condition("devices", "Progressing", ("False", "Complete")).await;
    bed.kubectl(&["scale", "deployment/devices-worker", "--replicas=5"]).unwrap();
    let replicas = ["get", "deployment/devices-worker", "--output", "jsonpath={.spec.replicas}"];
    bed.until("two workers are wanted again", &replicas, |count| count == "2").await;
    let told = ["get", "events", "--field-selector", "reason=Reverted", "--output", "name"];
    bed.until("an Event tells it", &told, |all| !all.is_empty()).await;
    let note = bed.events("Reverted");
    assert!(
        note.contains("Deployment devices-worker")
            && note.contains("kubectl scale mqttroute/devices"),
        "{note}"
    );
}

#[tokio::test]
async fn an_autoscaler_of_the_deployment_is_put_back_and_an_event_says_so() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 1));
    bed.condition("devices", "Progressing", ("False", "Complete")).await;
    bed.apply(&autoscaler("apps/v1", "Deployment", "devices-worker"));
    let told = || Ok::<_, String>(bed.events("Reverted"));
    routemq_tests::eventually("an Event tells it", AUTOSCALED, async || {
        let note = told()?;
        routemq_tests::ensure(note.contains("Deployment devices-worker"), || note.clone())
    })
    .await;
    bed.kubectl(&["delete", "hpa", "--all"]).unwrap();
    let replicas = ["get", "deployment/devices-worker", "--output", "jsonpath={.spec.replicas}"];
    bed.until("one worker is wanted again", &replicas, |count| count == "1").await;
}

#[tokio::test]
async fn an_autoscaler_of_the_route_changes_its_workers() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 1));
    bed.condition("devices", "Progressing", ("False", "Complete")).await;
    bed.apply(&autoscaler("routemq.io/v1alpha1", "MqttRoute", "devices"));
    routemq_tests::eventually("three workers are wanted", AUTOSCALED, async || {
        let seen = bed.field("deployment/devices-worker", ".spec.replicas");
        routemq_tests::ensure(seen == "3", || seen.clone())
    })
    .await;
    assert_eq!(bed.field("mr/devices", ".spec.workerCount"), "3");
}
