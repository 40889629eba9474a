//! A right that is taken away while the operator runs.

use std::time::Duration;

use routemq_tests::{ensure, eventually};

use crate::{
    bed::{Bed, route},
    operated, rolled_out, turn,
};

/// An object that was refused is tried again within a minute.
const AGAIN: Duration = Duration::from_secs(90);

/// The ClusterRole of the chart, with or without the right to patch ConfigMaps.
fn allow(bed: &Bed, patch: bool) {
    let role =
        bed.plane.kubectl(&["get", "clusterrole/routemq-operator", "--output", "json"]).unwrap();
    let mut role: serde_json::Value = serde_json::from_str(&role).unwrap();
    for rule in role["rules"].as_array_mut().unwrap() {
        let about = rule["resources"].as_array().unwrap().contains(&"configmaps".into());
        let verbs = rule["verbs"].as_array_mut().unwrap();
        if about {
            verbs.retain(|verb| verb != "patch");
            if patch {
                verbs.push("patch".into());
            }
        }
    }
    role["metadata"]["resourceVersion"] = serde_json::Value::Null;
    bed.plane.kubectl_with(&["replace", "--filename", "-"], &role.to_string()).unwrap();
}

#[tokio::test]
async fn a_right_that_is_taken_away_is_told_counted_and_missed_no_longer_than_it_is_gone() {
    let _turn = turn().await;
    let (bed, operator) = operated().await;
    bed.apply(&route("devices", 1));
    rolled_out(&bed, "devices").await;
    let failures = "routemq_operator_reconciles_total{result=\"error\"}";
    let before = operator.metric(failures).await.unwrap();
    allow(&bed, false);
    bed.apply(&route("devices", 1).replace("/status", "/state"));
    let degraded = bed.condition("devices", "Degraded", ("True", "Forbidden")).await;
    let words = "cannot patch resource \"configmaps\"";
    assert!(degraded.message.contains(words), "{}", degraded.message);
    eventually("it is counted", AGAIN, async || {
        let now = operator.metric(failures).await?;
        ensure(now > before, || now.to_string())
    })
    .await;
    allow(&bed, true);
    bed.condition_within(AGAIN, "devices", "Degraded", ("False", "AsPromised")).await;
    let table = bed.field("configmap/devices-worker", ".data.route\\.json");
    assert!(table.contains("{id}/state"), "{table}");
}
