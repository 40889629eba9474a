//! From a table to an engine, or to every problem it has.

use std::sync::Arc;

use routemq_crds::{
    problem::Problem,
    table::{self, Table},
};

use super::{Compiled, Engine, Inner, Resources, RouteCounters, Shared};
use crate::{
    eval::Evaluator,
    handler::{self, Action, custom::Custom},
    message::RouteInfo,
    middleware::{Around, Log, Step},
    registry::Registry,
    router::Matcher,
};

pub(super) fn build(
    table: Table,
    registry: &Registry,
    resources: Resources,
) -> Result<Engine, Vec<Problem>> {
    let shared = Arc::new(shared(&table, registry, &resources));
    let mut builder = Builder { registry, problems: Vec::new() };
    let routes = table.routes.iter().enumerate();
    let routes = routes.map(|(index, route)| builder.route(index, route, &shared)).collect();
    if !builder.problems.is_empty() {
        return Err(builder.problems);
    }
    let matcher = Matcher::new(table.routes.iter().map(|route| &route.pattern));
    Ok(Engine { inner: Arc::new(Inner { table, matcher, routes, shared }) })
}

fn shared(table: &Table, registry: &Registry, resources: &Resources) -> Shared {
    Shared {
        evaluator: Evaluator::new(),
        outbox: resources.outbox.clone(),
        states: registry.states().clone(),
        health: resources.health.clone(),
        worker: Arc::clone(&resources.worker),
        timeout: table.delivery.timeout,
        max_attempts: table.delivery.max_attempts.max(1),
        order_by: table.delivery.order_by.clone(),
    }
}

/// Collects problems while it makes steps and handlers: what is broken is left out.
struct Builder<'a> {
    registry: &'a Registry,
    problems: Vec<Problem>,
}

impl Builder<'_> {
    fn route(&mut self, index: usize, route: &table::Route, shared: &Arc<Shared>) -> Arc<Compiled> {
        let field = format!("spec.routes[{index}]");
        let steps = route.middleware.iter().enumerate();
        let steps = steps
            .filter_map(|(at, step)| self.step(&format!("{field}.middleware[{at}]"), step))
            .collect();
        let handlers = route.handlers.iter().enumerate();
        let handlers = handlers
            .filter_map(|(at, it)| {
                let action = self.action(&format!("{field}.handlers[{at}]"), &it.action)?;
                Some(handler::Compiled::new(at, it, action))
            })
            .collect();
        Arc::new(Compiled {
            info: Arc::new(RouteInfo::new(index, route)),
            steps,
            handlers,
            dead_letter: route.dead_letter.clone(),
            shared: Arc::clone(shared),
            counters: RouteCounters::default(),
        })
    }

    fn step(&mut self, field: &str, step: &table::Middleware) -> Option<Step> {
        match step {
            table::Middleware::Log { level, payload } => {
                Some(Step::Log(Log::new(*level, *payload)))
            }
            table::Middleware::Filter(expression) => Some(Step::Filter(expression.clone())),
            table::Middleware::Timeout(limit) => Some(Step::Around(Around::Timeout(*limit))),
            table::Middleware::Custom { name, config } => {
                let Some(middleware) = self.registry.find_middleware(name) else {
                    let known = self.registry.middleware_names();
                    let problem = unknown("middleware", name, known);
                    return self.refuse(format!("{field}.custom.name"), problem);
                };
                let config = config.clone().into_iter().collect();
                Some(Step::Around(Around::Custom {
                    middleware: Arc::clone(middleware),
                    config: Arc::new(serde_json::Value::Object(config)),
                }))
            }
            _ => self.refuse(field, "this middleware is not available yet"),
        }
    }

    fn action(&mut self, field: &str, action: &table::Action) -> Option<Action> {
        match action {
            table::Action::Log { level, message } => {
                Some(Action::Log(handler::Log::new(*level, message.clone())))
            }
            table::Action::Publish(publish) => {
                Some(Action::Publish(handler::Publish::new(publish.clone())))
            }
            table::Action::Reply { payload, fallback_topic, user_properties } => {
                Some(Action::Reply(handler::Reply::new(
                    payload.clone(),
                    fallback_topic.clone(),
                    user_properties.clone(),
                )))
            }
            table::Action::Custom { name, config } => self.custom(field, name, config),
            table::Action::Insert(_) | table::Action::Statement(_) => self.refuse(
                format!("{field}.sql"),
                "no database is configured: set DATABASE_URL, or spec.database.urlSecretRef",
            ),
            table::Action::Http(_) => self.refuse(
                format!("{field}.http"),
                "this worker cannot call HTTP services yet: use a custom handler",
            ),
        }
    }

    fn custom(
        &mut self,
        field: &str,
        name: &str,
        config: &std::collections::BTreeMap<String, serde_json::Value>,
    ) -> Option<Action> {
        let field = format!("{field}.custom.name");
        let Some(handler) = self.registry.find_handler(name) else {
            return self.refuse(field, unknown("handler", name, self.registry.handler_names()));
        };
        let missing = handler.missing(self.registry.states());
        if !missing.is_empty() {
            let words = format!(
                "handler {name:?} asks for state that is not registered: {}; add .state(…) for it",
                missing.join(", ")
            );
            return self.refuse(field, words);
        }
        Some(Action::Custom(Custom::new(Arc::clone(handler), config)))
    }

    fn refuse<T>(&mut self, field: impl Into<String>, message: impl Into<String>) -> Option<T> {
        self.problems.push(Problem::new(field, message));
        None
    }
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.collect();
    let known = if known.is_empty() {
        "this worker registers none; build a worker image that does".to_owned()
    } else {
        format!("this worker registers {}", known.join(", "))
    };
    format!("no {what} {name:?} is registered: {known}")
}
