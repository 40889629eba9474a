//! The reconcile: validate → settle the slots → build → apply → update the status.
//!
//! Level-triggered: each run looks at everything anew and may be cut off anywhere; the next one ends in the same state.

use std::{sync::Arc, time::Instant};

use k8s_openapi::{
    api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::{controller::Action, events::Recorder},
};
use routemq_crds::{
    report::WorkerReport,
    v1alpha1::{MqttRoute, MqttRouteStatus},
};
use serde_json::json;

use crate::{
    apply::{ApplyError, Writer},
    backoff::{Backoff, LONGEST, LONGEST_AWAY},
    build::{BuildError, build, check_size},
    deletion, events,
    last_good::LastGood,
    metrics::Metrics,
    names,
    refusal::{is_transient, words},
    settings::Settings,
    sight::{Route, Sight},
    slot_leases::{SlotsError, settle},
    status::{self, Observed, Refused},
    unreadable,
    validate::{Validated, validate},
};

/// Failures in a row without a proper answer that are not told yet: one lost request is no news.
const UNTOLD: u32 = 2;

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
    backoff: Backoff,
    pub(crate) last_good: LastGood,
    pub(crate) sight: Sight,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Context {
    /// That has seen nothing yet.
    #[must_use]
    pub fn new(client: Client, settings: Settings, recorder: Recorder, metrics: Metrics) -> Self {
        Self {
            client,
            settings: Arc::new(settings),
            recorder,
            metrics,
            backoff: Backoff::default(),
            last_good: LastGood::default(),
            sight: Sight::default(),
        }
    }

    /// The same, without a memory.
    #[must_use]
    pub fn afresh(&self) -> Self {
        Self {
            backoff: Backoff::default(),
            last_good: LastGood::default(),
            sight: Sight::default(),
            ..self.clone()
        }
    }

    /// The object is gone.
    pub(crate) fn forget(&self, namespace: Option<&str>, name: &str) {
        let namespace = namespace.unwrap_or_default().to_owned();
        let key = format!("{namespace}/{name}");
        self.backoff.settled(&key);
        self.last_good.forget(&key);
        self.sight.forget(&Route { namespace, name: name.to_owned() });
    }
}

/// Why a reconcile did not end well; [`words`] says it in a condition.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A child.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Slots.
    #[error(transparent)]
    Slots(#[from] SlotsError),
    /// The children cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Another request.
    #[error("{what}")]
    Request {
        /// What was asked for, as a verb and its object.
        what: &'static str,
        /// Why not.
        #[source]
        source: kube::Error,
    },
}

pub(crate) fn failed(what: &'static str) -> impl FnOnce(kube::Error) -> ReconcileError {
    move |source| ReconcileError::Request { what, source }
}

