//! While a spec is refused, what ran before runs on and is kept in order.

use serde_json::json;

use crate::bed::{Bed, route};

/// The route `devices` with a param twice in its topic, which only the compiler finds.
fn broken(workers: u32) -> String {
    route("devices", workers).replace("{id}/status", "{id}/{id}")
}

#[tokio::test]
async fn the_children_of_a_refused_spec_are_scaled_and_repaired_as_last_wanted() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 2));
    bed.condition("devices", "Progressing", ("False", "Complete")).await;
    let table = bed.field("configmap/devices-worker", ".data.route\\.json");
    bed.apply(&broken(3));
    bed.condition("devices", "Accepted", ("False", "Invalid")).await;
    for object in [
        "configmap/devices-worker",
        "role/devices-worker",
        "deployment/devices-worker",
        "lease/devices-slot-0",
    ] {
        bed.kubectl(&["delete", object]).unwrap();
        let query = ["get", object, "--ignore-not-found", "--output", "name"];
        bed.until(&format!("{object} is back"), &query, |name| !name.is_empty()).await;
    }
    bed.until(
        "three workers are wanted and counted",
        &[
            "get",
            "mr/devices",
            "deployment/devices-worker",
            "--output",
            "jsonpath={.items[0].status.replicas} {.items[1].spec.replicas}",
        ],
        |seen| seen == "3 3",
    )
    .await;
    let kept = bed.field("configmap/devices-worker", ".data.route\\.json");
    assert_eq!(kept.replace("\"workerCount\":3", "\"workerCount\":2"), table);
}

#[tokio::test]
async fn the_slot_of_a_lost_pod_is_freed_while_the_spec_is_refused() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 1));
    let pod = bed.pods(1).await.remove(0);
    bed.apply(&broken(1));
    bed.condition("devices", "Accepted", ("False", "Invalid")).await;
    bed.report("lease/devices-slot-0", &pod, &json!({"connected": true}));
    bed.kubectl(&["delete", "pod", &pod, "--grace-period=0", "--force"]).unwrap();
    let query = ["get", "lease/devices-slot-0", "--output", "jsonpath={.spec.holderIdentity}"];
    bed.until("the slot is free", &query, str::is_empty).await;
}

#[tokio::test]
async fn what_kubernetes_would_refuse_of_the_pods_is_named_at_once() {
    let bed = Bed::new().await;
    let worker =
        "  worker: {podLabels: {team: \"blue team\"}, resources: {limits: {memory: 64MB}}}\n";
    bed.apply(&format!("{}{worker}", route("devices", 1)));
    let refused = bed.condition("devices", "Accepted", ("False", "Invalid")).await;
    for part in
        ["spec.worker.podLabels.team", "blue team", "spec.worker.resources.limits.memory", "64MB"]
    {
        assert!(refused.message.contains(part), "{part}: {}", refused.message);
    }
}

#[tokio::test]
async fn certificates_beside_the_operators_unencrypted_url_are_refused_with_every_other_problem() {
    let bed = Bed::new().await;
    bed.apply(&format!("{}  broker: {{tls: {{caSecretRef: {{name: ca}}}}}}\n", broken(1)));
    let refused = bed.condition("devices", "Accepted", ("False", "Invalid")).await;
    for part in ["spec.broker.tls", "spec.routes[0].topic"] {
        assert!(refused.message.contains(part), "{part}: {}", refused.message);
    }
}
