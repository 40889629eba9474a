//! Writes children, and only where something would change.
//!
//! # Guarantee
//! - An object with a child's name that is not this MqttRoute's own is never touched ([`ApplyError::NameConflict`]), also one that
//!   appears between the look and the write: what was not there is only created, what was there is changed only while it is the same object.
//! - Where the live object already says what the desired one says, nothing is written: a second reconcile, a restart, an
//!   upgrade make no request but reads. Where it said so when it was last looked at, and the watch tells of no edit since, it is not even read.
//! - What a user edits in a field that we name is written back; fields that we do not name are left alone (server-side apply).

use k8s_openapi::{
    NamespaceResourceScope, api::apps::v1::Deployment,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
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
    sight::{Checked, Route, Sight, edited},
    validate::Validated,
};

/// Annotation with a hash of what was applied last: tells a field that is no longer named from one that never was.
const APPLIED: &str = "routemq.io/applied";

/// The version of no object: an apply that names it creates, or is refused where something is there.
const NEVER: &str = "1";

/// What is there after the apply.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The Deployment as the API server has it, with its status.
    pub deployment: Deployment,
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

/// Writes the children of one MqttRoute.
pub(crate) struct Writer<'a> {
    client: &'a Client,
    metrics: &'a Metrics,
    sight: &'a Sight,
    route: Route,
    /// The MqttRoute's uid.
    owner: String,
    reverted: Vec<String>,
}

impl<'a> Writer<'a> {
    /// For the children of `route`; what `sight` shows to be in order is left alone.
    pub(crate) fn new(
        client: &'a Client,
        metrics: &'a Metrics,
        sight: &'a Sight,
        route: &Validated,
    ) -> Self {
        let owner = route.owner.uid.clone();
        Self { client, metrics, sight, route: route.key(), owner, reverted: Vec::new() }
    }

    /// Applies all children: rights before the pods that use them, the table before the pods that read it.
    ///
    /// # Errors
    /// The first that fails; what came before it stays.
    pub(crate) async fn apply(mut self, children: Children) -> Result<Applied, ApplyError> {
        // Destructured without `..`: a new child that nobody applies does not compile.
        let Children {
            service_account,
            role,
            role_binding,
            config_map,
            disruption_budget,
            deployment,
        } = children;
        self.one("ServiceAccount", service_account).await?;
        self.one("Role", role).await?;
        self.one("RoleBinding", role_binding).await?;
        self.one("ConfigMap", config_map).await?;
        self.one("PodDisruptionBudget", disruption_budget).await?;
        let deployment = self.deployment(deployment).await?;
        Ok(Applied { deployment, reverted: self.reverted })
    }

    async fn one<K: Kind>(&mut self, kind: &'static str, desired: K) -> Result<(), ApplyError> {
        let (change, unedited) = (complete(&desired)?, self.unedited(kind));
        if unedited.as_ref().is_some_and(|checked| is_for(checked, &change)) {
            return Ok(());
        }
        self.write(kind, &desired, change, unedited).await.map(drop)
    }

    /// As the watch has it, where nothing is to be done.
    async fn deployment(&mut self, desired: Deployment) -> Result<Deployment, ApplyError> {
        let kind = "Deployment";
        let (change, unedited) = (complete(&desired)?, self.unedited(kind));
        let known = unedited.as_ref().filter(|checked| is_for(checked, &change));
        match known.and_then(|known| self.sight.deployments.get(&self.route, &known.uid)) {
            Some(deployment) => Ok(deployment),
            None => self.write(kind, &desired, change, unedited).await,
        }
    }

    fn unedited(&self, kind: &'static str) -> Option<Checked> {
        self.sight.unedited(&self.route, &self.owner, kind)
    }

    /// Writes the child, if that changes anything. One that nobody has edited is not read before.
    async fn write<K: Kind>(
        &mut self,
        kind: &'static str,
        desired: &K,
        mut change: Value,
        unedited: Option<Checked>,
    ) -> Result<K, ApplyError> {
        let name = desired.name_any();
        let api: Api<K> =
            Api::namespaced(self.client.clone(), &desired.namespace().unwrap_or_default());
        let request = |verb| {
            let name = name.clone();
            move |source| ApplyError::Request { verb, kind, name, source }
        };
        if let Some(checked) = unedited {
            change["metadata"]["uid"] = checked.uid.into();
        } else if let Some(live) = api.get_opt(&name).await.map_err(request("get"))? {
            require_ours(kind, live.meta(), desired.meta())?;
            if is_as(&serde_json::to_value(&live)?, &change) {
                self.check(kind, live.meta(), &change);
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
        let written = api.patch(&name, &params, &Patch::Apply(&change)).await;
        let written = written.map_err(request("apply"))?;
        self.check(kind, written.meta(), &change);
        Ok(written)
    }

    /// It is as it should be.
    fn check(&self, kind: &'static str, found: &ObjectMeta, change: &Value) {
        let checked = Checked {
            uid: found.uid.clone().unwrap_or_default(),
            owner: self.owner.clone(),
            edits: edited(found),
            hash: hash(change).cloned().unwrap_or_default(),
        };
        self.sight.checked.put(&self.route, kind, checked);
    }
}

/// A kind of child.
trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Serialize
    + DeserializeOwned
    + std::fmt::Debug
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug
{
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

/// Whether a child was looked at for just this.
fn is_for(checked: &Checked, change: &Value) -> bool {
    hash(change) == Some(&checked.hash)
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
