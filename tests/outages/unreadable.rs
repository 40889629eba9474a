//! An object that was stored under other rules than today's.

use routemq_tests::{ensure, eventually};

use crate::{
    LEADS,
    bed::{Bed, Operator, route},
    gauge, rolled_out, turn,
};

/// Two objects that nothing can be made of. For the second, an API server takes not even a status.
const UNREADABLE: &str = "apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {name: old}
spec: {delivery: {session: Eternal}, routes: [{name: a, topic: a, handlers: [{log: {}}]}]}
---
apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {name: worse}
spec: {routes: everything}
";

/// The definition as it is, and as it was when it asked for nothing.
fn definitions(bed: &Bed) -> (String, String) {
    let strict =
        bed.plane.kubectl(&["get", "crd/mqttroutes.routemq.io", "--output", "json"]).unwrap();
    let mut crd: serde_json::Value = serde_json::from_str(&strict).unwrap();
    crd["metadata"]["resourceVersion"] = serde_json::Value::Null;
    let strict = crd.to_string();
    let anything =
        serde_json::json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = anything;
    (strict, crd.to_string())
}

fn replace(bed: &Bed, definition: &str) {
    bed.plane.kubectl_with(&["replace", "--filename", "-"], definition).unwrap();
}

#[tokio::test]
async fn a_stored_object_that_is_no_route_is_told_so_and_disturbs_no_other() {
    let _turn = turn().await;
    let bed = Bed::without_operator().await;
    let (strict, loose) = definitions(&bed);
    replace(&bed, &loose);
    eventually("the loose definition is in force", crate::bed::SOON, async || {
        bed.plane.apply(&bed.namespace, UNREADABLE)
    })
    .await;
    replace(&bed, &strict);
    let operator = Operator::start("outages");
    gauge(&operator, 1.0, LEADS).await;
    let reason = [
        "get",
        "mr/old",
        "--output",
        "jsonpath={.status.conditions[?(@.type==\"Accepted\")].reason}",
    ];
    bed.until("it is told so", &reason, |reason| reason == "Unreadable").await;
    assert_eq!(
        bed.field("mr/old", ".status.conditions[*].type"),
        "Accepted ReferencesResolved Subscribed Progressing Degraded Ready"
    );
    eventually("Events tell it of both", crate::bed::SOON, async || {
        let told = bed.events("Unreadable");
        ensure(told.contains("old: ") && told.contains("worse: "), || told.clone())
    })
    .await;
    bed.apply(&route("devices", 1));
    rolled_out(&bed, "devices").await;
    bed.kubectl(&["patch", "mr/old", "--type=merge", "--patch", r#"{"spec":{"delivery":null}}"#])
        .unwrap();
    rolled_out(&bed, "old").await;
    // It stays in the way of the definition that comes next.
    bed.kubectl(&["delete", "mr/worse"]).unwrap();
}
