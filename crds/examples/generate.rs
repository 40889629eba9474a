//! Writes the CRD YAML that the chart, the examples and `kubectl apply` take.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("mqttroutes.routemq.io.yaml");
    fs::write(path, routemq_crds::crd_yaml())
}
