//! From a table to an engine, or to every problem it has.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use routemq_crds::{
    expression::Expression,
    problem::Problem,
    table::{self, SchemaSource, Table},
    v1alpha1::DedupStore,
};
use serde_json::Value;

use super::{Chain, Compiled, Engine, Inner, Resources, RouteCounters, Shared, order::OrderBy};
use crate::{
    database::Database,
    eval::Evaluator,
    handler::{self, Action, custom::Custom},
    message::RouteInfo,
    middleware::{
        ApiKey, Around, Dedup, Log, RateLimit, Step, Transform, Validate, api_key::Keys,
        rate_limit, validate,
    },
    registry::Registry,
    router::Matcher,
    secrets::{Kind, SecretError},
};

type Config = BTreeMap<String, Value>;

pub(super) fn build(
    table: Table,
    registry: &Registry,
    resources: &Resources,
) -> Result<Engine, Vec<Problem>> {
    let shared = Arc::new(shared(&table, registry, resources));
    let mut builder = Builder {
        registry,
        resources,
        workers: table.worker_count,
        chains: Vec::new(),
        known: HashMap::new(),
        problems: Vec::new(),
    };
    let routes = table.routes.iter().enumerate();
    let routes = routes.map(|(index, route)| builder.route(index, route, &shared)).collect();
    let Builder { chains, problems, .. } = builder;
    if !problems.is_empty() {
        return Err(problems);
    }
    let matcher = Arc::new(Matcher::new(table.routes.iter().map(|route| &route.pattern)));
    let identifier = |route: &Arc<table::Route>| table.filters.get(route.filter);
    let identifiers = table.routes.iter().map(|it| identifier(it).map_or(0, |it| it.identifier));
    let identifiers = identifiers.collect();
    let infos = table.routes.iter().map(|route| RouteInfo::new(route)).collect();
    let table = Arc::new(table);
    let inner = Inner { table, matcher, chains, routes, infos, identifiers, shared };
    Ok(Engine { inner: Arc::new(inner) })
}

fn shared(table: &Table, registry: &Registry, resources: &Resources) -> Shared {
    Shared {
        evaluator: Evaluator::new(),
        outbox: resources.outbox.clone(),
        states: registry.states().clone(),
        health: resources.health.clone(),
        worker: Arc::clone(&resources.worker),
        journal: resources.journal.clone(),
        timeout: table.delivery.timeout,
        max_attempts: table.delivery.max_attempts.max(1),
        order_by: table.delivery.order_by.clone().map(OrderBy::new),
    }
}

/// Keys that an expression gives may be the same in several routes; a topic belongs to one.
fn is_of_one_route(step: &table::Middleware) -> bool {
    match step {
        table::Middleware::RateLimit { key, .. } => key.is_some(),
        table::Middleware::Dedup { .. } => true,
        _ => false,
    }
}

/// Collects problems while it makes steps and handlers: what is broken is left out.
struct Builder<'a> {
    registry: &'a Registry,
    resources: &'a Resources,
    workers: u32,
    chains: Vec<Chain>,
    /// Chains by where their steps stand in the table.
    known: HashMap<*const table::Middleware, u32>,
    problems: Vec<Problem>,
}

impl<'a> Builder<'a> {
    fn route(&mut self, index: usize, route: &table::Route, shared: &Shared) -> Compiled {
        let field = format!("spec.routes[{index}]");
        let chain = self.chain(&field, &route.middleware);
        let handlers = route.handlers.iter().enumerate();
        let handlers = handlers
            .filter_map(|(at, it)| {
                let field = format!("{field}.handlers[{at}]");
                let action = self.action(&field, it, &shared.evaluator)?;
                Some(handler::Compiled::new(at, it, action))
            })
            .collect();
        Compiled {
            payload: route.payload,
            chain,
            handlers,
            dead_letter: route.dead_letter.clone(),
            counters: RouteCounters::default(),
        }
    }

    /// The index of the chain for these steps. Routes that have the same steps in the table share them here, too, unless a step
    /// remembers what must not be mixed up between routes.
    fn chain(&mut self, field: &str, steps: &Arc<[table::Middleware]>) -> u32 {
        if let Some(known) = self.known.get(&steps.as_ptr()) {
            return *known;
        }
        let made = steps.iter().enumerate();
        let made =
            made.filter_map(|(at, step)| self.step(&format!("{field}.middleware[{at}]"), step));
        let chain: Chain = made.map(Arc::new).collect();
        let index = u32::try_from(self.chains.len()).unwrap_or(u32::MAX);
        self.chains.push(chain);
        if !steps.iter().any(is_of_one_route) {
            self.known.insert(steps.as_ptr(), index);
        }
        index
    }

