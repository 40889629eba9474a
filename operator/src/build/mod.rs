//! From a validated object to the Kubernetes objects that run it. Pure: one file a kind.
//!
//! What goes in: [`Validated`], the [`Settings`], the slots that exist. What comes out: [`Children`], each
//! complete, so that server-side apply can own every field that it names. Nothing here reads the time, the
//! environment or the cluster: the same input gives the same bytes, and so a second apply writes nothing.

mod config_map;
mod deployment;
mod disruption_budget;
mod pod;
mod role;
mod secrets;
mod slot_lease;

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

pub(crate) use config_map::{TABLE_KEY, WORKER_KEY, check_size};
pub use secrets::{References, references};
pub use slot_lease::slot_lease;

use crate::{names, settings::Settings, validate::Validated};

/// Everything that one MqttRoute needs, but for its slot Leases, which are created one by one and never applied over.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// The identity of the workers.
    pub service_account: ServiceAccount,
    /// Their rights: get and update their own slots' Leases, by name.
    pub role: Role,
    /// Gives them the rights.
    pub role_binding: RoleBinding,
    /// The route table, and the names of the slots.
    pub config_map: ConfigMap,
    /// One worker at a time may be evicted.
    pub disruption_budget: PodDisruptionBudget,
    /// The workers.
    pub deployment: Deployment,
}

/// Builds all children; `slots` are the indices of all slots that exist, those that retire too.
///
/// # Errors
/// Where the route table is too large for a ConfigMap.
pub fn build(
    route: &Validated,
    settings: &Settings,
    slots: &[u32],
) -> Result<Children, BuildError> {
    Ok(Children {
        service_account: role::service_account(route),
        role: role::role(route, slots),
        role_binding: role::role_binding(route),
        config_map: config_map::config_map(route, slots)?,
        disruption_budget: disruption_budget::disruption_budget(route),
        deployment: deployment::deployment(route, settings),
    })
}

/// Why children cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A ConfigMap holds at most 1 MiB.
    #[error(
        "the route table has {size} bytes and a ConfigMap holds {limit}: split the MqttRoute, or move JSON Schemas into ConfigMaps"
    )]
    TableTooLarge {
        /// Bytes of the table.
        size: usize,
        /// Bytes that fit.
        limit: usize,
    },
    /// The object could not be written as JSON.
    #[error("the route table cannot be written as JSON")]
    Serialize(#[from] serde_json::Error),
}

/// Metadata of a child called `name`.
fn metadata(route: &Validated, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(route.namespace.clone()),
        labels: Some(names::labels(&route.name)),
        annotations: Some([(names::ROUTE_ANNOTATION.to_owned(), route.name.clone())].into()),
        owner_references: Some(vec![route.owner.clone()]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use routemq_crds::v1alpha1::MqttRoute;
    use serde_json::json;

    use crate::{
        settings::Settings,
        validate::{Validated, validate},
    };

    /// A route that refers to three Secrets, through the real validate step.
    pub(crate) fn route() -> Validated {
        let object: MqttRoute = serde_json::from_value(json!({
            "apiVersion": "routemq.io/v1alpha1", "kind": "MqttRoute",
            "metadata": {"name": "devices", "namespace": "fleet", "uid": "0f0e", "generation": 3},
            "spec": {
                "broker": {"url": "mqtt://mosquitto.mqtt.svc:1883", "credentialsSecretRef": {"name": "login"}},
                "database": {"urlSecretRef": {"name": "telemetry", "key": "url"}},
                "workerCount": 3,
                "routes": [{
                    "name": "status", "topic": "devices/{id}/status",
                    "middleware": [{"apiKey": {"secretRef": {"name": "keys", "key": "keys"}, "field": "api_key"}}],
                    "handlers": [{"sql": {"table": "status", "columns": {"id": "params.id"}}}],
                }],
            },
        }))
        .unwrap();
        validate(&object, &Settings::default()).unwrap()
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let children = || super::build(&route(), &Settings::default(), &[0, 1, 2]).unwrap();
        assert_eq!(children(), children());
    }

    #[test]
    fn every_child_belongs_to_the_route_and_carries_its_labels() {
        let children = super::build(&route(), &Settings::default(), &[0]).unwrap();
        for metadata in [
            &children.service_account.metadata,
            &children.role.metadata,
            &children.role_binding.metadata,
            &children.config_map.metadata,
            &children.disruption_budget.metadata,
            &children.deployment.metadata,
        ] {
            assert_eq!(metadata.owner_references.as_ref().unwrap()[0].uid, "0f0e");
            assert_eq!(
                metadata.labels.as_ref().unwrap()["app.kubernetes.io/managed-by"],
                "routemq-operator"
            );
        }
    }

    #[test]
    fn the_table_that_workers_read_does_not_change_with_the_number_of_pods_resources() {
        let mut other = route();
        other.object.spec.worker.get_or_insert_default().image = Some("x".to_owned());
        let table = |route: &Validated| {
            super::config_map::config_map(route, &[]).unwrap().data.unwrap()["route.json"].clone()
        };
        assert_eq!(table(&route()), table(&other));
    }
}
