//! The conditions of an accepted object.

use k8s_openapi::api::apps::v1::Deployment;
use routemq_crds::{
    report::WorkerReport,
    table::{Filter, Table},
    v1alpha1::{MqttRoute, SessionKind},
};

use super::Observed;
use crate::{condition::Observation, refusal::steady};

/// Why a filter that is granted is not as good as promised.
const LOWERED: &str = "QosLowered";

/// The conditions of an accepted object; `Ready` is computed from the others.
pub(super) fn observations(object: &MqttRoute, observed: &Observed<'_>) -> Vec<Observation> {
    let mut all = vec![
        accepted(object),
        references(observed),
        subscribed(observed),
        progressing(observed),
        degraded(observed),
    ];
    all.push(ready(&all, observed));
    all
}

/// With a note where QoS 2 promises less than it seems to: on a shared subscription nobody else gets what a dead member held.
pub(super) fn accepted(object: &MqttRoute) -> Observation {
    const NAMED: usize = 5;
    let routes = object.spec.routes.iter().filter(|route| route.qos == Some(2));
    let names: Vec<_> = routes.map(|route| route.name.as_str()).collect();
    let message = if names.is_empty() || !object.spec.shared {
        "the spec makes sense".to_owned()
    } else {
        format!(
            "the spec makes sense; of the routes with QoS 2 ({}{}): on a shared subscription, QoS 1 and a unique key are safer",
            names[..names.len().min(NAMED)].join(", "),
            if names.len() > NAMED { ", …" } else { "" }
        )
    };
    Observation::yes("Accepted", "Accepted", message)
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
        return Observation::no(KIND, reason, kept(observed.table));
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

/// What becomes of messages while no worker runs.
fn kept(table: &Table) -> String {
    match table.delivery.session {
        SessionKind::Durable => format!(
            "no worker runs; the broker keeps messages for {} seconds after the last disconnect",
            table.delivery.session_expiry.as_secs()
        ),
        SessionKind::Ephemeral => {
            "no worker runs; sessions are Ephemeral, so nobody keeps the messages of this time"
                .to_owned()
        }
    }
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
    if is_rolled_out(observed.deployment) {
        Observation::no(KIND, "Complete", "the Deployment is as the spec wants it")
    } else {
        Observation::yes(
            KIND,
            "RollingOut",
            "the Deployment is being brought to what the spec wants",
        )
    }
}

/// Whether every pod is of the template that the Deployment has now, as its controller has seen it.
fn is_rolled_out(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let state = deployment.status.clone().unwrap_or_default();
    let settled = |number: Option<i32>| number.unwrap_or_default() == wanted;
    state.observed_generation.is_some()
        && state.observed_generation >= deployment.metadata.generation
        && settled(state.updated_replicas)
        && settled(state.replicas)
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
    let text = steady(failure.message.as_deref().unwrap_or_default());
    let (reason, cause) = match &text {
        text if text.contains("exceeded quota") => {
            ("QuotaExceeded", "a ResourceQuota of the namespace keeps workers from starting")
        }
        text if text.contains("PodSecurity") => {
            ("PodSecurityDenied", "Pod Security of the namespace refuses the worker pods")
        }
        text if text.contains(" usage per ") => {
            ("LimitRangeViolated", "a LimitRange of the namespace refuses the worker pods")
        }
        _ => ("PodsRefused", "the cluster refuses the worker pods"),
    };
    Some((reason.to_owned(), format!("{cause}: {text}")))
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
    if let Some(cause) = unfinished(observed) {
        let degraded = others.iter().find(|it| it.kind == "Degraded" && it.status == "True");
        return degraded
            .map_or(cause, |cause| Observation::no(KIND, &cause.reason, cause.message.clone()));
    }
    Observation::yes(KIND, "Running", "every worker is subscribed to every filter")
}

/// What is still missing of the workers that the spec wants. Ready pods of an earlier template are none of them.
fn unfinished(observed: &Observed<'_>) -> Option<Observation> {
    let state = observed.deployment.status.as_ref();
    let ready = state.and_then(|state| state.ready_replicas).unwrap_or_default();
    if i64::from(ready) < i64::from(observed.table.worker_count) {
        let message = "not every worker is ready yet";
        return Some(Observation::no("Ready", "WorkersStarting", message));
    }
    let message = "not every worker runs what the spec wants yet";
    (!is_rolled_out(observed.deployment)).then(|| Observation::no("Ready", "RollingOut", message))
}

#[cfg(test)]
mod tests;
