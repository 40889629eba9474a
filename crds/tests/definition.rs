//! The committed CRDs, the chart's too, are the one that the types generate.

use std::{fs, path::Path};

#[test]
fn the_committed_crds_are_what_the_types_generate() {
    for path in ["mqttroutes.routemq.io.yaml", "../charts/routemq/files/mqttroutes.routemq.io.yaml"]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == routemq_crds::crd_yaml(),
            "{} is stale: run `cargo run -p routemq-crds --example generate` and commit the result",
            path.display()
        );
    }
}
