//! `routemq match`: which route a topic goes to, and why that one.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use routemq_crds::{
    table::{Action, Handler, Middleware, Route, Table},
    topic::{Level, ParamKind},
};
use serde_json::{Value, json};

use super::{Ended, Output, documents, failure::Failure, print, style};

/// Says which route a topic goes to, and why: the runner-up, and the level that decided.
#[derive(Args, Debug)]
#[command(after_help = "Example: routemq match devices/control/d-17 -f examples/quickstart\n\n\
    Exit codes: 0 every topic has a route, 1 one has none (or the documents are wrong).")]
pub(crate) struct Match {
    /// Topics as they would be published to
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// A file or folder of MqttRoutes
    #[arg(short = 'f', long = "file", required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// The winner within one `MqttRoute`.
struct Found<'a> {
    table: &'a Table,
    route: &'a Arc<Route>,
    params: Vec<(&'a str, &'a str)>,
    runner_up: Option<&'a Arc<Route>>,
}

impl Match {
    pub(crate) fn execute(self) -> Ended {
        let documents = documents::checked(&self.paths)?;
        documents::not_empty(&documents, &self.paths)?;
        let tables = documents.compile().map_err(|problems| documents::refused(&problems))?;
        let tables: Vec<&Table> = tables.iter().map(|located| &located.object).collect();
        for topic in &self.topics {
            publishable(topic)?;
        }
        let answers = self.topics.iter().map(|topic| (topic.as_str(), find(&tables, topic)));
        let answers: Vec<_> = answers.collect();
        match self.output {
            Output::Text => {
                print(&answers.iter().map(|(topic, found)| text(topic, found)).collect::<String>())?
            }
            Output::Json => print(&format!(
                "{:#}\n",
                Value::Array(answers.iter().map(|(topic, found)| in_json(topic, found)).collect())
            ))?,
        };
        let missing = answers.iter().any(|(_, found)| found.is_empty());
        Ok(ExitCode::from(u8::from(missing)))
    }
}

fn publishable(topic: &str) -> Result<(), Failure> {
    if topic.is_empty() || topic.contains(['+', '#', '\0']) || topic.len() > 65_535 {
        return Err(Failure::input(format!(
            "{topic:?} is not a topic to publish to: it must be 1 to 65,535 bytes without '+', '#' and NUL"
        )));
    }
    Ok(())
}

fn find<'a>(tables: &[&'a Table], topic: &'a str) -> Vec<Found<'a>> {
    tables.iter().filter_map(|table| find_in(table, topic)).collect()
}

/// Every route is asked, the most specific first: the same order as the matcher's, shown by its tests.
fn find_in<'a>(table: &'a Table, topic: &'a str) -> Option<Found<'a>> {
    let mut matching: Vec<&Arc<Route>> =
        table.routes.iter().filter(|route| route.pattern.matches(topic)).collect();
    matching.sort_by(|a, b| a.pattern.compare_specificity(&b.pattern));
    let route = *matching.first()?;
    let captures = route.pattern.captures(topic)?;
    let params = route.pattern.params().into_iter().zip(captures).collect();
    Some(Found { table, route, params, runner_up: matching.get(1).copied() })
}

// === words ===

