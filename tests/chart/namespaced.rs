//! The operator with the rights that the namespaced mode gives: it serves those namespaces and needs nothing else.

use crate::bed::{ACCOUNT, Bed, Operator, route};

fn accepted(bed: &Bed) -> String {
    bed.field("mqttroute/devices", ".status.conditions[?(@.type==\"Accepted\")].status")
}

#[tokio::test]
async fn an_operator_of_two_namespaces_serves_them_and_no_third() {
    let (home, other, foreign) = (
        Bed::without_operator().await,
        Bed::without_operator().await,
        Bed::without_operator().await,
    );
    let watched = [home.namespace.as_str(), other.namespace.as_str()];
    let _operator = Operator::of_namespaces(&home, "namespaced", &watched);
    foreign.apply(&route("devices", 1));
    for bed in [&home, &other] {
        bed.apply(&route("devices", 2));
        bed.condition("devices", "Accepted", ("True", "Accepted")).await;
        bed.condition("devices", "Progressing", ("False", "Complete")).await;
        bed.kubectl(&["delete", "deployment/devices-worker"]).unwrap();
        bed.until(
            "the Deployment is repaired",
            &["get", "deployments", "--output", "name"],
            |names| names.contains("devices-worker"),
        )
        .await;
    }
    assert_eq!(accepted(&foreign), "", "nobody serves it");
    assert_eq!(foreign.kubectl(&["get", "deployments", "--output", "name"]).unwrap(), "");
    home.plane.assert_refused_nothing(&home.namespace, ACCOUNT);
    let account = format!("--as=system:serviceaccount:{}:{ACCOUNT}", home.namespace);
    let may = |bed: &Bed| bed.kubectl(&["auth", "can-i", "create", "deployments", &account]);
    assert!(may(&home).is_ok() && may(&other).is_ok() && may(&foreign).is_err());
}
