//! From an object as stored to one that can be built. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use routemq_crds::{
    compile::compile,
    problem::Problem,
    table::{REVISION, Table},
    v1alpha1::{MqttRoute, MqttRouteSpec},
};

use crate::{
    names,
    settings::{Settings, effective_broker},
};

/// An object that a worker can run, with the operator's defaults filled in.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The object, its broker completed: what workers read.
    pub object: MqttRoute,
    /// What it compiles to.
    pub table: Table,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What makes every child its own.
    pub owner: OwnerReference,
}

/// Why an object is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidateError {
    /// The spec has problems; each names its field and the fix.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Problem>),
    /// The object did not come from an API server.
    #[error("the object has no {0}")]
    NotStored(&'static str),
}

/// Compiles the spec with the operator's defaults.
///
/// # Errors
/// Every problem at once.
pub fn validate(object: &MqttRoute, settings: &Settings) -> Result<Validated, ValidateError> {
    let mut object = object.clone();
    object.spec.broker = Some(effective_broker(object.spec.broker.as_ref(), &settings.broker));
    let revision = revision(&object.spec);
    object.annotations_mut().insert(REVISION.to_owned(), revision);
    let table = compile(&object).map_err(ValidateError::Invalid)?;
    require_broker(&object)?;
    Ok(Validated {
        table,
        namespace: object.namespace().ok_or(ValidateError::NotStored("namespace"))?,
        name: object.name_any(),
        owner: owner(&object)?,
        object,
    })
}

/// See [`REVISION`]: the same for the same work, whatever the number of workers and their pods.
fn revision(spec: &MqttRouteSpec) -> String {
    let mut work = serde_json::json!(spec);
    if let Some(fields) = work.as_object_mut() {
        for other in ["workerCount", "worker", "paused"] {
            fields.remove(other);
        }
    }
    format!("{:016x}", names::stable_hash(work.to_string().as_bytes()))
}

fn require_broker(object: &MqttRoute) -> Result<(), ValidateError> {
    match object.spec.broker.as_ref().and_then(|broker| broker.url.as_ref()) {
        Some(_) => Ok(()),
        None => Err(ValidateError::Invalid(vec![Problem::new(
            "spec.broker.url",
            "no broker is named here and the operator has no default: set spec.broker.url, or broker.url of the chart",
        )])),
    }
}

/// Without `blockOwnerDeletion`, which some clusters let only those set who may update the owner's finalizers.
fn owner(object: &MqttRoute) -> Result<OwnerReference, ValidateError> {
    let owner = object.controller_owner_ref(&()).ok_or(ValidateError::NotStored("uid"))?;
    Ok(OwnerReference { block_owner_deletion: None, ..owner })
}

#[cfg(test)]
mod tests {
    use super::revision;
    use crate::build::tests::route;

    #[test]
    fn a_revision_is_of_the_work_and_not_of_the_number_of_workers() {
        let spec = route().object.spec;
        let mut scaled = spec.clone();
        scaled.worker_count = 7;
        scaled.worker.get_or_insert_default().image = Some("other".to_owned());
        let mut changed = spec.clone();
        changed.routes[0].topic = "devices/{id}/state".to_owned();
        assert_eq!(revision(&spec), revision(&scaled));
        assert_ne!(revision(&spec), revision(&changed));
    }
}