    fn step(&mut self, field: &str, step: &table::Middleware) -> Option<Step> {
        match step {
            table::Middleware::Log { level, payload } => {
                Some(Step::Log(Log::new(*level, *payload)))
            }
            table::Middleware::ApiKey { keys, source } => {
                let keys = self.resources.secrets.watch(Kind::Secret, keys, Keys::parse);
                let keys = self.found(&format!("{field}.apiKey.secretRef"), keys)?;
                Some(Step::ApiKey(ApiKey::new(keys, source.clone())))
            }
            table::Middleware::RateLimit { limit, per, burst, key, action, scope } => {
                let share = |limit| rate_limit::share_of(limit, *scope, self.workers);
                let limit =
                    RateLimit::new(share(*limit), *per, share(*burst), key.clone(), *action);
                Some(Step::RateLimit(limit))
            }
            table::Middleware::Filter(expression) => Some(Step::Filter(expression.clone())),
            table::Middleware::Validate(schema) => self.validate(field, schema),
            table::Middleware::Transform { set, remove } => {
                Some(Step::Transform(Transform::new(set, remove)))
            }
            table::Middleware::Dedup { key, window, store } => {
                self.dedup(field, key, *window, *store)
            }
            table::Middleware::Timeout(limit) => Some(Step::Around(Around::Timeout(*limit))),
            table::Middleware::Custom { name, config } => self.around(field, name, config),
        }
    }

    fn validate(&mut self, field: &str, schema: &SchemaSource) -> Option<Step> {
        let step = match schema {
            SchemaSource::Inline(schema) => match validate::compile(schema) {
                Ok(schema) => Validate::Inline(Box::new(schema)),
                Err(error) => return self.refuse(format!("{field}.validate.schema"), error),
            },
            SchemaSource::ConfigMap(at) => {
                let schema = self.resources.secrets.watch(Kind::ConfigMap, at, validate::parse);
                Validate::Watched(self.found(&format!("{field}.validate.configMapRef"), schema)?)
            }
        };
        Some(Step::Validate(step))
    }

    fn dedup(
        &mut self,
        field: &str,
        key: &Expression,
        window: Duration,
        store: DedupStore,
    ) -> Option<Step> {
        match store {
            DedupStore::Memory => {
                Some(Step::Around(Around::Dedup(Dedup::new(key.clone(), window))))
            }
            DedupStore::Database => self.refuse(
                format!("{field}.dedup.store"),
                "this worker cannot remember keys in the database: use Memory, or a unique key and onConflict: Ignore in the sql handler",
            ),
        }
    }

    fn around(&mut self, field: &str, name: &str, config: &Config) -> Option<Step> {
        let Some(middleware) = self.registry.find_middleware(name) else {
            let problem = unknown("middleware", name, self.registry.middleware_names());
            return self.refuse(format!("{field}.custom.name"), problem);
        };
        Some(Step::Around(Around::Custom {
            middleware: Arc::clone(middleware),
            config: Arc::new(config.clone().into_iter().collect()),
        }))
    }

    fn found<T>(&mut self, field: &str, value: Result<T, SecretError>) -> Option<T> {
        value.map_err(|error| self.problems.push(Problem::new(field, error.to_string()))).ok()
    }

    fn action(
        &mut self,
        field: &str,
        it: &table::Handler,
        evaluator: &Evaluator,
    ) -> Option<Action> {
        match &it.action {
            table::Action::Log { level, message } => {
                Some(Action::Log(Box::new(handler::Log::new(*level, message.clone()))))
            }
            table::Action::Publish(publish) => Some(Action::Publish(Box::new(
                handler::Publish::new((**publish).clone(), evaluator),
            ))),
            table::Action::Reply { payload, fallback_topic, user_properties } => {
                Some(Action::Reply(Box::new(handler::Reply::new(
                    payload.clone(),
                    fallback_topic.clone(),
                    user_properties.clone(),
                ))))
            }
            table::Action::Custom { name, config } => self.custom(field, name, config),
            table::Action::Insert(insert) => {
                let database = self.database(field)?;
                Some(Action::Sql(Box::new(handler::Sql::insert(insert, database))))
            }
            table::Action::Statement(statement) => {
                let database = self.database(field)?;
                Some(Action::Sql(Box::new(handler::Sql::statement(statement, database))))
            }
            table::Action::Http(http) => {
                let keeps = it.result_name.is_some();
                Some(Action::Http(Arc::new(handler::Http::new((**http).clone(), keeps))))
            }
        }
    }

    fn database(&mut self, field: &str) -> Option<&'a Database> {
        let resources = self.resources;
        resources.database.as_ref().or_else(|| {
            self.refuse(
                format!("{field}.sql"),
                "no database is configured: set DATABASE_URL, or spec.database.urlSecretRef",
            )
        })
    }

    fn custom(&mut self, field: &str, name: &str, config: &Config) -> Option<Action> {
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
