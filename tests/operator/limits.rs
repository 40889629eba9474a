//! Specs as large as they may be.

use std::fmt::Write as _;

use crate::bed::{Bed, route};

#[tokio::test]
async fn labels_at_their_limits_reach_the_pods() {
    let bed = Bed::new().await;
    let (key, value) =
        (format!("{}.example.com/{}", "a".repeat(60), "k".repeat(63)), "v".repeat(63));
    bed.apply(&format!(
        "{}  worker: {{podLabels: {{{key}: {value}, empty: \"\"}}}}\n",
        route("devices", 1)
    ));
    bed.condition("devices", "Progressing", ("False", "Complete")).await;
    let labels = bed.field("pods", ".items[0].metadata.labels");
    assert!(labels.contains(&value) && labels.contains("\"empty\":\"\""), "{labels}");
    let selector = bed.field("deployment/devices-worker", ".spec.selector.matchLabels");
    assert!(!selector.contains(&value), "{selector}");
}

#[tokio::test]
async fn the_most_routes_under_the_longest_name_are_accepted_and_mounted() {
    let bed = Bed::new().await;
    let name = format!("{}.{}", "a".repeat(126), "b".repeat(126));
    let mut yaml = format!(
        "apiVersion: routemq.io/v1alpha1\nkind: MqttRoute\nmetadata: {{name: {name}}}\nspec:\n  routes:\n"
    );
    for index in 0..256 {
        let topic = format!("{index}/{}", "t".repeat(500));
        writeln!(yaml, "  - {{name: r{index}, topic: {topic}, handlers: [{{log: {{}}}}]}}")
            .unwrap();
    }
    // kubectl's own annotation would not fit.
    bed.plane
        .kubectl_with(
            &["--namespace", &bed.namespace, "apply", "--server-side", "--filename", "-"],
            &yaml,
        )
        .unwrap();
    bed.condition(&name, "Progressing", ("False", "Complete")).await;
    let found = bed.routes().get(&name).await.unwrap().status.unwrap();
    assert_eq!((found.route_count, found.routes.len()), (256, 256));
    let table = bed
        .field("configmaps", ".items[?(@.metadata.labels.routemq\\.io/route)].data.route\\.json");
    assert!(table.contains("\"r255\""));
}
