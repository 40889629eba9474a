//! `Ready`, and what users wait for by it.

use serde_json::json;

use crate::bed::{Bed, route};

#[tokio::test]
async fn waiting_for_ready_after_a_new_image_waits_for_the_new_pods() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 1));
    let old = bed.pods(1).await.remove(0);
    bed.serve(&old, "lease/devices-slot-0", 1);
    bed.condition("devices", "Ready", ("True", "Running")).await;
    let patch = r#"{"spec":{"worker":{"image":"routemq:next"}}}"#;
    bed.kubectl(&["patch", "mr/devices", "--type=merge", "--patch", patch]).unwrap();
    let wait = ["wait", "--for=condition=Ready", "mr/devices", "--timeout=5s"];
    bed.kubectl(&wait).expect_err("no pod of the new image runs yet");
    let new = bed.pods(1).await.remove(0);
    assert_ne!(new, old, "maxUnavailable lets the old one go first");
    bed.serve(&new, "lease/devices-slot-0", 1);
    bed.condition("devices", "Ready", ("True", "Running")).await;
    bed.kubectl(&wait).unwrap();
}

#[tokio::test]
async fn a_secret_that_comes_later_makes_a_route_ready_without_touching_it() {
    let bed = Bed::new().await;
    bed.apply(&format!(
        "{}  broker: {{credentialsSecretRef: {{name: login}}}}\n",
        route("devices", 1)
    ));
    let pod = bed.pods(1).await.remove(0);
    bed.report(
        "lease/devices-slot-0",
        &pod,
        &json!({"generation": 1, "missing": ["Secret login"]}),
    );
    let ready = bed.condition("devices", "Ready", ("False", "Missing")).await;
    assert!(ready.message.contains("Secret login"), "{}", ready.message);
    bed.until(
        "an Event tells it",
        &["get", "events", "--field-selector", "reason=Missing", "--output", "name"],
        |all| !all.is_empty(),
    )
    .await;
    // The kubelet mounts it, and the worker finds it: no node runs here, so the test does both.
    bed.kubectl(&["create", "secret", "generic", "login", "--from-literal=username=a"]).unwrap();
    bed.serve(&pod, "lease/devices-slot-0", 1);
    bed.condition("devices", "Ready", ("True", "Running")).await;
    assert_eq!(bed.field("mr/devices", ".metadata.generation"), "1");
}

#[tokio::test]
async fn what_is_degraded_while_ready_is_an_event_too_and_so_is_its_end() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 1));
    let pod = bed.pods(1).await.remove(0);
    bed.serve(&pod, "lease/devices-slot-0", 1);
    bed.condition("devices", "Ready", ("True", "Running")).await;
    bed.report("lease/devices-slot-0", &pod, &json!({"generation": 1, "connected": true, "degraded": {"reason": "DatabaseAway", "message": "the database does not answer"}}));
    for reason in ["DatabaseAway", "AsPromised"] {
        let query =
            ["get", "events", "--field-selector", &format!("reason={reason}"), "--output", "name"];
        bed.until(&format!("an Event tells {reason}"), &query, |all| !all.is_empty()).await;
        bed.serve(&pod, "lease/devices-slot-0", 1);
    }
}
