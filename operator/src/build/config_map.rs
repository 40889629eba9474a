use k8s_openapi::api::core::v1::ConfigMap;
use routemq_crds::table::REVISION;
use serde_json::json;

use super::{BuildError, metadata};
use crate::{names, validate::Validated};

/// The API server's bound for the data of a ConfigMap, less what the names of 1,000 slots take.
const LIMIT: usize = 1024 * 1024 - 80 * 1024;

/// The document that `routemq run` takes as it stands.
pub(crate) const TABLE_KEY: &str = "route.json";
/// The pods' part of the same spec, which is none of the workers' business: with both, the operator knows the last good spec.
pub(crate) const WORKER_KEY: &str = "worker.json";

/// Whether the route table fits.
///
/// # Errors
/// [`BuildError::TableTooLarge`].
pub(crate) fn check_size(route: &Validated) -> Result<(), BuildError> {
    table(route).map(drop)
}

/// What workers read: `route.json` and `slots.json`, the names of the Leases that they may claim.
pub(super) fn config_map(route: &Validated, slots: &[u32]) -> Result<ConfigMap, BuildError> {
    let (table, worker) = table(route)?;
    let leases: Vec<_> = slots.iter().map(|index| names::slot(&route.name, *index)).collect();
    let slots = serde_json::to_string(&json!({ "leases": leases }))?;
    Ok(ConfigMap {
        metadata: metadata(route, names::worker(&route.name)),
        data: Some(
            [
                (TABLE_KEY.to_owned(), table),
                (WORKER_KEY.to_owned(), worker),
                ("slots.json".to_owned(), slots),
            ]
            .into(),
        ),
        ..ConfigMap::default()
    })
}

fn table(route: &Validated) -> Result<(String, String), BuildError> {
    let table = serde_json::to_string(&document(route))?;
    let worker = serde_json::to_string(&route.object.spec.worker)?;
    let size = table.len() + worker.len();
    if size > LIMIT {
        return Err(BuildError::TableTooLarge { size, limit: LIMIT });
    }
    Ok((table, worker))
}

/// The object without what changes and does not concern a worker (status, managed fields, resource version, the number of workers).
fn document(route: &Validated) -> serde_json::Value {
    let mut spec = json!(route.object.spec);
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("worker");
    }
    json!({
        "apiVersion": "routemq.io/v1alpha1",
        "kind": "MqttRoute",
        "metadata": {
            "name": route.name,
            "namespace": route.namespace,
            "generation": route.object.metadata.generation,
            "annotations": { REVISION: route.table.revision },
        },
        "spec": spec,
    })
}
