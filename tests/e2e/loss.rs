//! Workers that are taken away: killed in their pods, evicted.

use std::{env, fs, path::Path, process::Command};

use routemq_tests::{ensure, eventually};
use serde_json::json;

use crate::{
    bed::{Bed, SOON},
    load::Load,
};

/// The most that a killed worker repeats: the route's `receiveMaximum`, by default.
const WINDOW: i64 = 1000;

/// The process of a pod's worker, as this machine numbers it: the one of that program in a control group of that pod.
fn process_of(uid: &str) -> Option<String> {
    let names = |pid: &Path| {
        let read = |file: &str| fs::read_to_string(pid.join(file)).unwrap_or_default();
        read("cgroup").contains(uid) && read("cmdline").starts_with("/usr/local/bin/routemq\0")
    };
    let mut processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    let found = processes.find(|pid| names(pid))?;
    Some(found.file_name()?.to_string_lossy().into_owned())
}

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn a_worker_killed_in_its_pod_loses_nothing_and_takes_its_slot_again() {
    if env::var_os("ROUTEMQ_TEST_KUBECONFIG").is_some() {
        eprintln!("skipped: the processes of a node that is not ours are out of reach");
        return;
    }
    let bed = Bed::new().await;
    bed.apply_and_wait(2);
    let pod = &bed.workers()[0];
    let slots = "{range .items[*]}{.metadata.name} {.spec.holderIdentity}{\"\\n\"}{end}";
    let slots = || bed.kubectl(&["get", "leases", "--output", &format!("jsonpath={slots}")]);
    let before = slots().unwrap();
    let load = Load::start(&bed, 200);
    let uid = bed.field(&format!("pod/{pod}"), ".metadata.uid");
    let pid = process_of(&uid).expect("the worker runs here");
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    let restarts = ["get", "pod", pod, "--output", "jsonpath={.status.containerStatuses[0]}"];
    bed.until("the container is back", &restarts, |it| {
        it.contains("\"restartCount\":1") && it.contains("\"ready\":true")
    })
    .await;
    bed.wait_until_ready();
    let sent = load.finish();
    let doubled = bed.all_stored(sent, SOON).await;
    println!("{sent} messages while a worker was killed: 0 lost, {doubled} doubled");
    assert!(doubled <= WINDOW, "{doubled}");
    assert_eq!(slots().unwrap(), before, "the same pod holds the same slot");
}

/// As a drain of a node does it, without the drain.
fn evict(bed: &Bed, pod: &str) -> Result<String, String> {
    let namespace = &bed.namespace;
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace},
    });
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
    let create = ["create", "--raw", &path, "--filename", "-"];
    bed.cluster.plane.kubectl_with(&create, &eviction.to_string())
}

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn workers_are_evicted_one_at_a_time_and_nothing_is_lost_or_doubled() {
    let bed = Bed::new().await;
    bed.apply_and_wait(3);
    let before = bed.workers();
    let load = Load::start(&bed, 200);
    evict(&bed, &before[0]).unwrap();
    let refused = evict(&bed, &before[1]).unwrap_err();
    assert!(refused.contains("disruption budget"), "{refused}");
    for pod in &before[1..] {
        eventually("the budget allows the next", SOON, async || evict(&bed, pod)).await;
    }
    eventually("every worker is new", SOON, async || {
        let now = bed.workers();
        let new = now.iter().filter(|pod| !before.contains(pod)).count();
        ensure(now.len() == 3 && new == 3, || format!("{now:?}"))
    })
    .await;
    bed.wait_until_ready();
    let sent = load.finish();
    assert_eq!(bed.all_stored(sent, SOON).await, 0);
}
