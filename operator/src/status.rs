//! What is observed of one MqttRoute, as its status. Pure.

use k8s_openapi::{
    api::apps::v1::Deployment,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use routemq_crds::{
    report::WorkerReport,
    table::{Filter, Table},
    v1alpha1::{MqttRoute, MqttRouteStatus, RouteStatus},
};

use crate::{condition::Observation, names};

/// Why a filter that is granted is not as good as promised.
const LOWERED: &str = "QosLowered";

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
        selector: Some(selector(object)),
        route_count: i32::try_from(table.routes.len()).unwrap_or(i32::MAX),
        routes: routes.collect(),
        conditions: stamp(object, observations(observed), now),
    }
}

/// The status of an object that is refused or cannot be applied: what runs keeps running, and its numbers stand.
#[must_use]
pub fn refused(
    object: &MqttRoute,
    kind: &'static str,
    reason: &str,
    message: &str,
    now: &Time,
) -> MqttRouteStatus {
    let accepted = if kind == "Accepted" {
        Observation::no("Accepted", reason, message)
    } else {
        Observation::yes("Accepted", "Accepted", "the spec makes sense")
    };
    let pending = |kind| {
        Observation::unknown(
            kind,
            "NotReconciled",
            "not observed, since the object cannot be reconciled",
        )
    };
    let observations = vec![
        accepted,
        pending("ReferencesResolved"),
        pending("Subscribed"),
        Observation::no("Progressing", reason, message),
        Observation::yes("Degraded", reason, message),
        Observation::no("Ready", reason, message),
    ];
    MqttRouteStatus {
        observed_generation: object.metadata.generation,
        selector: Some(selector(object)),
        route_count: i32::try_from(object.spec.routes.len()).unwrap_or(i32::MAX),
        conditions: stamp(object, observations, now),
        ..object.status.clone().unwrap_or_default()
    }
}

/// The filter as subscribed, with its share.
fn subscription(table: &Table, filter: &str) -> String {
    match &table.share {
        Some(share) => format!("$share/{share}/{filter}"),
        None => filter.to_owned(),
    }
}