pub(crate) async fn reconcile(
    object: Arc<DeserializeGuard<MqttRoute>>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    let result = match &object.0 {
        Ok(object) => Box::pin(reconcile_object(object, &context)).await,
        Err(invalid) => {
            let told = unreadable::refuse(invalid, &context).await;
            told.map(|()| Action::await_change()).map_err(failed("update the status"))
        }
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
    Box::pin(bring_about(object, context)).await?;
    Ok(Action::await_change())
}

async fn bring_about(object: &MqttRoute, context: &Context) -> Result<(), ReconcileError> {
    let now = Time(Timestamp::now());
    match judge(object, context) {
        Ok(route) => {
            context.last_good.forget(&crate::last_good::key(object));
            match Box::pin(hold_and_tend(object, &route, context)).await {
                Ok(tended) => {
                    let status = status::running(object, &tended.observed(&route), &now);
                    write_status(object, status, context).await
                }
                Err(error) => {
                    tell_failure(object, &error, context, &now).await?;
                    Err(error)
                }
            }
        }
        Err(refused) => Box::pin(keep_last_good(object, &refused, context, &now)).await,
    }
}

/// What only another spec mends is found before anything is written.
fn judge(object: &MqttRoute, context: &Context) -> Result<Validated, Refused> {
    let refused = |reason, message| Refused { accepted: false, reason, message };
    let route = validate(object, &context.settings)
        .map_err(|error| refused("Invalid", error.to_string()))?;
    check_size(&route).map_err(|error| refused("TableTooLarge", error.to_string()))?;
    Ok(route)
}

/// The spec is refused: what runs keeps running, and is kept in order as it was last wanted.
async fn keep_last_good(
    object: &MqttRoute,
    refused: &Refused,
    context: &Context,
    now: &Time,
) -> Result<(), ReconcileError> {
    let tended = match context.last_good.of(object, &context.client, &context.settings).await {
        Ok(None) => Ok(None),
        Ok(Some(route)) => tend(object, &route, context).await.map(|tended| Some((route, tended))),
        Err(source) => Err(failed("read the last good table")(source)),
    };
    let status = match &tended {
        Ok(Some((route, tended))) => {
            status::refused(object, refused, Some(&tended.observed(route)), now)
        }
        _ => status::refused(object, refused, None, now),
    };
    write_status(object, status, context).await?;
    tended.map(drop)
}

/// What the cluster says after the children were brought in order.
struct Tended {
    deployment: Deployment,
    reports: Vec<WorkerReport>,
}

impl Tended {
    fn observed<'a>(&'a self, route: &'a Validated) -> Observed<'a> {
        Observed { table: &route.table, deployment: &self.deployment, reports: &self.reports }
    }
}

/// For an accepted object: one with durable sessions is kept until they have ended.
async fn hold_and_tend(
    object: &MqttRoute,
    route: &Validated,
    context: &Context,
) -> Result<Tended, ReconcileError> {
    deletion::hold(object, route, context).await?;
    tend(object, route, context).await
}

/// Brings slots and children in order.
async fn tend(
    object: &MqttRoute,
    route: &Validated,
    context: &Context,
) -> Result<Tended, ReconcileError> {
    let sight = &context.sight;
    let slots = settle(&context.client, &context.metrics, sight, route).await?;
    let children = build(route, &context.settings, &slots.indices)?;
    let writer = Writer::new(&context.client, &context.metrics, sight, route);
    let applied = Box::pin(writer.apply(children)).await?;
    for child in &applied.reverted {
        let news = events::reverted(&route.name, child);
        events::publish(&context.recorder, &object.object_ref(&()), news).await;
    }
    Ok(Tended { deployment: applied.deployment, reports: slots.reports })
}

/// A failure that a retry may mend is told where it is a refusal, or lasts.
async fn tell_failure(
    object: &MqttRoute,
    error: &ReconcileError,
    context: &Context,
    now: &Time,
) -> Result<(), ReconcileError> {
    if is_transient(error) && context.backoff.failures(&crate::last_good::key(object)) < UNTOLD {
        return Ok(());
    }
    let (reason, message) = words(error);
    let refused = Refused { accepted: true, reason, message };
    write_status(object, status::refused(object, &refused, None, now), context).await
}

/// Writes the status, and Events for what turned bad or good, only where something changed.
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
        .map_err(failed("update the status"))?;
    let before = object.status.clone().unwrap_or_default().conditions;
    for news in events::news(&before, &status.conditions) {
        events::publish(&context.recorder, &object.object_ref(&()), news).await;
    }
    Ok(())
}

/// Tries again, ever more slowly per object.
#[expect(clippy::needless_pass_by_value, reason = "kube calls it so")]
pub(crate) fn on_error(
    object: Arc<DeserializeGuard<MqttRoute>>,
    error: &ReconcileError,
    context: Arc<Context>,
) -> Action {
    let longest = if is_transient(error) { LONGEST_AWAY } else { LONGEST };
    let wait = context.backoff.failed(&key(&object), longest);
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
