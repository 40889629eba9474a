//! What the operator makes, keeps, and leaves alone.

use std::time::{Duration, Instant};

use routemq_tests::{ensure, eventually};

use crate::bed::{Bed, OPERATOR, route};

#[tokio::test]
async fn a_route_becomes_a_deployment_with_slots_and_goes_with_everything_it_had() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 3));
    bed.condition("devices", "Accepted", ("True", "Accepted")).await;
    bed.until("three slots are there", &["get", "leases", "--output", "name"], |names| {
        names.lines().count() == 3 && names.contains("lease.coordination.k8s.io/devices-slot-0")
    })
    .await;
    assert_eq!(bed.field("deployment/devices-worker", ".spec.replicas"), "3");
    assert_eq!(
        bed.field("deployment/devices-worker", ".spec.strategy.rollingUpdate.maxSurge"),
        "0"
    );
    bed.kubectl(&["delete", "mqttroute/devices"]).unwrap();
    let kinds = "deployments,configmaps,serviceaccounts,roles,rolebindings,leases,pdb";
    let query = ["get", kinds, "--selector", "routemq.io/route=devices", "--output", "name"];
    // The cluster's own garbage collector does it; it learns of a new kind within half a minute.
    eventually("nothing of it is left", Duration::from_secs(90), async || {
        let left = bed.kubectl(&query)?;
        ensure(left.is_empty(), || left.clone())
    })
    .await;
}

#[tokio::test]
async fn kubectl_scale_changes_the_workers_and_grows_the_slots() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 1));
    bed.condition("devices", "Accepted", ("True", "Accepted")).await;
    bed.kubectl(&["scale", "mqttroute/devices", "--replicas=4"]).unwrap();
    bed.until(
        "four workers are wanted",
        &["get", "deployment/devices-worker", "--output", "jsonpath={.spec.replicas}"],
        |n| n == "4",
    )
    .await;
    bed.until("four slots are there", &["get", "leases", "--output", "name"], |names| {
        names.lines().count() == 4
    })
    .await;
    let role = bed.field("role/devices-worker", ".rules[0].resourceNames");
    assert_eq!(role, r#"["devices-slot-0","devices-slot-1","devices-slot-2","devices-slot-3"]"#);
}

/// Each owned field, edited by hand, and each child, deleted.
#[tokio::test]
async fn what_is_edited_or_deleted_by_hand_is_repaired_within_five_seconds() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 2));
    bed.condition("devices", "Accepted", ("True", "Accepted")).await;
    let edits = [
        ("deployment/devices-worker", ".spec.replicas", r#"{"spec":{"replicas":7}}"#),
        (
            "deployment/devices-worker",
            ".spec.template.spec.terminationGracePeriodSeconds",
            r#"{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":1}}}}"#,
        ),
        ("configmap/devices-worker", ".data", r#"{"data":{"route.json":"{}"}}"#),
        (
            "role/devices-worker",
            ".rules",
            r#"{"rules":[{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}]}"#,
        ),
        ("rolebinding/devices-worker", ".subjects", r#"{"subjects":[]}"#),
        ("pdb/devices-worker", ".spec.maxUnavailable", r#"{"spec":{"maxUnavailable":2}}"#),
        (
            "serviceaccount/devices-worker",
            ".automountServiceAccountToken",
            r#"{"automountServiceAccountToken":true}"#,
        ),
        (
            "deployment/devices-worker",
            ".metadata.labels.routemq\\.io/route",
            r#"{"metadata":{"labels":{"routemq.io/route":"x"}}}"#,
        ),
    ];
    for (object, path, patch) in edits {
        let before = bed.field(object, path);
        bed.kubectl(&["patch", object, "--type=merge", "--patch", patch]).unwrap();
        let edited = Instant::now();
        let query = format!("jsonpath={{{path}}}");
        bed.until(
            &format!("{path} of {object} is repaired"),
            &["get", object, "--output", &query],
            |now| now == before,
        )
        .await;
        assert!(
            edited.elapsed() < Duration::from_secs(5),
            "{object} {path} took {:?}",
            edited.elapsed()
        );
    }
    for object in [
        "deployment/devices-worker",
        "configmap/devices-worker",
        "role/devices-worker",
        "rolebinding/devices-worker",
        "pdb/devices-worker",
        "serviceaccount/devices-worker",
        "lease/devices-slot-1",
    ] {
        bed.kubectl(&["delete", object]).unwrap();
        bed.until(
            &format!("{object} is back"),
            &["get", object, "--ignore-not-found", "--output", "name"],
            |name| !name.is_empty(),
        )
        .await;
    }
}

#[tokio::test]
async fn a_second_reconcile_changes_no_resource_version() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 2));
    bed.condition("devices", "Progressing", ("False", "Complete")).await;
    let kinds = "deployments,configmaps,serviceaccounts,roles,rolebindings,leases,pdb,mr";
    let versions = || {
        let query = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
        bed.kubectl(&[
            "get",
            kinds,
            "--selector",
            "kubernetes.io/metadata.name!=x",
            "--output",
            query,
        ])
        .unwrap()
    };
    let settled = settle(&versions).await;
    let audit = bed.audit().from_now();
    // An annotation of a foreign key wakes the operator and is none of its business. (One of the Deployment would make Kubernetes look at
    // it anew, which a status may tell.)
    bed.kubectl(&["annotate", "serviceaccount/devices-worker", "example.org/touched=1"]).unwrap();
    let touched = settle(&versions).await;
    let changed: Vec<_> = touched.lines().filter(|line| !settled.contains(line)).collect();
    assert_eq!(changed.len(), 1, "only what was annotated: {changed:?}");
    let asked = audit.requests_of(OPERATOR).into_iter();
    let asked = asked.filter(|request| request.namespace == bed.namespace);
    let asked: Vec<_> = asked.map(|request| (request.verb, request.resource)).collect();
    let look = ("get".to_owned(), "serviceaccounts".to_owned());
    assert_eq!(asked, [look], "it did reconcile, and read only what somebody had edited");
}

/// Two seconds without a change.
async fn settle(versions: &impl Fn() -> String) -> String {
    let mut last = versions();
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = versions();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

#[tokio::test]
async fn a_foreign_deployment_of_our_name_is_left_untouched() {
    let bed = Bed::new().await;
    bed.kubectl(&["create", "deployment", "devices-worker", "--image=somebody-elses:1"]).unwrap();
    let before = bed.field("deployment/devices-worker", ".spec");
    bed.apply(&route("devices", 1));
    let ready = bed.condition("devices", "Ready", ("False", "NameConflict")).await;
    assert!(ready.message.contains("devices-worker"), "{}", ready.message);
    assert_eq!(bed.field("deployment/devices-worker", ".spec"), before);
}

#[tokio::test]
async fn names_at_their_limits_get_valid_and_distinct_children() {
    let bed = Bed::new().await;
    let long = "x".repeat(200);
    let names = [
        format!("{}.{}", "a".repeat(126), "b".repeat(126)),
        format!("{long}a"),
        format!("{long}b"),
    ];
    for name in &names {
        bed.apply(&route(name, 1));
        bed.condition(name, "Accepted", ("True", "Accepted")).await;
    }
    bed.until(
        "three Deployments are there",
        &["get", "deployments", "--output", "name"],
        |found| found.lines().count() == 3,
    )
    .await;
}
