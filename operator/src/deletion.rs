//! A MqttRoute that is deleted: its workers drain and end their sessions first, so that nothing stays on the broker.
//!
//! # Guarantees
//! - A finalizer keeps an object with durable sessions until they have ended, for a minute at most. Where no worker is there that could
//!   drain them, or the broker is away, it is let go all the same, and an Event says what stays, and until when.
//! - An object with ephemeral sessions, or one that is not accepted, is never held.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::controller::Action,
};
use routemq_crds::v1alpha1::{MqttRoute, SessionKind};
use serde_json::json;

use crate::{
    events::{News, publish},
    reconcile::{Context, ReconcileError, failed},
    slot_leases::{Left, wind_up},
    validate::{Validated, validate},
};

/// Keeps the object until its sessions have ended.
const FINALIZER: &str = "routemq.io/sessions";
/// Who sets it: of its own, so that no other apply touches it.
const MANAGER: &str = "routemq-operator-sessions";
/// How long `kubectl delete` may take for them.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks; a report of a worker comes sooner.
const LOOK: Duration = Duration::from_secs(5);

/// What is to be done with an object that is being deleted. Pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// Nothing is left of it.
    Release,
    /// Workers are at it.
    Wait,
    /// Time is up, or nobody is there.
    GiveUp,
}

fn decide(left: Left, waited: Duration) -> Decision {
    match left {
        Left { sessions: 0, .. } => Decision::Release,
        Left { attended: 0, .. } => Decision::GiveUp,
        _ if waited >= PATIENCE => Decision::GiveUp,
        _ => Decision::Wait,
    }
}

/// Holds an object whose sessions outlive their workers, and no other.
pub(crate) async fn hold(
    object: &MqttRoute,
    route: &Validated,
    context: &Context,
) -> Result<(), ReconcileError> {
    let durable = route.table.delivery.session == SessionKind::Durable;
    if durable == is_held(object) {
        return Ok(());
    }
    write(object, durable, context).await
}

/// Drains what the deleted object leaves, then lets it go.
pub(crate) async fn wind_up_object(
    object: &MqttRoute,
    context: &Context,
) -> Result<Action, ReconcileError> {
    if !is_held(object) {
        return Ok(Action::await_change());
    }
    let route = match validate(object, &context.settings) {
        Ok(route) => Some(route),
        Err(_) => context
            .last_good
            .of(object, &context.client, &context.settings)
            .await
            .map_err(failed("read the last good table"))?,
    };
    let left = match &route {
        Some(route) => wind_up(&context.client, &context.metrics, route).await?,
        // It never ran.
        None => Left::default(),
    };
    match decide(left, waited(object)) {
        Decision::Wait => return Ok(Action::requeue(LOOK)),
        Decision::GiveUp => tell(object, left, context).await,
        Decision::Release => {}
    }
    write(object, false, context).await?;
    Ok(Action::await_change())
}

fn is_held(object: &MqttRoute) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

fn waited(object: &MqttRoute) -> Duration {
    let since = object.metadata.deletion_timestamp.as_ref();
    let waited = since.map(|since| Timestamp::now().duration_since(since.0));
    waited.and_then(|waited| Duration::try_from(waited).ok()).unwrap_or_default()
}

/// Server-side apply of the finalizer alone, or of none.
async fn write(object: &MqttRoute, held: bool, context: &Context) -> Result<(), ReconcileError> {
    context.metrics.wrote("MqttRoute");
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<MqttRoute> = Api::namespaced(context.client.clone(), &namespace);
    let finalizers: &[&str] = if held { &[FINALIZER] } else { &[] };
    let change = json!({
        "apiVersion": "routemq.io/v1alpha1", "kind": "MqttRoute",
        // Of this object only: one of the same name that came since is another's business.
        "metadata": {"name": object.name_any(), "uid": object.uid(), "finalizers": finalizers},
    });
    let params = PatchParams::apply(MANAGER);
    match api.patch(&object.name_any(), &params, &Patch::Apply(change)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(failed("write the finalizer")(error)),
    }
}

/// Best effort, as every Event.
async fn tell(object: &MqttRoute, left: Left, context: &Context) {
    let expiry = object.spec.delivery.as_ref().and_then(|delivery| delivery.session_expiry_seconds);
    let note = format!(
        "{} sessions could not be drained and stay with the broker until they expire ({} s), with the messages that they hold",
        left.sessions,
        expiry.unwrap_or(3600),
    );
    let news = News { warning: true, reason: "SessionsLeft".to_owned(), note };
    publish(&context.recorder, &object.object_ref(&()), news).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_kept_while_workers_drain_its_sessions_and_no_longer_than_a_minute() {
        let left = |sessions, attended| Left { sessions, attended };
        let seconds = Duration::from_secs;
        let rows = [
            ("nothing is left", left(0, 0), seconds(0), Decision::Release),
            ("workers are at it", left(3, 2), seconds(59), Decision::Wait),
            ("they do not get through", left(1, 1), seconds(60), Decision::GiveUp),
            ("nobody is there", left(3, 0), seconds(0), Decision::GiveUp),
        ];
        for (case, left, waited, wanted) in rows {
            assert_eq!(decide(left, waited), wanted, "{case}");
        }
    }
}
