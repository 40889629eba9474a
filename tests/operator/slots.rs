//! Which slots there are, and what becomes of them: the tests write what workers would.

use std::time::{Duration, Instant};

use routemq_tests::{ensure, eventually};
use serde_json::{Value, json};

use crate::bed::{Bed, SOON, route};

const SELECTOR: &str = "routemq.io/route=devices";

async fn pods(bed: &Bed, wanted: usize) -> Vec<String> {
    let query = ["get", "pods", "--selector", SELECTOR, "--output", "name"];
    let all = bed
        .until(&format!("{wanted} pods are there"), &query, |names| names.lines().count() == wanted)
        .await;
    all.lines().map(|name| name.trim_start_matches("pod/").to_owned()).collect()
}

fn write(bed: &Bed, slot: u32, change: &Value) {
    let lease = format!("lease/devices-slot-{slot}");
    bed.kubectl(&["patch", &lease, "--type=merge", "--patch", &change.to_string()]).unwrap();
}

/// As a worker does that claims it.
fn hold(bed: &Bed, slot: u32, pod: &str) {
    let report = json!({"generation": 1, "connected": true}).to_string();
    let change = json!({
        "spec": {"holderIdentity": pod, "acquireTime": "2026-01-01T00:00:00.000000Z"},
        "metadata": {"annotations": {"routemq.io/report": report}},
    });
    write(bed, slot, &change);
}

/// As an adopter does when nothing is left of the session.
fn drained(bed: &Bed, slot: u32) {
    let report = json!({"drained": true}).to_string();
    let change = json!({
        "spec": {"holderIdentity": null},
        "metadata": {"annotations": {"routemq.io/report": report}},
    });
    write(bed, slot, &change);
}

/// Slot, holder, whether it retires.
type Seen = (u32, String, bool);

fn slots(bed: &Bed) -> Result<Vec<Seen>, String> {
    let leases = bed.kubectl(&["get", "leases", "--selector", SELECTOR, "--output", "json"])?;
    let leases: Value = serde_json::from_str(&leases).map_err(|error| error.to_string())?;
    let items = leases["items"].as_array().cloned().unwrap_or_default();
    let mut seen: Vec<Seen> = items.iter().map(seen).collect();
    seen.sort();
    Ok(seen)
}

fn seen(lease: &Value) -> Seen {
    let name = lease["metadata"]["name"].as_str().unwrap_or_default();
    let index = name.trim_start_matches("devices-slot-").parse().unwrap();
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
    let retires = lease["metadata"]["annotations"]["routemq.io/retire"] == "true";
    (index, holder, retires)
}

async fn until(bed: &Bed, what: &str, wanted: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
    eventually(what, SOON, async || {
        let seen = slots(bed)?;
        ensure(wanted(&seen), || format!("{seen:?}"))?;
        Ok::<_, String>(seen)
    })
    .await
}

/// Three workers of which two go: their slots retire.
async fn scaled_down(bed: &Bed) -> (u32, Vec<u32>) {
    bed.apply(&route("devices", 3));
    let all = pods(bed, 3).await;
    until(bed, "three slots are there", |seen| seen.len() == 3).await;
    for (slot, pod) in (0..).zip(&all) {
        hold(bed, slot, pod);
    }
    bed.kubectl(&["scale", "mqttroute/devices", "--replicas=1"]).unwrap();
    let left = pods(bed, 1).await.remove(0);
    let seen = until(bed, "two slots retire", |seen| {
        seen.iter().filter(|(_, _, retires)| *retires).count() == 2
    })
    .await;
    let staying: Vec<u32> =
        seen.iter().filter(|(_, _, retires)| !retires).map(|(slot, ..)| *slot).collect();
    let holder = |slot: u32| seen.iter().find(|it| it.0 == slot).unwrap().1.clone();
    assert_eq!(holder(staying[0]), left, "the slot of a pod that lives is left alone: {seen:?}");
    let retiring: Vec<u32> = (0..3).filter(|slot| !staying.contains(slot)).collect();
    (staying[0], retiring)
}

#[tokio::test]
async fn the_slots_of_pods_that_are_gone_are_cleared_and_retire_and_go_when_they_are_drained() {
    let bed = Bed::new().await;
    let (staying, retiring) = scaled_down(&bed).await;
    until(&bed, "nobody holds them", |seen| {
        seen.iter().all(|(_, holder, retires)| holder.is_empty() == *retires)
    })
    .await;
    drained(&bed, retiring[0]);
    until(&bed, "the drained one is gone", |seen| {
        seen.len() == 2 && seen.iter().all(|it| [staying, retiring[1]].contains(&it.0))
    })
    .await;
    drained(&bed, retiring[1]);
    until(&bed, "the other one is gone", |seen| seen.len() == 1).await;
}

