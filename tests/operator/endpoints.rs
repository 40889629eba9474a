//! What the operator serves: metrics and probes.

use routemq_tests::{Answer, ensure, eventually, get};

use crate::bed::{Bed, SOON, route, shared_operator};

async fn ask(path: &str) -> Answer {
    let address = ([127, 0, 0, 1], shared_operator().port).into();
    eventually(&format!("{path} answers"), SOON, async || get(address, path).await).await
}

/// The sum of all series of a name.
fn value(metrics: &str, series: &str) -> f64 {
    let of_series = metrics.lines().filter(|line| line.starts_with(series));
    of_series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

#[tokio::test]
async fn the_probes_answer_and_unknown_paths_are_not_found() {
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/", 404)] {
        assert_eq!(ask(path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn the_metrics_count_reconciles_writes_and_leadership() {
    let bed = Bed::new().await;
    let deployments = "routemq_operator_writes_total{kind=\"Deployment\"}";
    let before = value(&ask("/metrics").await.body, deployments);
    bed.apply(&route("devices", 1));
    bed.condition("devices", "Accepted", ("True", "Accepted")).await;
    eventually("the write is counted", SOON, async || {
        let metrics = ask("/metrics").await.body;
        ensure(value(&metrics, deployments) > before, || metrics.clone())
    })
    .await;
    let metrics = ask("/metrics").await.body;
    for (series, least) in [
        ("routemq_operator_reconciles_total{result=\"ok\"}", 1.0),
        ("routemq_operator_reconcile_duration_seconds_count", 1.0),
        ("routemq_operator_writes_total{kind=\"MqttRouteStatus\"}", 1.0),
        ("routemq_operator_leader", 1.0),
    ] {
        assert!(value(&metrics, series) >= least, "{series} in\n{metrics}");
    }
    assert!(!metrics.contains(&bed.namespace), "no series for each object:\n{metrics}");
}
