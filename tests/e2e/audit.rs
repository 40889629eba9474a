//! What the API server refused, by its own record.

use std::fs;

use routemq_tests::ControlPlane;

/// Requests for objects of a namespace that were refused for want of a right, to the workers' account in it or to the operator.
/// Nothing on a cluster whose record is not ours to read.
pub(crate) fn refused(plane: &ControlPlane, namespace: &str) -> Vec<String> {
    let log = fs::read_to_string(plane.logs().join("audit.jsonl")).unwrap_or_default();
    let ours = ["routemq:routemq-operator".to_owned(), format!("{namespace}:devices-worker")];
    let ours = ours.map(|account| format!("\"username\":\"system:serviceaccount:{account}\""));
    let about = format!("/namespaces/{namespace}/");
    let refused = |line: &&str| {
        line.contains("\"code\":403")
            && line.contains(&about)
            && ours.iter().any(|user| line.contains(user))
    };
    log.lines().filter(refused).map(str::to_owned).collect()
}
