//! What a worker may do in the cluster, and what a namespace may demand of it.

use std::collections::BTreeSet;

use crate::bed::Bed;

/// What `kubectl auth can-i --list` says of a service account, a line each.
fn rights(bed: &Bed, account: &str) -> BTreeSet<String> {
    let user = format!("--as=system:serviceaccount:{}:{account}", bed.namespace);
    let list = bed.kubectl(&["auth", "can-i", "--list", "--no-headers", &user]).unwrap();
    list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn a_worker_may_read_and_update_its_slots_and_nothing_else() {
    let bed = Bed::new().await;
    bed.apply_and_wait(2);
    let everybody = rights(&bed, "default");
    let own: Vec<_> = rights(&bed, "devices-worker").difference(&everybody).cloned().collect();
    let slot = |index| format!("leases.coordination.k8s.io [] [devices-slot-{index}] [get update]");
    assert_eq!(own, [0, 1].map(slot));
    let Some(requests) = bed.requests_of_workers() else { return };
    // The question above was asked in the account's name, too.
    let used: BTreeSet<_> = requests
        .iter()
        .filter(|request| request.resource == "leases")
        .map(|request| format!("leases {} {}", request.name, request.verb))
        .collect();
    let rights = [0, 1]
        .map(|index| ["get", "update"].map(|verb| format!("leases devices-slot-{index} {verb}")));
    assert_eq!(used, rights.concat().into_iter().collect(), "what is granted is what is used");
}

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn workers_run_where_pod_security_refuses_a_plain_pod() {
    let bed = Bed::new().await;
    let refused =
        bed.kubectl(&["run", "plain", "--image", &bed.cluster.images.worker]).unwrap_err();
    assert!(refused.contains("violates PodSecurity \"restricted"), "{refused}");
    bed.apply_and_wait(1);
    let user = bed.field("pods", ".items[0].spec.securityContext.runAsUser");
    assert_eq!(user, "65532");
}
