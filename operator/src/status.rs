//! What is observed of one MqttRoute, as its status. Pure.

mod conditions;

use k8s_openapi::{
    api::apps::v1::Deployment,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time},
};
use routemq_crds::{
    report::WorkerReport,
    table::Table,
    v1alpha1::{MqttRoute, MqttRouteStatus, RouteStatus},
};

use self::conditions::{accepted, observations};
use crate::{
    condition::{Observation, TYPES},
    names,
};

/// What the cluster says of an accepted object.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// What it compiles to.
    pub table: &'a Table,
    /// Its Deployment.
    pub deployment: &'a Deployment,
    /// The reports of held, active slots.
    pub reports: &'a [WorkerReport],
}

/// The status of an object that runs.
#[must_use]
pub fn running(object: &MqttRoute, observed: &Observed<'_>, now: &Time) -> MqttRouteStatus {
    let state = observed.deployment.status.clone().unwrap_or_default();
    let table = observed.table;
    let routes = table.routes.iter().map(|route| RouteStatus {
        name: route.name.to_string(),
        subscription: subscription(table, &table.filters[route.filter].filter),
    });
    MqttRouteStatus {
        observed_generation: object.metadata.generation,
        replicas: state.replicas.unwrap_or_default(),
        ready_replicas: state.ready_replicas.unwrap_or_default(),
        selector: Some(selector(&object.metadata)),
        route_count: i32::try_from(object.spec.routes.len()).unwrap_or(i32::MAX),
        routes: routes.collect(),
        conditions: stamp(object, observations(object, observed), now),
    }
}

/// Why an object is not brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Whether its spec makes sense all the same.
    pub accepted: bool,
    /// CamelCase, stable.
    pub reason: &'static str,
    /// One sentence, without anything that varies.
    pub message: String,
}

/// The status of an object that is refused or cannot be applied. What runs keeps running: `observed` of it, where that is known, and what was
/// observed before, where it is not.
#[must_use]
pub fn refused(
    object: &MqttRoute,
    refused: &Refused,
    observed: Option<&Observed<'_>>,
    now: &Time,
) -> MqttRouteStatus {
    let before = object.status.clone().unwrap_or_default();
    let accepted = if refused.accepted {
        accepted(object)
    } else {
        Observation::no("Accepted", refused.reason, refused.message.as_str())
    };
    let earlier = before.conditions.clone();
    let seen = observed.map_or_else(|| before, |observed| running(object, observed, now));
    let mut said = failure(refused.reason, &refused.message);
    said.push(accepted);
    if observed.is_some() {
        said.retain(|observation| observation.kind != "Progressing");
    }
    MqttRouteStatus {
        observed_generation: object.metadata.generation,
        selector: Some(selector(&object.metadata)),
        route_count: i32::try_from(object.spec.routes.len()).unwrap_or(i32::MAX),
        conditions: over(&seen.conditions, said, &earlier, object.metadata.generation, now),
        ..seen
    }
}

/// The status of a stored object that is no MqttRoute; `before` is what it says so far.
#[must_use]
pub fn unreadable(
    object: &ObjectMeta,
    before: &MqttRouteStatus,
    message: &str,
    now: &Time,
) -> MqttRouteStatus {
    let mut said = failure("Unreadable", message);
    said.push(Observation::no("Accepted", "Unreadable", message));
    MqttRouteStatus {
        observed_generation: object.generation,
        selector: Some(selector(object)),
        conditions: over(&before.conditions, said, &before.conditions, object.generation, now),
        ..before.clone()
    }
}

fn failure(reason: &str, message: &str) -> Vec<Observation> {
    vec![
        Observation::no("Progressing", reason, message),
        Observation::yes("Degraded", reason, message),
        Observation::no("Ready", reason, message),
    ]
}

/// Every condition: what is said now, else what was seen, else that it is not known.
fn over(
    seen: &[Condition],
    mut said: Vec<Observation>,
    earlier: &[Condition],
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    let one = |kind: &'static str| {
        let new = said.iter().position(|observation| observation.kind == kind);
        let old = || seen.iter().find(|condition| condition.type_ == kind).cloned();
        match (new, old()) {
            (Some(index), _) => said.swap_remove(index).stamped(earlier, generation, now),
            (None, Some(condition)) => condition,
            (None, None) => unobserved(kind).stamped(earlier, generation, now),
        }
    };
    TYPES.into_iter().map(one).collect()
}

fn unobserved(kind: &'static str) -> Observation {
    let message = "not observed, since the object cannot be reconciled";
    Observation::unknown(kind, "NotReconciled", message)
}

/// The filter as subscribed, with its share.
fn subscription(table: &Table, filter: &str) -> String {
    match &table.share {
        Some(share) => format!("$share/{share}/{filter}"),
        None => filter.to_owned(),
    }
}

fn selector(object: &ObjectMeta) -> String {
    let name = object.name.as_deref().unwrap_or_default();
    let pairs: Vec<_> =
        names::selector(name).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

fn stamp(object: &MqttRoute, observations: Vec<Observation>, now: &Time) -> Vec<Condition> {
    let before =
        object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let generation = object.metadata.generation;
    observations
        .into_iter()
        .map(|observation| observation.stamped(before, generation, now))
        .collect()
}

#[cfg(test)]
mod tests;