#[tokio::test]
async fn more_workers_during_a_drain_get_a_fresh_number_and_never_that_of_a_slot_that_retires() {
    let bed = Bed::new().await;
    let (staying, retiring) = scaled_down(&bed).await;
    bed.kubectl(&["scale", "mqttroute/devices", "--replicas=2"]).unwrap();
    let seen = until(&bed, "there is one more", |seen| seen.len() == 4).await;
    assert_eq!(seen[3], (3, String::new(), false));
    drained(&bed, retiring[0]);
    drained(&bed, retiring[1]);
    let seen = until(&bed, "two are left", |seen| seen.len() == 2).await;
    assert_eq!([seen[0].0, seen[1].0], [staying, 3]);
    bed.kubectl(&["scale", "mqttroute/devices", "--replicas=3"]).unwrap();
    let seen = until(&bed, "the lowest free number is used again", |seen| seen.len() == 3).await;
    assert!(seen.iter().any(|it| it.0 == retiring[0]), "{seen:?}");
}

#[tokio::test]
async fn no_worker_and_a_pause_retire_nothing() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 2));
    let all = pods(&bed, 2).await;
    for (slot, pod) in (0..).zip(&all) {
        hold(&bed, slot, pod);
    }
    bed.kubectl(&["scale", "mqttroute/devices", "--replicas=0"]).unwrap();
    pods(&bed, 0).await;
    let cleared = |seen: &[Seen]| seen.iter().all(|(_, holder, _)| holder.is_empty());
    let seen = until(&bed, "nobody holds them", cleared).await;
    assert!(seen.len() == 2 && seen.iter().all(|it| !it.2), "{seen:?}");
    let pause = r#"{"spec":{"paused":true,"workerCount":2}}"#;
    bed.kubectl(&["patch", "mqttroute/devices", "--type=merge", "--patch", pause]).unwrap();
    bed.condition("devices", "Subscribed", ("False", "Paused")).await;
    let seen = slots(&bed).unwrap();
    assert!(seen.len() == 2 && seen.iter().all(|it| !it.2), "{seen:?}");
}

#[tokio::test]
async fn a_pod_that_was_evicted_holds_nothing_though_its_object_stays() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 1));
    let pod = pods(&bed, 1).await.remove(0);
    hold(&bed, 0, &pod);
    let evicted = r#"{"status":{"phase":"Failed","reason":"Evicted"}}"#;
    let status = ["--subresource=status", "--type=merge", "--patch", evicted];
    bed.kubectl(&[&["patch", "pod", &*pod], &status[..]].concat()).unwrap();
    until(&bed, "its slot is free", |seen| seen[0].1.is_empty()).await;
    assert!(!bed.field(&format!("pod/{pod}"), ".status.phase").is_empty(), "the object is there");
}

#[tokio::test]
async fn a_deleted_route_stays_until_its_workers_have_drained_every_session() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 2));
    let all = pods(&bed, 2).await;
    until(&bed, "two slots are there", |seen| seen.len() == 2).await;
    for (slot, pod) in (0..).zip(&all) {
        hold(&bed, slot, pod);
    }
    bed.kubectl(&["delete", "mqttroute/devices", "--wait=false"]).unwrap();
    until(&bed, "held slots retire", |seen| seen.iter().all(|it| it.2)).await;
    assert_eq!(pods(&bed, 2).await.len(), 2, "the workers still run");
    drained(&bed, 0);
    until(&bed, "the drained slot is gone", |seen| seen.len() == 1).await;
    assert!(!bed.field("mqttroute/devices", ".metadata.deletionTimestamp").is_empty());
    drained(&bed, 1);
    let query = ["get", "mqttroutes", "--output", "name"];
    bed.until("the route is gone", &query, str::is_empty).await;
}

#[tokio::test]
async fn a_deleted_route_without_workers_is_let_go_at_once_and_an_event_says_what_stays() {
    let bed = Bed::new().await;
    bed.apply(&route("devices", 1));
    let pod = pods(&bed, 1).await.remove(0);
    hold(&bed, 0, &pod);
    bed.kubectl(&["scale", "mqttroute/devices", "--replicas=0"]).unwrap();
    until(&bed, "nobody holds it", |seen| seen[0].1.is_empty()).await;
    let began = Instant::now();
    bed.kubectl(&["delete", "mqttroute/devices"]).unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
    let query = ["get", "events", "--field-selector", "reason=SessionsLeft"];
    let said = bed.until("an event says so", &query, |said| said.contains("SessionsLeft")).await;
    assert!(said.contains("1 sessions") && said.contains("3600 s"), "{said}");
}
