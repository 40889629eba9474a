//! One route after the other.

use std::{collections::HashMap, sync::Arc};

use super::{
    chains::Chains, field::Problems, filters::Own, groups::Groups, handlers, patterns::Parsed,
};
use crate::{
    expression::Scope,
    table::{Delivery, Middleware, PayloadRules, Route},
    template::TopicTemplate,
    topic::{Pattern, RouteKey},
    v1alpha1::{self, MqttRouteSpec},
};

const MEBIBYTE: usize = 1 << 20;

/// What the parts of one route are compiled with.
pub(super) struct Context<'a> {
    /// 2.
    pub(super) index: usize,
    /// `spec.routes[2]`.
    pub(super) path: String,
    pub(super) name: &'a str,
    pub(super) params: &'a [&'a str],
    pub(super) delivery: &'a Delivery,
}

impl<'a> Context<'a> {
    /// What expressions may name before the handlers.
    pub(super) fn scope(&self) -> Scope<'a> {
        Scope { params: Some(self.params), ..Scope::default() }
    }
}

pub(super) fn compile(
    spec: &MqttRouteSpec,
    groups: &Groups<'_>,
    patterns: &[Parsed],
    own: &Own<'_>,
    delivery: &Delivery,
    problems: &mut Problems,
) -> Vec<Option<Route>> {
    let mut chains = Chains::default();
    let mut seen = Seen::of(spec.routes.len());
    let mut compiled = Vec::with_capacity(spec.routes.len());
    for (index, (route, parsed)) in spec.routes.iter().zip(patterns).enumerate() {
        let path = format!("spec.routes[{index}]");
        seen.check_name(&path, &route.name, index, problems);
        check_group(&path, route, groups, problems);
        let pattern = pattern(&path, parsed, problems);
        if let Some(pattern) = pattern {
            seen.check_pattern(spec, &path, pattern, index, problems);
        }
        let params = pattern.map(Pattern::params).unwrap_or_default();
        let context = Context { index, path, name: &route.name, params: &params, delivery };
        // Without its pattern a route's params are unknown: to judge the rest would only make noise.
        let route = pattern.map(|pattern| {
            let middleware = chains.of(&context, route, groups, problems);
            one(&context, route, pattern, middleware, own, problems)
        });
        compiled.push(route);
    }
    compiled
}

fn one(
    context: &Context<'_>,
    route: &v1alpha1::Route,
    pattern: &Pattern,
    middleware: Arc<[Middleware]>,
    own: &Own<'_>,
    problems: &mut Problems,
) -> Route {
    let path = &context.path;
    Route {
        name: Arc::from(route.name.as_str()),
        pattern: pattern.clone(),
        filter: own.of_route(context.index),
        qos: problems.qos(format_args!("{path}.qos"), route.qos),
        payload: payload_rules(path, route, problems),
        middleware,
        handlers: exactly(handlers::compile(context, &route.handlers, problems)),
        dead_letter: dead_letter(context, own, problems),
    }
}

/// Without the room that was left for more: a table is kept, and may have many routes.
fn exactly<T>(mut list: Vec<T>) -> Vec<T> {
    list.shrink_to_fit();
    list
}

fn check_group(path: &str, route: &v1alpha1::Route, groups: &Groups<'_>, problems: &mut Problems) {
    let Some(group) = route.group.as_deref().filter(|group| !groups.contains(group)) else {
        return;
    };
    let hint = groups.hint(group);
    problems.add(format!("{path}.group"), format!("there is no group \"{group}\"{hint}"));
}

fn pattern<'a>(path: &str, parsed: &'a Parsed, problems: &mut Problems) -> Option<&'a Pattern> {
    if let Parsed::Refused(error) = parsed {
        problems.add(format!("{path}.topic"), error.to_string());
    }
    parsed.pattern()
}

fn payload_rules(path: &str, route: &v1alpha1::Route, problems: &mut Problems) -> PayloadRules {
    let given = route.payload.clone().unwrap_or_default();
    PayloadRules {
        format: given.format.unwrap_or_default(),
        max_bytes: problems.number(
            format_args!("{path}.payload.maxBytes"),
            given.max_bytes,
            MEBIBYTE,
            1..=268_435_455,
        ),
        max_depth: problems.number(
            format_args!("{path}.payload.maxDepth"),
            given.max_depth,
            64,
            1..=128,
        ),
    }
}

/// The dead letter topic with this route's params; refused where the table would receive it.
fn dead_letter(
    context: &Context<'_>,
    own: &Own<'_>,
    problems: &mut Problems,
) -> Option<TopicTemplate> {
    let field = "spec.delivery.deadLetter.topic";
    let source = context.delivery.dead_letter.as_deref()?;
    let name = context.name;
    let parsed = TopicTemplate::parse(source, name, context.params)
        .map_err(|error| format!("for route \"{name}\": {error}"));
    let topic = problems.take(field, parsed)?;
    if let Some(filter) = own.first_match(&topic) {
        problems.add(
            field,
            format!(
                "for route \"{name}\": \"{source}\" is matched by the filter \"{filter}\" of this object, so a dead letter would come back; take another topic"
            ),
        );
    }
    Some(topic)
}

/// What earlier routes are called and match.
struct Seen<'a> {
    names: HashMap<&'a str, usize>,
    patterns: HashMap<RouteKey, usize>,
}

impl<'a> Seen<'a> {
    fn of(routes: usize) -> Self {
        Self { names: HashMap::with_capacity(routes), patterns: HashMap::with_capacity(routes) }
    }

    fn check_name(&mut self, path: &str, name: &'a str, index: usize, problems: &mut Problems) {
        problems.name(format_args!("{path}.name"), name);
        let first = *self.names.entry(name).or_insert(index);
        if first != index {
            problems.add(
                format!("{path}.name"),
                format!("\"{name}\" is the name of spec.routes[{first}] too; rename one"),
            );
        }
    }

    fn check_pattern(
        &mut self,
        spec: &MqttRouteSpec,
        path: &str,
        pattern: &Pattern,
        index: usize,
        problems: &mut Problems,
    ) {
        let first = *self.patterns.entry(pattern.key()).or_insert(index);
        if first != index {
            let (one, other) = (&spec.routes[first].name, &spec.routes[index].name);
            problems.add(
                format!("{path}.topic"),
                format!(
                    "the routes \"{one}\" and \"{other}\" match the same topics (\"{}\"); change one, or put the handlers of both into one route",
                    pattern.source()
                ),
            );
        }
    }
}
