//! Examples that are for a cluster are admitted by one.

use std::process::Command;

use routemq_tests::{ControlPlane, folder};

#[test]
fn the_example_for_a_local_cluster_is_admitted_as_it_stands() {
    let plane = ControlPlane::shared();
    // A dry run makes no namespace for what comes after it; another test may have made it.
    for namespace in ["mqtt", "fleet"] {
        drop(plane.kubectl(&["create", "namespace", namespace]));
    }
    for file in ["broker.yaml", "database.yaml", "route.yaml"] {
        let path = folder("examples/kind").join(file);
        let apply = ["apply", "--server-side", "--dry-run=server", "--filename"];
        plane.kubectl(&[&apply[..], &[&path.to_string_lossy()]].concat()).unwrap();
    }
}

#[test]
fn the_script_of_the_example_is_well_formed() {
    let status = Command::new("bash").arg("-n").arg(folder("examples/kind/try.sh")).status();
    assert!(status.unwrap().success());
}