fn text(topic: &str, found: &[Found<'_>]) -> String {
    let paint = style::Paint::stdout();
    let head = paint.bold(topic);
    if found.is_empty() {
        return format!(
            "{head}\n  no route: the message would be acknowledged and counted as unmatched\n"
        );
    }
    let parts = found.iter().map(|found| lines(found).join("\n"));
    format!("{head}\n{}\n", parts.collect::<Vec<_>>().join("\n"))
}

fn lines(found: &Found<'_>) -> Vec<String> {
    let route = found.route;
    let name = format!("{} of {}/{}", route.name, found.table.namespace, found.table.name);
    let params: Vec<_> =
        found.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let rows = [
        ("route", name),
        ("pattern", route.pattern.source().to_owned()),
        ("filter", format!("{} (qos {})", whole_filter(found), route.qos)),
        ("params", params.join(" ")),
        ("why", why(found)),
        ("middleware", join(route.middleware.iter().map(middleware_name))),
        ("handlers", join(route.handlers.iter().map(handler_name))),
    ];
    let shown = rows.into_iter().filter(|(_, value)| !value.is_empty());
    style::columns(&shown.map(|(key, value)| vec![format!("  {key}"), value]).collect::<Vec<_>>())
}

fn whole_filter(found: &Found<'_>) -> String {
    let filter = found.route.pattern.filter();
    match &found.table.share {
        Some(share) => format!("$share/{share}/{filter}"),
        None => filter,
    }
}

fn join(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(" → ")
}

/// The level at which the winner beats the runner-up.
fn why(found: &Found<'_>) -> String {
    let Some(second) = found.runner_up else {
        return "the only route of its MqttRoute that matches".to_owned();
    };
    let (winner, loser) = (found.route.pattern.levels(), second.pattern.levels());
    let at = winner.iter().zip(loser).position(|(a, b)| rank(a) != rank(b));
    let at = at.unwrap_or_else(|| winner.len().min(loser.len()));
    let kind = |levels: &[Level]| levels.get(at).map_or("the end".to_owned(), describe);
    format!(
        "more specific than {} ({}): at level {}, {} comes before {}",
        second.name,
        second.pattern.source(),
        at + 1,
        kind(winner),
        kind(loser)
    )
}

/// Equal for levels that are equally specific; literals differ only where their patterns end otherwise.
fn rank(level: &Level) -> u8 {
    match level {
        Level::Literal(_) => 0,
        Level::Param { kind: ParamKind::Int, .. } => 1,
        Level::Param { kind: ParamKind::Uuid, .. } => 2,
        Level::Param { kind: ParamKind::Float, .. } => 3,
        Level::Param { kind: ParamKind::Text, .. } | Level::Any => 4,
        Level::Tail { .. } | Level::Rest => 5,
    }
}

fn describe(level: &Level) -> String {
    match level {
        Level::Literal(text) => format!("the literal {text:?}"),
        Level::Param { name, kind } if *kind == ParamKind::Text => format!("the param {{{name}}}"),
        Level::Param { name, kind } => {
            format!("the typed param {{{name}:{}}}", format!("{kind:?}").to_lowercase())
        }
        Level::Any => "the wildcard +".to_owned(),
        Level::Tail { name } => format!("the tail {{{name}...}}"),
        Level::Rest => "the wildcard #".to_owned(),
    }
}

fn middleware_name(step: &Middleware) -> String {
    match step {
        Middleware::Log { .. } => "log".to_owned(),
        Middleware::ApiKey { .. } => "apiKey".to_owned(),
        Middleware::RateLimit { limit, per, .. } => format!("rateLimit {limit}/{}s", per.as_secs()),
        Middleware::Filter(expression) => format!("filter {}", expression.source()),
        Middleware::Validate(_) => "validate".to_owned(),
        Middleware::Transform { .. } => "transform".to_owned(),
        Middleware::Dedup { .. } => "dedup".to_owned(),
        Middleware::Timeout(limit) => format!("timeout {}s", limit.as_secs()),
        Middleware::Custom { name, .. } => format!("custom {name}"),
    }
}

fn handler_name(handler: &Handler) -> String {
    let what = match &handler.action {
        Action::Log { .. } => "log".to_owned(),
        Action::Publish(publish) => format!("publish {}", publish.topic.source()),
        Action::Reply { .. } => "reply".to_owned(),
        Action::Insert(insert) => format!("sql {}", insert.table),
        Action::Statement(_) => "sql statement".to_owned(),
        Action::Http(http) => format!("http {} {}", http.method, http.url),
        Action::Custom { name, .. } => format!("custom {name}"),
    };
    match &handler.when {
        Some(when) => format!("{what} (when {})", when.source()),
        None => what,
    }
}

// === JSON ===

fn in_json(topic: &str, found: &[Found<'_>]) -> Value {
    json!({"topic": topic, "matches": found.iter().map(found_json).collect::<Vec<_>>()})
}

fn found_json(found: &Found<'_>) -> Value {
    let params: serde_json::Map<String, Value> =
        found.params.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({
        "mqttRoute": {"namespace": found.table.namespace, "name": found.table.name},
        "route": &*found.route.name,
        "pattern": found.route.pattern.source(),
        "filter": whole_filter(found),
        "qos": found.route.qos,
        "params": params,
        "why": why(found),
        "runnerUp": found.runner_up.map(|route| route.name.to_string()),
        "middleware": found.route.middleware.iter().map(middleware_name).collect::<Vec<_>>(),
        "handlers": found.route.handlers.iter().map(handler_name).collect::<Vec<_>>(),
    })
}
