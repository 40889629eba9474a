//! Tables written by hand, for tests of single steps.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use routemq_crds::{
    expression::{Expression, Scope},
    table::{Action, Delivery, Handler, Middleware, PayloadRules, Publish, Route, Table},
    template::TopicTemplate,
    topic::Pattern,
    v1alpha1::{Broker, PayloadFormat, SessionKind},
};

use crate::{
    Engine, Message, Outbox, Recorder, Registry, Resources, Secrets, database::Database,
    dispatch::Incoming, journal::Journal,
};

/// One route and what is around it.
pub(crate) struct Bed {
    pub(crate) route: Route,
    pub(crate) registry: Registry,
    pub(crate) secrets: Secrets,
    pub(crate) database: Option<Database>,
    pub(crate) max_attempts: u32,
    pub(crate) timeout: Duration,
    pub(crate) workers: u32,
    pub(crate) order_by: Option<Expression>,
    pub(crate) journal: Journal,
}

pub(crate) fn at(source: &str) -> Expression {
    let scope = Scope { params: None, results: &["look"], ..Scope::default() };
    Expression::compile(source, &scope).unwrap_or_else(|error| panic!("{source}: {error}"))
}

pub(crate) fn rules(format: PayloadFormat) -> PayloadRules {
    PayloadRules { format, max_bytes: 1024 * 1024, max_depth: 64 }
}

pub(crate) fn handler(action: Action) -> Handler {
    Handler { when: None, result_name: None, action }
}

pub(crate) fn custom(name: &str) -> Handler {
    handler(Action::Custom { name: name.to_owned(), config: BTreeMap::new() })
}

pub(crate) fn around(name: &str) -> Middleware {
    Middleware::Custom { name: name.to_owned(), config: BTreeMap::new() }
}

/// A bed whose route has this pattern and, as yet, no handlers.
pub(crate) fn bed(pattern: &str) -> Bed {
    Bed {
        route: Route {
            name: "route".into(),
            pattern: Pattern::parse(pattern).unwrap(),
            filter: 0,
            qos: 1,
            payload: rules(PayloadFormat::Auto),
            middleware: Arc::default(),
            handlers: Vec::new(),
            dead_letter: None,
        },
        registry: Registry::new(),
        secrets: Secrets::default(),
        database: None,
        max_attempts: 3,
        timeout: Duration::from_secs(30),
        workers: 1,
        order_by: None,
        journal: Journal::default(),
    }
}

impl Bed {
    pub(crate) fn middleware(mut self, middleware: Middleware) -> Self {
        let steps = self.route.middleware.iter().cloned();
        self.route.middleware = steps.chain([middleware]).collect();
        self
    }

    pub(crate) fn handler(mut self, handler: Handler) -> Self {
        self.route.handlers.push(handler);
        self
    }

    pub(crate) fn publish(self, topic: &str, payload: &str) -> Self {
        let topic = self.template(topic);
        self.handler(handler(Action::Publish(Box::new(Publish {
            topic,
            payload: at(payload),
            qos: 1,
            retain: false,
            expiry: None,
            user_properties: Vec::new(),
        }))))
    }

    pub(crate) fn dead_letter(mut self, topic: &str) -> Self {
        self.route.dead_letter = Some(self.template(topic));
        self
    }

    pub(crate) fn database(self, database: &Database) -> Self {
        Self { database: Some(database.clone()), ..self }
    }

    pub(crate) fn registry(self, change: impl FnOnce(Registry) -> Registry) -> Self {
        Self { registry: change(self.registry), ..self }
    }

    pub(crate) fn template(&self, topic: &str) -> TopicTemplate {
        TopicTemplate::parse(topic, &self.route.name, &self.route.pattern.params()).unwrap()
    }

    pub(crate) async fn engine(self) -> (Engine, Recorder) {
        let recorder = Recorder::default();
        let engine = self.try_engine(&recorder).await;
        (engine.unwrap_or_else(|problems| panic!("{problems:?}")), recorder)
    }

    pub(crate) async fn try_engine(
        self,
        recorder: &Recorder,
    ) -> Result<Engine, Vec<routemq_crds::problem::Problem>> {
        let table = Table {
            namespace: "default".to_owned(),
            name: "test".to_owned(),
            generation: None,
            revision: None,
            share: None,
            share_is_explicit: false,
            worker_count: self.workers,
            paused: false,
            broker: Broker::default(),
            database: None,
            delivery: Delivery {
                session: SessionKind::Durable,
                session_expiry: Duration::from_hours(1),
                receive_maximum: 1000,
                concurrency: 64,
                order_by: self.order_by,
                timeout: self.timeout,
                max_attempts: self.max_attempts,
                dead_letter: None,
            },
            routes: vec![Arc::new(self.route)],
            filters: Vec::new(),
        };
        let mut resources =
            Resources::new(Outbox::Memory(recorder.clone())).with_secrets(self.secrets);
        resources.database = self.database;
        resources.journal = self.journal;
        Engine::build(table, &self.registry, resources).await
    }
}

/// A message as the engine's middleware would meet it.
pub(crate) fn admit(engine: &Engine, incoming: impl Into<Incoming>) -> Message {
    engine.admit(incoming.into().into_publish(), std::time::SystemTime::UNIX_EPOCH).unwrap()
}
