//! The example for a local cluster does what it says.

use std::{env, process::Command};

use routemq_tests::folder;

use crate::bed::Bed;

#[tokio::test]
#[ignore = "needs a node: ./tests/run --stage e2e"]
async fn the_script_to_try_it_comes_to_its_end() {
    // It installs the chart as well: nobody else may lean on the operator meanwhile.
    let bed = Bed::alone().await;
    let plane = &bed.cluster.plane;
    let path = env::var_os("PATH").unwrap_or_default();
    let tools = plane.tools().into_iter().map(Into::into).chain(env::split_paths(&path));
    let output = Command::new(folder("examples/kind/try.sh"))
        .arg("--current-cluster")
        .env("KUBECONFIG", plane.kubeconfig())
        .env("PATH", env::join_paths(tools).unwrap())
        .env("ROUTEMQ_IMAGE", &bed.cluster.images.worker)
        .env("ROUTEMQ_OPERATOR_IMAGE", &bed.cluster.images.operator)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("d-17"), "no row in\n{text}");
    plane.kubectl(&["--namespace", "fleet", "delete", "mqttroute/devices"]).unwrap();
    bed.cluster.upgrade(&bed.cluster.images.operator);
}
