//! `routemq-operator render`: what the operator would make, without a cluster.

use std::path::PathBuf;

use routemq_crds::document::Documents;
use serde::Serialize;

use crate::{
    build::{BuildError, build, slot_lease},
    settings::Settings,
    validate::{ValidateError, validate},
};

/// Why nothing was printed.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The files are not what `kubectl apply` would take.
    #[error("{0}")]
    Documents(String),
    /// The operator would not accept it.
    #[error("{name}: {source}")]
    Validate {
        /// The object.
        name: String,
        /// Its problems.
        source: ValidateError,
    },
    /// The operator could not build it.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// It cannot be written as YAML.
    #[error("write YAML")]
    Yaml(#[from] serde_yaml::Error),
    /// It cannot be written as JSON first.
    #[error("write JSON")]
    Json(#[from] serde_json::Error),
}

/// The children of every MqttRoute under `paths`, as a stream of YAML documents.
///
/// # Errors
/// The first object that the operator would not accept.
pub fn render(paths: &[PathBuf], settings: &Settings) -> Result<String, RenderError> {
    let documents = Documents::load(paths).map_err(|problems| {
        RenderError::Documents(
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        )
    })?;
    let mut output = String::new();
    for located in &documents.routes {
        let mut object = located.object.clone();
        object
            .metadata
            .uid
            .get_or_insert_with(|| "00000000-0000-0000-0000-000000000000".to_owned());
        object.metadata.namespace.get_or_insert_with(|| "default".to_owned());
        let name = object.metadata.name.clone().unwrap_or_default();
        let route =
            validate(&object, settings).map_err(|source| RenderError::Validate { name, source })?;
        let slots: Vec<_> = (0..route.table.worker_count).collect();
        let children = build(&route, settings, &slots)?;
        push(&mut output, &children.service_account)?;
        push(&mut output, &children.role)?;
        push(&mut output, &children.role_binding)?;
        push(&mut output, &children.config_map)?;
        push(&mut output, &children.disruption_budget)?;
        push(&mut output, &children.deployment)?;
        for slot in slots {
            push(&mut output, &slot_lease(&route, slot))?;
        }
    }
    Ok(output)
}

fn push<K: Serialize + kube::Resource<DynamicType = ()>>(
    output: &mut String,
    object: &K,
) -> Result<(), RenderError> {
    let mut value = serde_json::to_value(object)?;
    value["apiVersion"] = K::api_version(&()).into();
    value["kind"] = K::kind(&()).into();
    output.push_str("---\n");
    output.push_str(&serde_yaml::to_string(&value)?);
    Ok(())
}
