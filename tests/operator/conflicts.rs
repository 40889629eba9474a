//! Objects of our children's names: somebody else's are left alone, our own are taken back.

use std::time::{Duration, Instant};

use crate::bed::{Bed, route};

/// Somebody else's objects, one of each kind that the operator makes, with the name that it would take.
const FOREIGN: [(&str, &str); 7] = [
    (
        "serviceaccount/devices-worker",
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: devices-worker}",
    ),
    (
        "role/devices-worker",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: devices-worker}\nrules: []",
    ),
    (
        "rolebinding/devices-worker",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: devices-worker}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: other}",
    ),
    (
        "configmap/devices-worker",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: devices-worker}\ndata: {their: own}",
    ),
    (
        "pdb/devices-worker",
        "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: devices-worker}\nspec: {maxUnavailable: 1, selector: {matchLabels: {a: b}}}",
    ),
    (
        "deployment/devices-worker",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: devices-worker}\nspec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}",
    ),
    (
        "lease/devices-slot-0",
        "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: devices-slot-0}\nspec: {holderIdentity: them}",
    ),
];

#[tokio::test]
async fn a_foreign_object_of_each_childs_name_is_a_conflict_until_it_goes() {
    for (object, yaml) in FOREIGN {
        let bed = Bed::new().await;
        bed.apply(yaml);
        let before =
            bed.field(object, ".metadata.labels}{.metadata.ownerReferences}{.spec}{.data}{.rules");
        bed.apply(&route("devices", 1));
        let ready = bed.condition("devices", "Ready", ("False", "NameConflict")).await;
        let name = object.split('/').nth(1).unwrap();
        assert!(ready.message.contains(name), "{object}: {}", ready.message);
        let after =
            bed.field(object, ".metadata.labels}{.metadata.ownerReferences}{.spec}{.data}{.rules");
        assert_eq!(after, before, "{object} is untouched");
        bed.kubectl(&["delete", object]).unwrap();
        bed.condition("devices", "Progressing", ("False", "Complete")).await;
    }
}

#[tokio::test]
async fn no_right_is_granted_on_a_foreign_lease() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 1));
    bed.condition("devices", "Progressing", ("False", "Complete")).await;
    bed.apply(&FOREIGN[6].1.replace("slot-0", "slot-1"));
    bed.kubectl(&["scale", "mqttroute/devices", "--replicas=2"]).unwrap();
    bed.condition("devices", "Ready", ("False", "NameConflict")).await;
    let granted = bed.field("role/devices-worker", ".rules[0].resourceNames");
    assert_eq!(granted, r#"["devices-slot-0"]"#);
    assert_eq!(bed.field("lease/devices-slot-1", ".spec.holderIdentity"), "them");
}

#[tokio::test]
async fn a_child_that_lost_its_owner_or_its_labels_is_taken_back_within_five_seconds() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 1));
    bed.condition("devices", "Progressing", ("False", "Complete")).await;
    for (object, _) in FOREIGN {
        for (what, patch, path) in [
            (
                "owner",
                r#"{"metadata":{"ownerReferences":null}}"#,
                ".metadata.ownerReferences[0].uid",
            ),
            (
                "labels",
                r#"{"metadata":{"labels":null}}"#,
                ".metadata.labels.app\\.kubernetes\\.io/managed-by",
            ),
        ] {
            let before = bed.field(object, path);
            assert!(!before.is_empty(), "{object} has its {what}");
            bed.kubectl(&["patch", object, "--type=merge", "--patch", patch]).unwrap();
            let edited = Instant::now();
            let query = format!("jsonpath={{{path}}}");
            let back = |now: &str| now == before;
            bed.until(
                &format!("{object} has its {what} again"),
                &["get", object, "--output", &query],
                back,
            )
            .await;
            assert!(
                edited.elapsed() < Duration::from_secs(5),
                "{object} {what}: {:?}",
                edited.elapsed()
            );
        }
    }
}

#[tokio::test]
async fn a_sidecar_that_somebody_added_is_left_and_not_fought_over() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 1));
    bed.condition("devices", "Progressing", ("False", "Complete")).await;
    let patch =
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"side:1"}]}}}}"#;
    bed.kubectl(&["patch", "deployment/devices-worker", "--type=strategic", "--patch", patch])
        .unwrap();
    bed.condition("devices", "Progressing", ("False", "Complete")).await;
    let audit = bed.audit().from_now();
    bed.kubectl(&["annotate", "deployment/devices-worker", "example.org/touched=1"]).unwrap();
    let mine = |audit: &routemq_tests::Audit| {
        let all = audit.requests().into_iter();
        all.filter(|request| {
            request.namespace == bed.namespace && request.user == crate::bed::OPERATOR
        })
        .collect::<Vec<_>>()
    };
    routemq_tests::eventually("the operator has looked", crate::bed::SOON, async || {
        let seen = mine(&audit);
        let looked =
            seen.iter().any(|request| request.verb == "get" && request.resource == "deployments");
        routemq_tests::ensure(looked, || format!("{seen:?}"))
    })
    .await;
    let writes: Vec<_> = mine(&audit)
        .into_iter()
        .filter(|request| request.resource == "deployments" && request.is_write())
        .collect();
    assert_eq!(writes, [], "the sidecar is no drift");
    assert!(
        bed.field("deployment/devices-worker", ".spec.template.spec.containers[*].name")
            .contains("side")
    );
}
