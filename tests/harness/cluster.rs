use std::{path::Path, time::Duration};

use routemq_tests::{Directory, Launch, Process, ensure, eventually, folder, processes_naming};

/// Two starts and two ends on a machine of two cores that other tests keep busy.
const PATIENCE: Duration = Duration::from_mins(5);

/// Starts a control plane in a folder of its own that goes with `owner`.
fn up(clusters: &Path, owner: &Process, log: &Path) -> Process {
    Launch::new(folder("tests/cluster/up"))
        .args(["--owner", &owner.pid().to_string()])
        .env("ROUTEMQ_CLUSTER_RUN", clusters)
        .start(log)
}

#[tokio::test]
async fn two_control_planes_run_side_by_side_and_go_with_their_owner() {
    let directory = Directory::new("clusters");
    let clusters = directory.path().join("run");
    let mut owner = Launch::new("sleep").arg("600").start(&directory.path().join("owner"));
    let logs = ["first", "second"].map(|name| directory.path().join(name));
    for mut start in logs.map(|log| up(&clusters, &owner, &log)) {
        assert!(start.exit(PATIENCE).await.success(), "{}", start.output());
    }
    assert_eq!(clusters.read_dir().unwrap().count(), 2);
    assert!(processes_naming(&clusters, "cmdline").len() >= 6, "two of each program run");
    owner.kill();
    eventually("processes and folders are gone", PATIENCE, async || {
        let left = processes_naming(&clusters, "cmdline");
        ensure(left.is_empty() && !clusters.exists(), || format!("{left:?}"))
    })
    .await;
}
