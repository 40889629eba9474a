//! What keeps pods from being, and what becomes of their slots.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::bed::{Bed, route};

/// The ReplicaSet's controller tries again ever more slowly, too.
const AGAIN: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_quota_for_pods_is_told_in_its_own_words_and_left_when_it_is_lifted() {
    let bed = Bed::new().await;
    bed.kubectl(&["create", "quota", "no-pods", "--hard=pods=0"]).unwrap();
    bed.apply(&route("devices", 1));
    let degraded = bed.condition("devices", "Degraded", ("True", "QuotaExceeded")).await;
    assert!(degraded.message.contains("exceeded quota: no-pods"), "{}", degraded.message);
    bed.until(
        "an Event tells it",
        &["get", "events", "--field-selector", "reason=QuotaExceeded", "--output", "name"],
        |all| !all.is_empty(),
    )
    .await;
    bed.kubectl(&["delete", "quota", "no-pods"]).unwrap();
    bed.condition_within(AGAIN, "devices", "Degraded", ("False", "AsPromised")).await;
}

#[tokio::test]
async fn a_quota_for_a_child_is_told_in_its_own_words_and_left_when_it_is_lifted() {
    let bed = Bed::new().await;
    bed.kubectl(&["create", "quota", "no-deployments", "--hard=count/deployments.apps=0"]).unwrap();
    let hard = ["get", "quota/no-deployments", "--output", "jsonpath={.status.hard}"];
    bed.until("the quota is in force", &hard, |hard| !hard.is_empty()).await;
    bed.apply(&route("devices", 1));
    let ready = bed.condition("devices", "Ready", ("False", "QuotaExceeded")).await;
    assert!(ready.message.contains("exceeded quota: no-deployments"), "{}", ready.message);
    bed.kubectl(&["delete", "quota", "no-deployments"]).unwrap();
    bed.condition_within(AGAIN, "devices", "Progressing", ("False", "Complete")).await;
}

#[tokio::test]
async fn a_limit_range_that_the_workers_exceed_is_told_in_its_own_words() {
    let bed = Bed::new().await;
    bed.apply("apiVersion: v1\nkind: LimitRange\nmetadata: {name: small}\nspec: {limits: [{type: Container, max: {memory: 32Mi}}]}");
    bed.apply(&format!(
        "{}  worker: {{resources: {{limits: {{memory: 64Mi}}}}}}\n",
        route("devices", 1)
    ));
    let degraded = bed.condition("devices", "Degraded", ("True", "LimitRangeViolated")).await;
    assert!(degraded.message.contains("32Mi"), "{}", degraded.message);
    bed.kubectl(&["delete", "limitrange", "small"]).unwrap();
    bed.condition_within(AGAIN, "devices", "Degraded", ("False", "AsPromised")).await;
}

#[tokio::test]
async fn the_slot_of_a_pod_that_went_without_a_word_is_free_within_five_seconds() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 1));
    let pod = bed.pods(1).await.remove(0);
    bed.report("lease/devices-slot-0", &pod, &json!({"connected": true}));
    bed.condition("devices", "ReferencesResolved", ("True", "Resolved")).await;
    bed.kubectl(&["delete", "pod", &pod, "--grace-period=0", "--force"]).unwrap();
    let gone = Instant::now();
    let query = ["get", "lease/devices-slot-0", "--output", "jsonpath={.spec.holderIdentity}"];
    bed.until("the slot is free", &query, str::is_empty).await;
    assert!(gone.elapsed() < Duration::from_secs(5), "{:?}", gone.elapsed());
}

#[tokio::test]
async fn the_slot_of_an_evicted_pod_is_free_though_its_record_stays() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 1));
    let pod = bed.pods(1).await.remove(0);
    bed.report("lease/devices-slot-0", &pod, &json!({"connected": true}));
    let patch = r#"{"status":{"phase":"Failed","reason":"Evicted"}}"#;
    bed.kubectl(&["patch", "pod", &pod, "--subresource=status", "--type=merge", "--patch", patch])
        .unwrap();
    let query = ["get", "lease/devices-slot-0", "--output", "jsonpath={.spec.holderIdentity}"];
    bed.until("the slot is free", &query, str::is_empty).await;
}
