//! Which operator leads, on a control plane of its own: every test has its own election and its own namespace.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this is test code: a step that fails is a test that fails"
)]

#[expect(dead_code, reason = "the operator suite uses the rest of it")]
#[path = "../operator/bed.rs"]
mod bed;

use std::time::Duration;

use bed::{Bed, Operator, route};
use routemq_tests::{Signal, ensure, eventually, get};

/// Longer than a Lease lasts.
const TAKEOVER: Duration = Duration::from_secs(40);

fn operator(bed: &Bed, identity: &str) -> Operator {
    Operator::start_in(bed, identity)
}

async fn leads(bed: &Bed, wanted: &str) {
    eventually(&format!("{wanted} leads"), TAKEOVER, async || {
        let holder = bed.kubectl(&[
            "get",
            "lease/routemq-operator",
            "--output",
            "jsonpath={.spec.holderIdentity}",
        ])?;
        // Each process adds a part of its own to its name.
        let leads = holder.split('_').next() == Some(wanted);
        ensure(leads, || holder.clone())
    })
    .await;
}

#[tokio::test]
async fn a_killed_leader_is_followed_and_the_next_serves_its_routes() {
    let bed = Bed::without_operator().await;
    let mut first = operator(&bed, "first");
    leads(&bed, "first").await;
    let _second = operator(&bed, "second");
    bed.apply(&route("devices", 1));
    bed.condition("devices", "Accepted", ("True", "Accepted")).await;
    first.process.kill();
    leads(&bed, "second").await;
    bed.apply(&route("sensors", 1));
    bed.condition("sensors", "Accepted", ("True", "Accepted")).await;
}

#[tokio::test]
async fn a_paused_leader_finds_itself_replaced_and_follows() {
    let bed = Bed::without_operator().await;
    let mut first = operator(&bed, "first");
    leads(&bed, "first").await;
    first.process.signal(Signal::STOP);
    let _second = operator(&bed, "second");
    leads(&bed, "second").await;
    bed.apply(&route("devices", 1));
    bed.condition("devices", "Accepted", ("True", "Accepted")).await;
    first.process.signal(Signal::CONT);
    eventually("the first knows that it does not lead", TAKEOVER, async || {
        let gauge = first.metric("routemq_operator_leader ").await?;
        ensure(gauge < 0.5, || gauge.to_string())
    })
    .await;
    leads(&bed, "second").await;
    let managers = bed.field("lease/routemq-operator", ".spec.leaseTransitions");
    assert_eq!(managers, "2", "first, then second, and never back");
}

#[tokio::test]
async fn a_container_that_restarts_does_not_take_its_predecessors_lease_for_its_own() {
    let bed = Bed::without_operator().await;
    let mut first = operator(&bed, "same");
    leads(&bed, "same").await;
    let holder = bed.field("lease/routemq-operator", ".spec.holderIdentity");
    first.process.kill();
    let _second = operator(&bed, "same");
    eventually("another process of that name leads", TAKEOVER, async || {
        let now = bed.field("lease/routemq-operator", ".spec.holderIdentity");
        ensure(now != holder && now.starts_with("same_"), || now.clone())
    })
    .await;
    let transitions = bed.field("lease/routemq-operator", ".spec.leaseTransitions");
    assert_eq!(transitions, "2");
}

#[tokio::test]
async fn a_leader_that_stops_gives_the_lease_up_at_once() {
    let bed = Bed::without_operator().await;
    let mut first = operator(&bed, "first");
    leads(&bed, "first").await;
    first.process.signal(Signal::TERM);
    assert!(first.process.exit(Duration::from_secs(10)).await.success());
    leads(&bed, "").await;
}

/// An upgrade, as far as the control plane sees it: no pod template changes, so no pod restarts.
#[tokio::test]
async fn an_operator_that_follows_another_touches_none_of_fifty_routes() {
    const ROUTES: usize = 50;
    let bed = Bed::without_operator().await;
    let mut first = operator(&bed, "first");
    let routes: Vec<_> = (0..ROUTES).map(|n| route(&format!("devices-{n}"), 2)).collect();
    bed.apply(&routes.join("---\n"));
    bed.until("every route has its slots", &["get", "leases", "--output", "name"], |names| {
        names.lines().filter(|name| name.contains("-slot-")).count() == 2 * ROUTES
    })
    .await;
    for number in 0..ROUTES {
        let name = format!("devices-{number}");
        bed.condition(&name, "Progressing", ("False", "Complete")).await;
    }
    first.process.signal(Signal::TERM);
    assert!(first.process.exit(TAKEOVER).await.success());
    let before = versions(&bed);
    let second = operator(&bed, "second");
    leads(&bed, "second").await;
    eventually("the second has looked at every route", TAKEOVER, async || {
        let metrics = get(([127, 0, 0, 1], second.port).into(), "/metrics").await?.body;
        let line =
            metrics.lines().find(|line| line.starts_with("routemq_operator_reconciles_total"));
        let count = line.and_then(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok());
        ensure(count >= Some(ROUTES), || format!("{line:?}"))
    })
    .await;
    assert_eq!(versions(&bed), before);
}

/// Of everything that a route has, but for its Leases, one of which is the election's.
fn versions(bed: &Bed) -> String {
    let kinds = "deployments,replicasets,pods,configmaps,serviceaccounts,roles,pdb,mqttroutes";
    let query = "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    bed.kubectl(&["get", kinds, "--output", query]).unwrap()
}
