//! The reconcile: fetch → validate → settle the slots → build → apply → update the status.
//!
//! Level-triggered: each run looks at everything anew and may be cut off anywhere; the next one ends in the same state.

use std::{collections::HashMap, sync::Arc, time::Instant};

use futures::{Stream, StreamExt};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        coordination::v1::Lease,
        core::v1::{ConfigMap, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        Controller,
        controller::Action,
        events::{Event, EventType, Recorder},
        watcher,
    },
};
use routemq_crds::v1alpha1::{MqttRoute, MqttRouteStatus};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{
    apply::{ApplyError, apply},
    backoff::Backoff,
    build::{BuildError, build},
    deletion,
    metrics::Metrics,
    names,
    settings::Settings,
    slot_leases::{SlotsError, settle},
    status::{self, Observed},
    validate::{ValidateError, validate},
};

/// What every reconcile shares.
#[derive(Clone)]
pub struct Context {
    /// To the API server.
    pub client: Client,
    /// The operator's defaults.
    pub settings: Arc<Settings>,
    /// One for all, so that repeated events become a series.
    pub recorder: Recorder,
    /// Counted into by every step.
    pub metrics: Metrics,
    /// How often each object failed in a row.
    pub backoff: Backoff,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why a reconcile did not end well. The variant's name is the condition's reason.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The object could not be read as a MqttRoute.
    #[error("the stored object is not a MqttRoute")]
    Unreadable(#[source] Box<kube::core::error_boundary::InvalidObject>),
    /// A step that a retry may mend.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Slots.
    #[error(transparent)]
    Slots(#[from] SlotsError),
    /// The finalizer could not be written.
    #[error("hold the object, or let it go")]
    Finalizer(#[source] kube::Error),
    /// The status could not be written.
    #[error("update the status")]
    Status(#[source] kube::Error),
}

/// Runs until `stop`; one controller a namespace, or one for all.
pub async fn run(
    context: Context,
    namespaces: &[String],
    stop: impl Future<Output = ()> + Send + Sync + Clone + 'static,
) {
    let scopes: Vec<Option<&str>> = match namespaces {
        [] => vec![None],
        some => some.iter().map(|namespace| Some(namespace.as_str())).collect(),
    };
    let runs = scopes.into_iter().map(|scope| run_in(context.clone(), scope, stop.clone()));
    futures::future::join_all(runs).await;
}

async fn run_in(
    context: Context,
    scope: Option<&str>,
    stop: impl Future<Output = ()> + Send + Sync + Clone + 'static,
) {
    let client = &context.client;
    let ours = || {
        watcher::Config::default()
            .labels("app.kubernetes.io/managed-by=routemq-operator")
            .page_size(100)
    };
    let routes: Api<DeserializeGuard<MqttRoute>> = scoped(client, scope);
    let reports = reports(scoped(client, scope), ours());
    Controller::new(routes, watcher::Config::default().page_size(100))
        .owns(scoped::<PartialObjectMeta<Deployment>>(client, scope), ours())
        .owns(scoped::<PartialObjectMeta<ConfigMap>>(client, scope), ours())
        .owns(scoped::<PartialObjectMeta<ServiceAccount>>(client, scope), ours())
        .owns(scoped::<PartialObjectMeta<Role>>(client, scope), ours())
        .owns(scoped::<PartialObjectMeta<RoleBinding>>(client, scope), ours())
        .owns(scoped::<PartialObjectMeta<PodDisruptionBudget>>(client, scope), ours())
        .owns_stream(reports)
        .graceful_shutdown_on(stop)
        .run(reconcile, on_error, Arc::new(context))
        .for_each(|_| async {})
        .await;
}

/// Leases that came, went, or say something else. A worker renews its Lease every ten seconds, and that concerns nobody: only
/// what it reports (an annotation), and what is marked, does.
fn reports(
    leases: Api<PartialObjectMeta<Lease>>,
    config: watcher::Config,
) -> impl Stream<Item = Result<PartialObjectMeta<Lease>, watcher::Error>> + Send {
    let mut said = HashMap::new();
    watcher(leases, config).filter_map(move |event| {
        let told = match event {
            Ok(watcher::Event::Apply(lease) | watcher::Event::InitApply(lease)) => {
                let before = said.insert(lease.uid(), lease.annotations().clone());
                (before.as_ref() != Some(lease.annotations())).then_some(Ok(lease))
            }
            Ok(watcher::Event::Delete(lease)) => {
                said.remove(&lease.uid());
                Some(Ok(lease))
            }
            Ok(watcher::Event::Init) => {
                said.clear();
                None
            }
            Ok(watcher::Event::InitDone) => None,
            Err(error) => Some(Err(error)),
        };
        std::future::ready(told)
    })
}

fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

async fn reconcile(
    object: Arc<DeserializeGuard<MqttRoute>>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    let result = match &object.0 {
        Ok(object) => Box::pin(reconcile_object(object, &context)).await,
        Err(invalid) => Err(ReconcileError::Unreadable(Box::new(invalid.clone()))),
    };
    context.metrics.reconciled(if result.is_ok() { "ok" } else { "error" }, started.elapsed());
    if result.is_ok() {
        context.backoff.settled(&key(&object));
    }
    result
}

async fn reconcile_object(object: &MqttRoute, context: &Context) -> Result<Action, ReconcileError> {
    if object.metadata.deletion_timestamp.is_some() {
        return Box::pin(deletion::wind_up_object(object, context)).await;
    }
    let now = Time(Timestamp::now());
    let status = match Box::pin(bring_about(object, context, &now)).await {
        Ok(status) => status,
        Err(Refusal::Object { kind, reason, message }) => {
            status::refused(object, kind, reason, &message, &now)
        }
        Err(Refusal::Retry(error)) => {
            let (reason, message) = words(&error);
            let status = status::refused(object, "Progressing", reason, &message, &now);
            write_status(object, status, context).await?;
            return Err(*error);
        }
    };
    write_status(object, status, context).await?;
    Ok(Action::await_change())
}

/// How a reconcile can end short of its aim.
enum Refusal {
    /// Only another spec (or somebody else's object going away) mends it.
    Object { kind: &'static str, reason: &'static str, message: String },
    /// A retry may mend it.
    Retry(Box<ReconcileError>),
}

async fn bring_about(
    object: &MqttRoute,
    context: &Context,
    now: &Time,
) -> Result<MqttRouteStatus, Refusal> {
    let route = validate(object, &context.settings)?;
    deletion::hold(object, &route, context).await?;
    let slots =
        settle(&context.client, &context.metrics, &route).await.map_err(ReconcileError::from)?;
    let children = build(&route, &context.settings, &slots.indices)?;
    let applied = Box::pin(apply(&context.client, &context.metrics, children))
        .await
        .map_err(ReconcileError::from)?;
    let observed =
        Observed { table: &route.table, deployment: &applied.deployment, reports: &slots.reports };
    Ok(status::running(object, &observed, now))
}

impl From<ValidateError> for Refusal {
    fn from(error: ValidateError) -> Self {
        Self::Object { kind: "Accepted", reason: "Invalid", message: error.to_string() }
    }
}

impl From<BuildError> for Refusal {
    fn from(error: BuildError) -> Self {
        Self::Object { kind: "Accepted", reason: "TableTooLarge", message: error.to_string() }
    }
}

impl From<ReconcileError> for Refusal {
    fn from(error: ReconcileError) -> Self {
        Self::Retry(Box::new(error))
    }
}

/// A stable reason and a message without anything that varies.
fn words(error: &ReconcileError) -> (&'static str, String) {
    match error {
        ReconcileError::Apply(conflict @ ApplyError::NameConflict { .. }) => {
            ("NameConflict", conflict.to_string())
        }
        ReconcileError::Apply(ApplyError::Request { source, verb, kind, .. }) => (
            reason_of(source),
            format!("the API server refused to {verb} the {kind}: {}", refusal_of(source)),
        ),
        ReconcileError::Slots(error) => ("SlotsFailed", error.to_string()),
        other => ("Failed", other.to_string()),
    }
}

fn reason_of(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(status) if status.message.contains("exceeded quota") => "QuotaExceeded",
        kube::Error::Api(status) if status.code == 403 => "Forbidden",
        kube::Error::Api(_) => "Refused",
        _ => "Unreachable",
    }
}

fn refusal_of(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.reason.clone(),
        _ => "no answer".to_owned(),
    }
}

/// Writes the status, and an event for a new `Ready` reason, only where something changed.
async fn write_status(
    object: &MqttRoute,
    status: MqttRouteStatus,
    context: &Context,
) -> Result<(), ReconcileError> {
    if object.status.as_ref() == Some(&status) {
        return Ok(());
    }
    context.metrics.wrote("MqttRouteStatus");
    let api: Api<MqttRoute> =
        Api::namespaced(context.client.clone(), &object.namespace().unwrap_or_default());
    let change = json!({
        "apiVersion": "routemq.io/v1alpha1", "kind": "MqttRoute",
        "metadata": {"name": object.name_any()}, "status": status,
    });
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    api.patch_status(&object.name_any(), &params, &Patch::Apply(change))
        .await
        .map_err(ReconcileError::Status)?;
    tell(object, &status, context).await;
    Ok(())
}

/// An Event when `Ready` has another reason than before. Best effort: the condition is what counts.
async fn tell(object: &MqttRoute, status: &MqttRouteStatus, context: &Context) {
    let before = object
        .status
        .as_ref()
        .and_then(|status| ready(status))
        .map(|condition| condition.reason.clone());
    let Some(now) = ready(status).filter(|condition| Some(&condition.reason) != before.as_ref())
    else {
        return;
    };
    let event = Event {
        type_: if now.status == "True" { EventType::Normal } else { EventType::Warning },
        reason: now.reason.clone(),
        note: Some(now.message.chars().take(1000).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = context.recorder.publish(&event, &object.object_ref(&())).await {
        tracing::debug!(%error, "event not written");
    }
}

fn ready(
    status: &MqttRouteStatus,
) -> Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    status.conditions.iter().find(|condition| condition.type_ == "Ready")
}

/// Tries again, ever more slowly per object.
#[expect(clippy::needless_pass_by_value, reason = "kube calls it so")]
fn on_error(
    object: Arc<DeserializeGuard<MqttRoute>>,
    error: &ReconcileError,
    context: Arc<Context>,
) -> Action {
    let wait = context.backoff.failed(&key(&object));
    tracing::warn!(object = key(&object), error = %chain(error), ?wait, "reconcile failed");
    Action::requeue(wait)
}

fn key(object: &DeserializeGuard<MqttRoute>) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
