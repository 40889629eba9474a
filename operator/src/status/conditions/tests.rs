use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use routemq_crds::{
    report::{Degraded, FilterReport},
    v1alpha1::MqttRouteStatus,
};
use serde_json::json;

use super::*;
use crate::{
    build::tests::route,
    condition::TYPES,
    status::{Refused, refused, running, unreadable},
    validate::Validated,
};

/// A Deployment with 3 workers wanted, its generation 2, and this status.
fn deployment(status: &serde_json::Value) -> Deployment {
    serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 2},
        "spec": {"replicas": 3, "selector": {}, "template": {}}, "status": status,
    }))
    .unwrap()
}

/// The report of a worker that has all that this route wants.
fn subscribed(route: &Validated) -> WorkerReport {
    let filters =
        route.table.filters.iter().map(|it| (it.filter.clone(), FilterReport { code: 1 }));
    WorkerReport {
        generation: route.table.generation,
        revision: route.table.revision.clone(),
        connected: true,
        filters: filters.collect(),
        ..WorkerReport::default()
    }
}

fn now() -> Time {
    Time(Timestamp::UNIX_EPOCH)
}

fn said(status: &MqttRouteStatus, kind: &str) -> (String, String) {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    (found.status.clone(), found.reason.clone())
}

fn is(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[test]
fn ready_waits_for_the_rollout_of_the_newest_template() {
    let route = route();
    let reports = vec![subscribed(&route); 3];
    let rows = [
        (
            "settled",
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3}),
            is("True", "Running"),
        ),
        (
            "a new template that its controller has not seen",
            json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3}),
            is("False", "RollingOut"),
        ),
        (
            "one pod replaced, all ready",
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 3}),
            is("False", "RollingOut"),
        ),
        (
            "an old pod too many",
            json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3, "readyReplicas": 4}),
            is("False", "RollingOut"),
        ),
        (
            "one not ready",
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 2}),
            is("False", "WorkersStarting"),
        ),
        ("nothing known", json!({}), is("False", "WorkersStarting")),
    ];
    for (name, state, expected) in rows {
        let deployment = deployment(&state);
        let observed = Observed { table: &route.table, deployment: &deployment, reports: &reports };
        assert_eq!(said(&running(&route.object, &observed, &now()), "Ready"), expected, "{name}");
    }
}

#[test]
fn a_failed_request_leaves_what_was_observed_as_it_was() {
    let route = route();
    let reports = vec![subscribed(&route); 3];
    let deployment = deployment(
        &json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3}),
    );
    let observed = Observed { table: &route.table, deployment: &deployment, reports: &reports };
    let before = running(&route.object, &observed, &now());
    let object = MqttRoute { status: Some(before.clone()), ..route.object };
    let forbidden = Refused { accepted: true, reason: "Forbidden", message: "no".to_owned() };
    let after = refused(&object, &forbidden, None, &now());
    for kind in ["Accepted", "ReferencesResolved", "Subscribed"] {
        assert_eq!(said(&after, kind), said(&before, kind), "{kind}");
    }
    assert_eq!(said(&after, "Degraded"), is("True", "Forbidden"));
    assert_eq!((after.replicas, after.ready_replicas), (3, 3));
}

#[test]
fn a_refused_spec_tells_what_still_runs() {
    let route = route();
    let mut missing = subscribed(&route);
    missing.missing = vec!["Secret keys".to_owned()];
    let deployment = deployment(
        &json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 1}),
    );
    let observed = Observed { table: &route.table, deployment: &deployment, reports: &[missing] };
    let invalid = Refused { accepted: false, reason: "Invalid", message: "no".to_owned() };
    let status = refused(&route.object, &invalid, Some(&observed), &now());
    assert_eq!((status.replicas, status.ready_replicas), (2, 1));
    let rows = [
        ("Accepted", is("False", "Invalid")),
        ("ReferencesResolved", is("False", "Missing")),
        ("Progressing", is("True", "RollingOut")),
        ("Degraded", is("True", "Invalid")),
        ("Ready", is("False", "Invalid")),
    ];
    for (kind, expected) in rows {
        assert_eq!(said(&status, kind), expected);
    }
}

#[test]
fn an_unreadable_object_has_every_condition() {
    let status = unreadable(&route().object.metadata, &MqttRouteStatus::default(), "no", &now());
    let kinds: Vec<_> =
        status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(kinds, TYPES);
    assert_eq!(said(&status, "Accepted"), is("False", "Unreadable"));
    assert_eq!(said(&status, "Subscribed"), is("Unknown", "NotReconciled"));
}

#[test]
fn qos_2_on_a_shared_subscription_is_accepted_with_a_note() {
    let mut object = route().object;
    assert_eq!(accepted(&object).message, "the spec makes sense");
    object.spec.routes[0].qos = Some(2);
    let note = accepted(&object);
    assert_eq!((note.status, note.reason.as_str()), ("True", "Accepted"));
    assert!(
        note.message.contains("(status)") && note.message.contains("QoS 1"),
        "{}",
        note.message
    );
    object.spec.shared = false;
    assert_eq!(accepted(&object).message, "the spec makes sense");
}

#[test]
fn while_paused_messages_are_kept_by_durable_sessions_only() {
    let mut table = route().table;
    table.paused = true;
    assert!(kept(&table).contains("3600 seconds"));
    table.delivery.session = SessionKind::Ephemeral;
    assert!(kept(&table).contains("nobody keeps"), "{}", kept(&table));
}

#[test]
fn what_keeps_pods_from_starting_is_told_in_the_clusters_words() {
    let rows = [
        (
            "pods \"d-x\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2",
            "QuotaExceeded",
            "exceeded quota: q, requested: pods=1, limited: pods=2",
        ),
        (
            "pods \"d-x\" is forbidden: violates PodSecurity \"restricted:latest\": privileged",
            "PodSecurityDenied",
            "violates PodSecurity",
        ),
        (
            "pods \"d-x\" is forbidden: maximum memory usage per Container is 64Mi, but limit is 256Mi",
            "LimitRangeViolated",
            "64Mi",
        ),
        ("pods \"d-x\" is forbidden: something", "PodsRefused", "something"),
    ];
    for (text, reason, words) in rows {
        let failing = deployment(
            &json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": text}]}),
        );
        let (told, message) = replica_failure(&failing).unwrap();
        assert_eq!(told, reason);
        assert!(message.contains(words) && !message.contains("d-x"), "{message}");
    }
}

#[test]
fn what_a_worker_reports_as_degraded_is_told() {
    let route = route();
    let mut report = subscribed(&route);
    report.degraded = Some(Degraded { reason: "DatabaseAway".to_owned(), message: "m".to_owned() });
    let deployment = deployment(&json!({}));
    let observed = Observed { table: &route.table, deployment: &deployment, reports: &[report] };
    assert_eq!(degraded(&observed).reason, "DatabaseAway");
}
