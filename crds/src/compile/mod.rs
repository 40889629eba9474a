//! From a spec to a route table, or to every problem it has. Pure.

mod chains;
mod delivery;
mod field;
mod filters;
mod groups;
mod handlers;
mod http;
mod loops;
mod middleware;
mod order;
mod patterns;
mod pod;
#[cfg(test)]
mod problems;
mod routes;
mod sql;
mod statement;
#[cfg(test)]
mod tests;
mod trie;

use crate::{
    expression::stack,
    problem::Problem,
    table::{REVISION, Table},
    v1alpha1::{Broker, MqttRoute, MqttRouteSpec},
};
use field::Problems;

/// How much one object may hold (design, section 4: "Bounds").
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Routes.
    pub routes: usize,
    /// Groups.
    pub groups: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { routes: 256, groups: 64 }
    }
}

/// Compiles an object: fills defaults, joins prefixes, parses patterns, compiles expressions.
///
/// # Errors
/// Every problem at once, in the order of the spec's fields.
pub fn compile(object: &MqttRoute) -> Result<Table, Vec<Problem>> {
    compile_within(object, Limits::default())
}

/// As [`compile`], within other limits: for programs that generate their routes.
///
/// # Errors
/// Every problem at once, in the order of the spec's fields.
pub fn compile_within(object: &MqttRoute, limits: Limits) -> Result<Table, Vec<Problem>> {
    stack::roomy(|| compile_here(object, limits)).unwrap_or_else(|refused| {
        let message = match refused {
            stack::Refused::Panicked => "the spec cannot be read; simplify its expressions".into(),
            stack::Refused::NoThread(error) => format!("no thread to compile the spec: {error}"),
        };
        Err(vec![Problem::new("spec", message)])
    })
}

fn compile_here(object: &MqttRoute, limits: Limits) -> Result<Table, Vec<Problem>> {
    let mut problems = Problems::default();
    let table = table(object, limits, &mut problems);
    match problems.into_sorted() {
        problems if problems.is_empty() => Ok(table),
        problems => Err(problems),
    }
}

fn table(object: &MqttRoute, limits: Limits, problems: &mut Problems) -> Table {
    let (spec, meta) = (&object.spec, &object.metadata);
    let name = meta.name.clone().unwrap_or_default();
    if name.is_empty() {
        problems.add("metadata.name", "is missing; name the object");
    }
    let namespace = meta.namespace.clone().unwrap_or_else(|| "default".to_owned());
    check_sizes(spec, limits, problems);
    check_broker(spec.broker.as_ref(), problems);
    pod::check(spec.worker.as_ref(), problems);
    let share = share(spec, &namespace, &name, problems);
    let groups = groups::resolve(spec, problems);
    let patterns = patterns::of(spec, &groups);
    let filters = filters::of(spec, &patterns, problems);
    let scopes = patterns::known_params(&patterns);
    let delivery = delivery::compile(spec, &scopes, problems);
    let own = filters.own();
    let routes = routes::compile(spec, &groups, &patterns, &own, &delivery, problems);
    let overlapping = own.overlapping();
    loops::check(spec, &patterns, &routes, problems);
    Table {
        share,
        share_is_explicit: spec.share_name.is_some(),
        worker_count: worker_count(spec, problems),
        paused: spec.paused,
        broker: spec.broker.clone().unwrap_or_default(),
        database: spec.database.as_ref().and_then(|database| database.url_secret_ref.clone()),
        delivery,
        routes: routes.into_iter().flatten().map(Into::into).collect(),
        filters: filters.into_list(overlapping),
        generation: meta.generation,
        revision: meta.annotations.as_ref().and_then(|all| all.get(REVISION)).cloned(),
        namespace,
        name,
    }
}

fn check_sizes(spec: &MqttRouteSpec, limits: Limits, problems: &mut Problems) {
    let (groups, routes) = (spec.groups.len(), spec.routes.len());
    if groups > limits.groups {
        let most = limits.groups;
        problems.add("spec.groups", format!("has {groups} groups; at most {most} are allowed"));
    }
    if routes == 0 {
        problems.add("spec.routes", "is empty; add a route");
    }
    if routes > limits.routes {
        let most = limits.routes;
        problems.add(
            "spec.routes",
            format!(
                "has {routes} routes; at most {most} are allowed: split them over several objects"
            ),
        );
    }
}

fn check_broker(broker: Option<&Broker>, problems: &mut Problems) {
    let Some(url) = broker.and_then(|broker| broker.url.as_deref()) else { return };
    let path = "spec.broker.url";
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if !matches!(scheme, "mqtt" | "mqtts" | "ws" | "wss") {
        problems.add(path, format!("\"{url}\" must begin with mqtt://, mqtts://, ws:// or wss://"));
    } else if host.contains('@') {
        // The value holds a password: it is not repeated.
        problems.add(path, "holds a user or password; put them into credentialsSecretRef");
    } else if host.is_empty() || host.starts_with(':') {
        problems.add(path, format!("\"{url}\" names no host; write {scheme}://HOST:PORT"));
    } else if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        problems.add(path, format!("\"{}\" holds white space; remove it", url.escape_debug()));
    }
}

fn worker_count(spec: &MqttRouteSpec, problems: &mut Problems) -> u32 {
    let path = "spec.workerCount";
    if !spec.shared && spec.worker_count > 1 {
        problems.add(
            path,
            format!(
                "is {} while shared is false, so each worker would get every message; set workerCount: 1 or shared: true",
                spec.worker_count
            ),
        );
    }
    problems.number(path, Some(spec.worker_count), 1, 0..=1000)
}

/// The MQTT share name (MQTT 5, 4.8.2).
fn share(
    spec: &MqttRouteSpec,
    namespace: &str,
    name: &str,
    problems: &mut Problems,
) -> Option<String> {
    let given = spec.share_name.as_deref();
    if let Some(share) = given {
        let bad = share.chars().find(|&c| matches!(c, '/' | '+' | '#') || c.is_control());
        if share.is_empty() {
            problems.add("spec.shareName", "is empty; name the share or leave the field out");
        } else if let Some(bad) = bad {
            problems.add(
                "spec.shareName",
                format!(
                    "\"{}\" holds {bad:?}; use letters, digits, \".\" and \"-\"",
                    share.escape_debug()
                ),
            );
        }
    }
    spec.shared.then(|| given.map_or_else(|| format!("{namespace}.{name}"), str::to_owned))
}
