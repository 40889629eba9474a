//! Writes the CRD YAML that the chart, the examples and `kubectl apply` take: beside the types, and into the chart.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in ["mqttroutes.routemq.io.yaml", "../charts/routemq/files/mqttroutes.routemq.io.yaml"]
    {
        fs::write(here.join(path), routemq_crds::crd_yaml())?;
    }
    Ok(())
}
