//! What the status says, and when.

use serde_json::json;

use crate::bed::{Bed, route};

#[tokio::test]
async fn a_refused_filter_is_told_with_its_reason_code_and_goes_when_it_is_granted() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 1));
    let pod = bed.pods(1).await.remove(0);
    let filter = "devices/+/status";
    bed.report(
        "lease/devices-slot-0",
        &pod,
        &json!({"generation": 1, "connected": true, "filters": {filter: {"code": 0x87}}}),
    );
    let refused = bed.condition("devices", "Subscribed", ("False", "Refused")).await;
    assert!(
        refused.message.contains("0x87") && refused.message.contains(filter),
        "{}",
        refused.message
    );
    bed.report(
        "lease/devices-slot-0",
        &pod,
        &json!({"generation": 1, "connected": true, "filters": {filter: {"code": 1}}}),
    );
    bed.condition("devices", "Subscribed", ("True", "Granted")).await;
    bed.condition("devices", "Ready", ("False", "WorkersStarting")).await;
}

#[tokio::test]
async fn what_workers_miss_is_named_and_resolves_when_it_appears() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 1));
    let pod = bed.pods(1).await.remove(0);
    bed.report(
        "lease/devices-slot-0",
        &pod,
        &json!({"generation": 1, "missing": ["Secret fleet-login"]}),
    );
    let missing = bed.condition("devices", "ReferencesResolved", ("False", "Missing")).await;
    assert!(missing.message.contains("Secret fleet-login"), "{}", missing.message);
    bed.report("lease/devices-slot-0", &pod, &json!({"generation": 1, "connected": true}));
    bed.condition("devices", "ReferencesResolved", ("True", "Resolved")).await;
}

#[tokio::test]
async fn a_spec_that_only_the_compiler_refuses_is_not_accepted_and_leaves_the_workers_alone() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 2));
    bed.condition("devices", "Accepted", ("True", "Accepted")).await;
    let before = bed.field("configmap/devices-worker", ".data");
    bed.apply(&route("devices", 2).replace("{id}/status", "{id}/{id}"));
    let refused = bed.condition("devices", "Accepted", ("False", "Invalid")).await;
    assert!(refused.message.contains("spec.routes[0].topic"), "{}", refused.message);
    assert_eq!(
        bed.field("configmap/devices-worker", ".data"),
        before,
        "workers keep the last good table"
    );
}

#[tokio::test]
async fn every_condition_is_always_there_and_columns_read_as_promised() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 2));
    bed.condition("devices", "Ready", ("False", "Pending")).await;
    let kinds = bed.field("mr/devices", ".status.conditions[*].type");
    assert_eq!(kinds, "Accepted ReferencesResolved Subscribed Progressing Degraded Ready");
    let table = bed.kubectl(&["get", "mr"]).unwrap();
    let header: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        header,
        ["NAME", "READY", "WORKERS", "DESIRED", "ROUTES", "SHARED", "REASON", "AGE"]
    );
}

#[tokio::test]
async fn paused_and_scaled_to_zero_say_until_when_messages_are_kept() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 0));
    let kept = bed.condition("devices", "Subscribed", ("False", "ScaledToZero")).await;
    assert!(kept.message.contains("3600 seconds"), "{}", kept.message);
}
