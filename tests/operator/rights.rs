//! The chart grants the operator exactly what it uses, by the API server's own record.

use std::{collections::BTreeSet, time::Duration};

use routemq_tests::{ControlPlane, Request, ensure, eventually};
use serde_json::{Value, json};

use crate::bed::{ACCOUNT, Bed, report, route};

/// Where the chart is installed, and the election held.
const HOME: &str = "routemq";
/// Granted, and not used by the operator itself: nobody can grant what he does not have, and each worker's Role has it.
const FOR_WORKERS: [&str; 2] = ["get", "update"];

/// One verb on one resource, by the role that grants it: `ROLE: RESOURCE.GROUP VERB`.
fn right(role: &str, resource: &str, group: &str, verb: &str) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    format!("{role}: {resource}{dot}{group} {verb}")
}

/// What the role of the chart says, as the API server has it.
fn granted(role: &str, arguments: &[&str]) -> BTreeSet<String> {
    let query = [&["get"], arguments, &["--output", "json"]].concat();
    let json: Value =
        serde_json::from_str(&ControlPlane::shared().kubectl(&query).unwrap()).unwrap();
    let words = |rule: &Value, field: &str| -> Vec<String> {
        let entries = rule[field].as_array().into_iter().flatten();
        entries.map(|entry| entry.as_str().unwrap().to_owned()).collect()
    };
    let mut found = BTreeSet::new();
    for rule in json["rules"].as_array().unwrap() {
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                let verbs = words(rule, "verbs").into_iter();
                found.extend(verbs.map(|verb| right(role, &resource, &group, &verb)));
            }
        }
    }
    found
}

fn all_granted() -> BTreeSet<String> {
    let election = ["--namespace", HOME, "role", "routemq-operator-election"];
    let mut all = granted("operator", &["clusterrole", "routemq-operator"]);
    all.extend(granted("election", &election));
    all
}

fn requests() -> Vec<Request> {
    ControlPlane::shared().requests_of(HOME, ACCOUNT).expect("the control plane is ours")
}

/// The rights that a request needed. The election is about the only Lease of the operator's own namespace.
fn used(request: &Request) -> Vec<String> {
    let election = request.namespace == HOME && request.resource == "leases";
    let role = if election { "election" } else { "operator" };
    let right = |verb: &str| right(role, &request.resource, &request.group, verb);
    let applied = request.created && request.verb == "patch";
    [Some(right(&request.verb)), applied.then(|| right("create"))].into_iter().flatten().collect()
}

fn is_for_workers(granted: &str) -> bool {
    FOR_WORKERS
        .iter()
        .any(|verb| granted == right("operator", "leases", "coordination.k8s.io", verb))
}

/// A route from its first slot to its last, with everything that an operator has to do in between.
async fn live_a_full_life(bed: &Bed) {
    bed.apply(&route("devices", 2));
    bed.condition("devices", "Progressing", ("False", "Complete")).await;
    retire_a_slot(bed).await;
    clear_a_slot(bed).await;
    repeat_an_event(bed).await;
}

/// Fewer workers: the highest slot is marked, and once it is drained it goes.
async fn retire_a_slot(bed: &Bed) {
    bed.kubectl(&["scale", "mqttroute/devices", "--replicas=1"]).unwrap();
    let marked = ["get", "lease/devices-slot-1", "--output", "jsonpath={.metadata.annotations}"];
    bed.until("the slot is marked", &marked, |text| text.contains("routemq.io/retire")).await;
    report(bed, "lease/devices-slot-1", "", &json!({"generation": 1, "drained": true}));
    let gone = ["get", "leases", "--output", "name"];
    bed.until("the drained slot is gone", &gone, |names| !names.contains("slot-1")).await;
}

/// A pod that held a slot and is gone.
async fn clear_a_slot(bed: &Bed) {
    report(bed, "lease/devices-slot-0", "gone", &json!({"generation": 1, "connected": true}));
    let holder = ["get", "lease/devices-slot-0", "--output", "jsonpath={.spec.holderIdentity}"];
    bed.until("the slot is free again", &holder, str::is_empty).await;
}

/// Twice the same within minutes, which becomes a series.
async fn repeat_an_event(bed: &Bed) {
    for wanted in [("False", "ScaledToZero"), ("False", "WorkersStarting")].repeat(2) {
        let replicas = if wanted.1 == "ScaledToZero" { "--replicas=0" } else { "--replicas=1" };
        bed.kubectl(&["scale", "mqttroute/devices", replicas]).unwrap();
        bed.until("the state is told", &READY_REASON, |reason| {
            (reason == "ScaledToZero") == (replicas == "--replicas=0")
        })
        .await;
    }
}

const READY_REASON: [&str; 4] = [
    "get",
    "mqttroute/devices",
    "--output",
    "jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}",
];

#[tokio::test]
async fn every_right_of_the_operator_is_used_and_none_is_missing() {
    let bed = Bed::new().await;
    live_a_full_life(&bed).await;
    let granted = all_granted();
    assert!(granted.len() > 30, "{granted:#?}");
    eventually("every right is used", Duration::from_secs(10), async || {
        let used: BTreeSet<_> = requests().iter().flat_map(used).collect();
        let unused: Vec<_> =
            granted.difference(&used).filter(|right| !is_for_workers(right)).collect();
        ensure(unused.is_empty(), || format!("granted and never used: {unused:#?}"))
    })
    .await;
    let refused: Vec<_> = requests().into_iter().filter(|request| request.refused).collect();
    assert!(refused.is_empty(), "refused: {refused:#?}");
}