fn selector(object: &MqttRoute) -> String {
    let name = object.metadata.name.as_deref().unwrap_or_default();
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

/// The conditions of an accepted object; `Ready` is computed from the others.
fn observations(observed: &Observed<'_>) -> Vec<Observation> {
    let mut all = vec![
        Observation::yes("Accepted", "Accepted", "the spec makes sense"),
        references(observed),
        subscribed(observed),
        progressing(observed),
        degraded(observed),
    ];
    all.push(ready(&all, observed));
    all
}

fn idle(observed: &Observed<'_>) -> Option<&'static str> {
    match observed.table {
        table if table.paused => Some("Paused"),
        table if table.worker_count == 0 => Some("ScaledToZero"),
        _ => None,
    }
}

fn references(observed: &Observed<'_>) -> Observation {
    const KIND: &str = "ReferencesResolved";
    let mut missing: Vec<_> =
        observed.reports.iter().flat_map(|report| report.missing.clone()).collect();
    missing.sort();
    missing.dedup();
    if !missing.is_empty() {
        let message = format!(
            "workers wait for: {}; create what is missing, nothing needs a restart",
            missing.join(", ")
        );
        return Observation::no(KIND, "Missing", message);
    }
    match (idle(observed), observed.reports.is_empty()) {
        (Some(reason), _) => Observation::unknown(KIND, reason, "no worker runs that could say"),
        (None, true) => Observation::unknown(KIND, "Waiting", "no worker has reported yet"),
        (None, false) => {
            Observation::yes(KIND, "Resolved", "everything that the spec refers to is there")
        }
    }
}

fn subscribed(observed: &Observed<'_>) -> Observation {
    const KIND: &str = "Subscribed";
    if let Some(reason) = idle(observed) {
        let seconds = observed.table.delivery.session_expiry.as_secs();
        let message = format!(
            "no worker runs; the broker keeps messages for {seconds} seconds after the last disconnect"
        );
        return Observation::no(KIND, reason, message);
    }
    if let Some(message) = refusal(observed) {
        return Observation::no(KIND, "Refused", message);
    }
    if let Some(message) = lowered(observed) {
        return Observation::no(KIND, LOWERED, message);
    }
    if let Some(why) = observed.reports.iter().find_map(|report| report.disconnected.clone()) {
        return Observation::no(KIND, &why.reason, why.message);
    }
    let wanted = observed.table.worker_count as usize;
    if observed.reports.iter().filter(|report| is_subscribed(observed.table, report)).count()
        < wanted
    {
        return Observation::no(KIND, "Pending", "not every worker has every filter granted yet");
    }
    Observation::yes(KIND, "Granted", "every worker has every filter granted")
}

fn is_subscribed(table: &Table, report: &WorkerReport) -> bool {
    let granted = |filter: &Filter| {
        let answer = report.filters.get(&filter.filter);
        answer.is_some_and(|answer| (filter.qos..0x80).contains(&answer.code))
    };
    report.connected && runs(report, table) && table.filters.iter().all(granted)
}

/// Whether it is of this table. Workers of an older image know no revisions: a new generation is another table to them.
fn runs(report: &WorkerReport, table: &Table) -> bool {
    match &report.revision {
        Some(_) => report.revision == table.revision,
        None => report.generation == table.generation,
    }
}

/// The first filter, in order, that any worker was refused.
fn refusal(observed: &Observed<'_>) -> Option<String> {
    let answers = observed.reports.iter().flat_map(|report| &report.filters);
    let (filter, answer) = answers
        .filter(|(_, answer)| answer.code >= 0x80)
        .min_by_key(|(filter, _)| (*filter).clone())?;
    Some(format!(
        "the broker refused the filter {filter:?} with reason code 0x{:02x}; check the broker's access rules",
        answer.code
    ))
}

/// The first filter, in order, that any worker of this table was granted with a lower QoS than asked for.
fn lowered(observed: &Observed<'_>) -> Option<String> {
    let table = observed.table;
    let lower = |filter: &Filter| {
        let reports = observed.reports.iter().filter(|report| runs(report, table));
        let codes = reports.filter_map(|report| Some(report.filters.get(&filter.filter)?.code));
        let code = codes.min().filter(|code| *code < filter.qos)?;
        Some((filter.filter.clone(), filter.qos, code))
    };
    let (filter, asked, granted) = table.filters.iter().filter_map(lower).min()?;
    Some(format!(
        "the broker grants QoS {granted} instead of {asked} for the filter {filter:?}, so messages may be lost on the way; raise the broker's maximum QoS or lower the route's"
    ))
}

fn progressing(observed: &Observed<'_>) -> Observation {
    const KIND: &str = "Progressing";
    let spec = observed.deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let state = observed.deployment.status.clone().unwrap_or_default();
    let current = state.observed_generation == observed.deployment.metadata.generation;
    let settled = |number: Option<i32>| number.unwrap_or_default() == spec;
    if current && settled(state.updated_replicas) && settled(state.replicas) {
        Observation::no(KIND, "Complete", "the Deployment is as the spec wants it")
    } else {
        Observation::yes(
            KIND,
            "RollingOut",
            "the Deployment is being brought to what the spec wants",
        )
    }
}

fn degraded(observed: &Observed<'_>) -> Observation {
    const KIND: &str = "Degraded";
    let refused = observed.reports.iter().find_map(|report| report.refused_table.clone());
    if let Some(message) = refused {
        return Observation::yes(KIND, "LastGoodTable", message);
    }
    if let Some((reason, message)) = replica_failure(observed.deployment) {
        return Observation::yes(KIND, &reason, message);
    }
    if let Some(message) = lowered(observed) {
        return Observation::yes(KIND, LOWERED, message);
    }
    match observed.reports.iter().find_map(|report| report.degraded.clone()) {
        Some(degraded) => Observation::yes(KIND, &degraded.reason, degraded.message),
        None => Observation::no(KIND, "AsPromised", "everything works as promised"),
    }
}

/// What keeps the ReplicaSet from making pods: a quota, Pod Security, a missing ServiceAccount.
fn replica_failure(deployment: &Deployment) -> Option<(String, String)> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions
        .iter()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    let text = failure.message.as_deref().unwrap_or_default();
    if text.contains("exceeded quota") {
        return Some((
            "QuotaExceeded".to_owned(),
            "a ResourceQuota of the namespace keeps workers from starting".to_owned(),
        ));
    }
    if text.contains("PodSecurity") {
        return Some((
            "PodSecurityDenied".to_owned(),
            "Pod Security of the namespace refuses the worker pods".to_owned(),
        ));
    }
    Some((
        "PodsRefused".to_owned(),
        "the cluster refuses the worker pods; see the events of their ReplicaSet".to_owned(),
    ))
}

fn ready(others: &[Observation], observed: &Observed<'_>) -> Observation {
    const KIND: &str = "Ready";
    for kind in ["ReferencesResolved", "Subscribed"] {
        if let Some(cause) =
            others.iter().find(|other| other.kind == kind && other.status == "False")
        {
            return Observation::no(KIND, &cause.reason, cause.message.clone());
        }
    }
    let ready = observed
        .deployment
        .status
        .as_ref()
        .and_then(|state| state.ready_replicas)
        .unwrap_or_default();
    if i64::from(ready) < i64::from(observed.table.worker_count) {
        return match others.iter().find(|other| other.kind == "Degraded" && other.status == "True")
        {
            Some(cause) => Observation::no(KIND, &cause.reason, cause.message.clone()),
            None => Observation::no(KIND, "WorkersStarting", "not every worker is ready yet"),
        };
    }
    Observation::yes(KIND, "Running", "every worker is subscribed to every filter")
}

#[cfg(test)]
mod tests;
