//! The committed CRD is the one that the types generate.

use std::{fs, path::Path};

#[test]
fn the_committed_crd_is_what_the_types_generate() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("mqttroutes.routemq.io.yaml");
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == routemq_crds::crd_yaml(),
        "{} is stale: run `cargo run -p routemq-crds --example generate` and commit the result",
        path.display()
    );
}
