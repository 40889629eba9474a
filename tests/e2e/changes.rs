//! What is changed while workers run: the table, a Secret. No pod restarts for it.

use crate::{
    bed::{Bed, SOON},
    load::Load,
};

/// A second route beside the first, and a first one whose filter is wider.
const GROWN: &str = r#"[
  {"op": "replace", "path": "/spec/routes/0/middleware", "value": [{"log": {"level": "debug"}}]},
  {"op": "add", "path": "/spec/routes/-", "value":
    {"name": "more", "topic": "NAMESPACE/{device}/more", "handlers": [{"log": {}}]}}]"#;
const SHRUNK: &str = r#"[{"op": "remove", "path": "/spec/routes/1"}]"#;

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn a_table_that_changes_under_load_is_taken_up_in_place_and_nothing_is_lost() {
    let bed = Bed::new().await;
    bed.apply_and_wait(2);
    let before = bed.pods();
    let load = Load::start(&bed, 200);
    for (change, filters) in [(GROWN, 2), (SHRUNK, 1)] {
        let change = change.replace("NAMESPACE", &bed.namespace);
        bed.kubectl(&["patch", "mqttroute/devices", "--type=json", "--patch", &change]).unwrap();
        bed.wait_until_ready();
        let granted = bed.field("mqttroute/devices", ".status.routes[*].subscription");
        assert_eq!(granted.split_whitespace().count(), filters, "{granted}");
    }
    let sent = load.finish();
    assert_eq!(bed.all_stored(sent, SOON).await, 0);
    assert_eq!(bed.pods(), before, "the same pods, none restarted");
}

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn a_secret_that_appears_later_is_waited_for_by_name_and_found() {
    let bed = Bed::new().await;
    bed.apply(&bed.route(1).replace("telemetry-db", "later-db"));
    let reason = "jsonpath={.status.conditions[?(@.type==\"ReferencesResolved\")]}";
    let told = ["get", "mqttroute/devices", "--output", reason];
    bed.until("the missing Secret is named", &told, |it| {
        it.contains("\"Missing\"") && it.contains("later-db")
    })
    .await;
    let before = bed.pods();
    let url = "--from-literal=url=mysql://routemq:change-me@mariadb.fleet.svc/fleet";
    bed.kubectl(&["create", "secret", "generic", "later-db", url]).unwrap();
    bed.wait_until_ready();
    assert_eq!(bed.pods(), before, "it waited, and was not restarted for it");
}
