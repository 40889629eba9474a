//! Writes children, and only where something would change.
//!
//! # Guarantee
//! - An object with a child's name that is not this MqttRoute's own is never touched ([`ApplyError::NameConflict`]).
//! - Where the live object already says what the desired one says, nothing is written: a second reconcile, a restart, an
//!   upgrade make no request but reads.
//! - What a user edits in a field that we name is written back; fields that we do not name are left alone (server-side apply).

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{build::Children, metrics::Metrics, names};

/// Annotation with a hash of what was applied last: tells a field that is no longer named from one that never was.
const APPLIED: &str = "routemq.io/applied";

/// What is there after the apply.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The Deployment as the API server has it, with its status.
    pub deployment: k8s_openapi::api::apps::v1::Deployment,
}

/// Why a child was not written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Somebody else's object has the name.
    #[error(
        "{kind} {name} exists and belongs to somebody else: rename the MqttRoute, or delete that {kind}"
    )]
    NameConflict {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The API server refused a request.
    #[error("{verb} {kind} {name}")]
    Request {
        /// What was asked for.
        verb: &'static str,
        /// Of which kind.
        kind: &'static str,
        /// The object.
        name: String,
        /// Why not.
        #[source]
        source: kube::Error,
    },
    /// The object cannot be written as JSON.
    #[error("write a child as JSON")]
    Serialize(#[from] serde_json::Error),
}

/// Applies all children: rights before the pods that use them, the table before the pods that read it.
///
/// # Errors
/// The first that fails; what came before it stays.
pub async fn apply(
    client: &Client,
    metrics: &Metrics,
    children: Children,
) -> Result<Applied, ApplyError> {
    // Destructured without `..`: a new child that nobody applies does not compile.
    let Children { service_account, role, role_binding, config_map, disruption_budget, deployment } =
        children;
    let writer = Writer { client, metrics };
    writer.one("ServiceAccount", service_account).await?;
    writer.one("Role", role).await?;
    writer.one("RoleBinding", role_binding).await?;
    writer.one("ConfigMap", config_map).await?;
    writer.one("PodDisruptionBudget", disruption_budget).await?;
    Ok(Applied { deployment: writer.one("Deployment", deployment).await? })
}

struct Writer<'a> {
    client: &'a Client,
    metrics: &'a Metrics,
}

impl Writer<'_> {
    async fn one<K>(&self, kind: &'static str, desired: K) -> Result<K, ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Serialize
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let name = desired.name_any();
        let api: Api<K> =
            Api::namespaced(self.client.clone(), &desired.namespace().unwrap_or_default());
        let request = |verb| {
            let name = name.clone();
            move |source| ApplyError::Request { verb, kind, name, source }
        };
        let live = api.get_opt(&name).await.map_err(request("get"))?;
        if let Some(live) = &live
            && !is_ours(live.meta(), desired.meta())
        {
            return Err(ApplyError::NameConflict { kind, name });
        }
        let desired = complete(&desired)?;
        match live {
            Some(live) if is_as(&serde_json::to_value(&live)?, &desired) => Ok(live),
            _ => {
                self.metrics.wrote(kind);
                let params = PatchParams::apply(names::FIELD_MANAGER).force();
                api.patch(&name, &params, &Patch::Apply(&desired)).await.map_err(request("apply"))
            }
        }
    }
}

/// Whether the live object has the owner that the desired one has.
fn is_ours(
    live: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    desired: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
) -> bool {
    let owner = desired.owner_references.iter().flatten().next().map(|owner| &owner.uid);
    live.owner_references.iter().flatten().any(|reference| Some(&reference.uid) == owner)
}

/// The object as applied: its type, and the hash of the rest.
fn complete<K: Resource<DynamicType = ()> + Serialize>(
    desired: &K,
) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(desired)?;
    let hash = names::stable_hash(value.to_string().as_bytes());
    value["apiVersion"] = K::api_version(&()).into();
    value["kind"] = K::kind(&()).into();
    value["metadata"]["annotations"][APPLIED] = format!("{hash:016x}").into();
    Ok(value)
}

/// Whether `live` says everything that `desired` says. Lists must have the same length: their order matters to Kubernetes.
fn is_as(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => desired.iter().all(|(key, wanted)| {
            live.get(key).map_or_else(|| is_empty(wanted), |value| is_as(value, wanted))
        }),
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len()
                && live.iter().zip(desired).all(|(live, desired)| is_as(live, desired))
        }
        (Value::String(live), Value::String(desired)) => {
            live == desired || is_same_quantity(live, desired)
        }
        _ => live == desired,
    }
}

/// What the API server leaves out when it is empty.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Whether two strings are the same Kubernetes quantity (`0.5` is stored as `500m`).
fn is_same_quantity(one: &str, other: &str) -> bool {
    matches!((quantity(one), quantity(other)), (Some(one), Some(other)) if (one - other).abs() <= one.abs() * 1e-9)
}

fn quantity(text: &str) -> Option<f64> {
    let unit = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let scale = match unit {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * scale)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::is_as;

    #[test]
    fn defaults_of_the_api_server_are_no_drift_and_edits_are() {
        let desired =
            json!({"spec": {"replicas": 3, "cpu": "0.5", "empty": {}, "ports": [{"port": 9090}]}});
        let rows = [
            (
                "as applied",
                json!({"spec": {"replicas": 3, "cpu": "0.5", "ports": [{"port": 9090}]}}),
                true,
            ),
            (
                "defaulted",
                json!({"spec": {"replicas": 3, "cpu": "500m", "ports": [{"port": 9090, "protocol": "TCP"}], "x": 1}}),
                true,
            ),
            (
                "edited",
                json!({"spec": {"replicas": 4, "cpu": "500m", "ports": [{"port": 9090}]}}),
                false,
            ),
            ("field gone", json!({"spec": {"cpu": "500m", "ports": [{"port": 9090}]}}), false),
            (
                "entry added",
                json!({"spec": {"replicas": 3, "cpu": "0.5", "ports": [{"port": 9090}, {"port": 1}]}}),
                false,
            ),
        ];
        for (name, live, same) in rows {
            assert_eq!(is_as(&live, &desired), same, "{name}");
        }
    }
}
