//! A control plane that is broken on purpose, one test after another: what becomes of the operator, and how soon all is well again.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this is test code: a step that fails is a test that fails"
)]

mod away;
#[expect(dead_code, reason = "the operator suite uses the rest of it")]
#[path = "../operator/bed.rs"]
mod bed;
mod idle;
mod leaders;
mod refused;
mod unreadable;

use std::time::Duration;

use bed::{Bed, Operator};
use routemq_tests::{ensure, eventually};
use tokio::sync::{Mutex, MutexGuard};

/// One at a time: each breaks what the others stand on.
static TURN: Mutex<()> = Mutex::const_new(());

/// How soon everything is as wanted once the API server is back (faults: "convergence <= 30 s after").
const CONVERGED: Duration = Duration::from_secs(30);
/// How soon an operator leads: an earlier one's Lease may have to run out.
const LEADS: Duration = Duration::from_secs(40);

async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// A bed with an operator of the chart's rights that leads.
async fn operated() -> (Bed, Operator) {
    let bed = Bed::without_operator().await;
    let operator = Operator::start("outages");
    gauge(&operator, 1.0, LEADS).await;
    (bed, operator)
}

/// Waits until it says that it leads (1), or not (0).
async fn gauge(operator: &Operator, wanted: f64, patience: Duration) {
    eventually(&format!("the leader gauge is {wanted}"), patience, async || {
        let now = operator.metric("routemq_operator_leader ").await?;
        ensure((now - wanted).abs() < 0.5, || now.to_string())
    })
    .await;
}

/// Waits until the API server answers.
async fn answers(bed: &Bed) {
    eventually("the API server answers", Duration::from_secs(90), async || {
        bed.plane.kubectl(&["get", "--raw", "/readyz", "--request-timeout=5s"])
    })
    .await;
}

/// Waits until Kubernetes has made the pods: after an outage its own controllers may stand still for more than a minute.
async fn rolled_out(bed: &Bed, name: &str) {
    let patience = Duration::from_mins(3);
    bed.condition_within(patience, name, "Progressing", ("False", "Complete")).await;
}

/// Waits until the operator has done its part of what the route `name` wants now; the cluster's own controllers take their time.
async fn carried_out(bed: &Bed, name: &str, workers: u32) {
    bed.condition_within(CONVERGED, name, "Accepted", ("True", "Accepted")).await;
    eventually(&format!("{workers} workers of {name} are wanted"), CONVERGED, async || {
        let seen = bed.field(&format!("deployment/{name}-worker"), ".spec.replicas");
        ensure(seen == workers.to_string(), || seen.clone())
    })
    .await;
}
