//! Writes children, and only where something would change.
//!
//! # Guarantee
//! - An object with a child's name that is not this MqttRoute's own is never touched ([`ApplyError::NameConflict`]), also one that
//!   appears between the look and the write: what was not there is only created, what was there is changed only while it is the same object.
//! - Where the live object already says what the desired one says, nothing is written: a second reconcile, a restart, an
//!   upgrade make no request but reads.
//! - What a user edits in a field that we name is written back; fields that we do not name are left alone (server-side apply).

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    build::Children,
    drift::is_as,
    metrics::Metrics,
    names,
    ownership::{Ownership, ownership},
};

/// Annotation with a hash of what was applied last: tells a field that is no longer named from one that never was.
const APPLIED: &str = "routemq.io/applied";

/// The version of no object: an apply that names it creates, or is refused where something is there.
const NEVER: &str = "1";

/// What is there after the apply.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The Deployment as the API server has it, with its status.
    pub deployment: k8s_openapi::api::apps::v1::Deployment,
    /// Children that somebody had changed and that were put back, as `Deployment devices-worker`.
    pub reverted: Vec<String>,
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
    /// A deleted MqttRoute of this name left it.
    #[error("{kind} {name} is of a deleted MqttRoute of this name and goes with it")]
    Predecessor {
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
    let mut writer = Writer { client, metrics, reverted: Vec::new() };
    writer.one("ServiceAccount", service_account).await?;
    writer.one("Role", role).await?;
    writer.one("RoleBinding", role_binding).await?;
    writer.one("ConfigMap", config_map).await?;
    writer.one("PodDisruptionBudget", disruption_budget).await?;
    let deployment = writer.one("Deployment", deployment).await?;
    Ok(Applied { deployment, reverted: writer.reverted })
}

struct Writer<'a> {
    client: &'a Client,
    metrics: &'a Metrics,
    reverted: Vec<String>,
}

impl Writer<'_> {
    async fn one<K>(&mut self, kind: &'static str, desired: K) -> Result<K, ApplyError>
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
        let mut change = complete(&desired)?;
        if let Some(live) = live {
            require_ours(kind, live.meta(), desired.meta())?;
            if is_as(&serde_json::to_value(&live)?, &change) {
                return Ok(live);
            }
            if live.annotations().get(APPLIED) == hash(&change) {
                self.reverted.push(format!("{kind} {name}"));
            }
            change["metadata"]["uid"] = live.uid().into();
        } else {
            change["metadata"]["resourceVersion"] = NEVER.into();
        }
        self.metrics.wrote(kind);
        let params = PatchParams::apply(names::FIELD_MANAGER).force();
        api.patch(&name, &params, &Patch::Apply(&change)).await.map_err(request("apply"))
    }
}

/// # Errors
/// Where the live object is not this MqttRoute's own.
pub(crate) fn require_ours(
    kind: &'static str,
    live: &ObjectMeta,
    desired: &ObjectMeta,
) -> Result<(), ApplyError> {
    let name = desired.name.clone().unwrap_or_default();
    match ownership(live, desired) {
        Ownership::Ours => Ok(()),
        Ownership::Predecessors => Err(ApplyError::Predecessor { kind, name }),
        Ownership::Foreign => Err(ApplyError::NameConflict { kind, name }),
    }
}

/// The hash that [`complete`] left.
fn hash(change: &Value) -> Option<&String> {
    match &change["metadata"]["annotations"][APPLIED] {
        Value::String(hash) => Some(hash),
        _ => None,
    }
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
