//! Two operators, and who writes.

use std::time::{Duration, Instant};

use routemq_tests::{Signal, ensure, eventually};

use crate::{
    LEADS,
    bed::{Bed, Operator, route},
    gauge, rolled_out, turn,
};

/// How long the first leader is suspended.
const SUSPENDED: Duration = Duration::from_secs(40);

#[tokio::test]
async fn a_leader_suspended_for_forty_seconds_under_load_never_writes_beside_the_next() {
    let _turn = turn().await;
    let bed = Bed::without_operator().await;
    let mut first = Operator::start_as(&bed, "first");
    gauge(&first, 1.0, LEADS).await;
    let second = Operator::start_as(&bed, "second");
    bed.apply(&route("devices", 1));
    rolled_out(&bed, "devices").await;
    let stopped = Instant::now();
    first.process.signal(Signal::STOP);
    load_for(&bed, SUSPENDED.saturating_sub(stopped.elapsed())).await;
    first.process.signal(Signal::CONT);
    gauge(&first, 0.0, Duration::from_secs(10)).await;
    gauge(&second, 1.0, Duration::from_secs(10)).await;
    load_for(&bed, Duration::from_secs(10)).await;
    eventually("the last change is carried out", crate::CONVERGED, async || {
        let (wanted, seen) = (
            bed.field("mr/devices", ".spec.workerCount"),
            bed.field("deployment/devices-worker", ".spec.replicas"),
        );
        ensure(wanted == seen, || format!("{seen}, not {wanted}"))
    })
    .await;
    let (one, other) = (writes(&bed, "first"), writes(&bed, "second"));
    assert!(!one.is_empty() && !other.is_empty(), "both led");
    assert!(one.iter().max() < other.iter().min(), "{one:?}\n{other:?}");
}

/// A change a second.
async fn load_for(bed: &Bed, time: Duration) {
    let began = Instant::now();
    let mut count = 1;
    while began.elapsed() < time {
        count = count % 4 + 1;
        bed.kubectl(&["scale", "mqttroute/devices", &format!("--replicas={count}")]).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// When the account's writes arrived, but for those of the election.
fn writes(bed: &Bed, account: &str) -> Vec<String> {
    let user = format!("system:serviceaccount:{}:{account}", bed.namespace);
    let all = bed.audit().writes_of(&user).into_iter();
    all.filter(|request| {
        request.name != "routemq-operator" && request.resource != "leases"
            || request.name.contains("slot")
    })
    .map(|request| request.received)
    .collect()
}
