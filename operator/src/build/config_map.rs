use k8s_openapi::api::core::v1::ConfigMap;
use routemq_crds::table::REVISION;
use serde_json::json;

use super::{BuildError, metadata};
use crate::{names, validate::Validated};

/// Etcd's and the API server's bound for the data of a ConfigMap.
const LIMIT: usize = 1024 * 1024;

/// What workers read: `route.json`, a document that `routemq run` takes as it stands, and `slots.json`, the names of the
/// Leases that they may claim.
pub(super) fn config_map(route: &Validated, slots: &[u32]) -> Result<ConfigMap, BuildError> {
    let table = serde_json::to_string(&document(route))?;
    if table.len() > LIMIT {
        return Err(BuildError::TableTooLarge { size: table.len(), limit: LIMIT });
    }
    let leases: Vec<_> = slots.iter().map(|index| names::slot(&route.name, *index)).collect();
    let slots = serde_json::to_string(&json!({ "leases": leases }))?;
    Ok(ConfigMap {
        metadata: metadata(route, names::worker(&route.name)),
        data: Some([("route.json".to_owned(), table), ("slots.json".to_owned(), slots)].into()),
        ..ConfigMap::default()
    })
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
