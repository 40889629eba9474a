//! Routes written in Rust instead of YAML: the same patterns, the same engine.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use routemq_crds::{
    problem::Problem,
    table::{self, PayloadRules, Table},
    template::TopicTemplate,
    topic::{self, Pattern, RouteKey},
    v1alpha1::{Broker, PayloadFormat, SessionKind},
};
use tokio::sync::OnceCell;

use crate::{
    Engine, Outbox, Registry, Resources,
    dispatch::{Incoming, Report},
    handler::Handler,
    middleware::Middleware,
};

/// A router in code. Patterns are those of a spec's `topic`; groups nest and bring a prefix and middleware.
///
/// ```
/// use routemq_worker::{Outcome, Router, extract::{Json, Params, Publisher}, mqtt::{Outgoing, PublishError}};
///
/// #[derive(serde::Deserialize)]
/// struct Status { battery: u8 }
///
/// async fn status(
///     Params(device): Params<String>,
///     Json(status): Json<Status>,
///     publisher: Publisher,
/// ) -> Result<(), PublishError> {
///     if status.battery < 10 {
///         let topic = format!("alerts/{device}").into();
///         publisher.publish(Outgoing { topic, payload: "low".into(), ..Outgoing::default() }).await?;
///     }
///     Ok(())
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let router = Router::new().group("devices", |group| group.route("{id}/status", status));
///
/// let report = router.dispatch(("devices/7/status", r#"{"battery": 3}"#)).await?;
/// assert!(report.is_done());
/// assert_eq!(report.params, [("id".to_owned(), "7".to_owned())]);
/// assert_eq!(report.published[0].topic, "alerts/7");
/// # Ok::<(), routemq_worker::routes::RouterError>(()) }).unwrap();
/// ```
#[derive(Debug, Default)]
pub struct Router {
    registry: Registry,
    group: Group,
    max_attempts: Option<u32>,
    timeout: Option<Duration>,
    dead_letter: Option<String>,
    engine: OnceCell<Engine>,
}

/// Routes with a common prefix and common middleware.
#[derive(Debug, Default)]
pub struct Group {
    prefixes: Vec<String>,
    middleware: Vec<table::Middleware>,
    routes: Vec<Draft>,
    registry: Registry,
    count: usize,
}

#[derive(Debug)]
struct Draft {
    pattern: String,
    middleware: Vec<table::Middleware>,
    handler: String,
}

/// Why a router cannot be built: every problem, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterError {
    /// What is wrong, each with its place.
    pub problems: Vec<Problem>,
}

impl Router {
    /// A router without routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shares `value` with every handler that asks for `State<T>`.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.registry = self.registry.state(value);
        self
    }

    /// Adds a middleware for the routes and groups that are added after it.
    #[must_use]
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.group = self.group.middleware(middleware);
        self
    }

    /// Adds a route. Its name, in reports, is its whole pattern.
    #[must_use]
    pub fn route<A: 'static>(mut self, pattern: &str, handler: impl Handler<A>) -> Self {
        self.group = self.group.route(pattern, handler);
        self
    }

    /// Adds the routes of a group under `prefix`.
    #[must_use]
    pub fn group(mut self, prefix: &str, routes: impl FnOnce(Group) -> Group) -> Self {
        self.group = self.group.group(prefix, routes);
        self
    }

    /// Attempts of a handler that fails transiently. Default 5.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// The time of one attempt. Default 30 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Where messages go that cannot be handled; `{route}` stands for the route's name with `_` for what
    /// may not stand in a topic level.
    #[must_use]
    pub fn dead_letter(mut self, topic: impl Into<String>) -> Self {
        self.dead_letter = Some(topic.into());
        self
    }

    /// Handles one message without a broker; what handlers publish is in the report.
    ///
    /// # Errors
    /// Where the router cannot be built: bad or equal patterns, state that nobody registered.
    pub async fn dispatch(
        &self,
        message: impl Into<Incoming> + Send,
    ) -> Result<Report, RouterError> {
        let engine = self.engine.get_or_try_init(|| self.build(Outbox::memory())).await?;
        Ok(engine.dispatch(message).await)
    }

    /// The engine of these routes.
    ///
    /// # Errors
    /// See [`Self::dispatch`].
    pub async fn build(&self, outbox: Outbox) -> Result<Engine, RouterError> {
        let table = self.table().map_err(|problems| RouterError { problems })?;
        let registry = self.registry.clone().merged(&self.group.registry);
        let engine = Engine::build(table, &registry, Resources::new(outbox)).await;
        engine.map_err(|problems| RouterError { problems })
    }

    fn table(&self) -> Result<Table, Vec<Problem>> {
        let mut problems = Vec::new();
        let (mut routes, mut seen) = (Vec::new(), HashMap::new());
        for (index, draft) in self.group.routes.iter().enumerate() {
            match self.compile(draft).and_then(|route| distinct(route, &mut seen)) {
                Ok(route) => routes.push(Arc::new(route)),
                Err(words) => problems.push(Problem::new(format!("routes[{index}]"), words)),
            }
        }
        if problems.is_empty() { Ok(self.whole(routes)) } else { Err(problems) }
    }

    fn compile(&self, draft: &Draft) -> Result<table::Route, String> {
        let pattern = Pattern::parse(&draft.pattern).map_err(|error| error.to_string())?;
        let name = pattern.source().to_owned();
        let level = name.replace(['/', '+', '#', '{', '}'], "_");
        let dead_letter = self.dead_letter.as_deref();
        let dead_letter = dead_letter
            .map(|topic| TopicTemplate::parse(topic, &level, &pattern.params()))
            .transpose()
            .map_err(|error| error.to_string())?;
        let action = table::Action::Custom { name: draft.handler.clone(), config: BTreeMap::new() };
        Ok(table::Route {
            name: name.into(),
            filter: 0,
            qos: 1,
            payload: PayloadRules {
                format: PayloadFormat::Auto,
                max_bytes: 1024 * 1024,
                max_depth: 64,
            },
            middleware: draft.middleware.as_slice().into(),
            handlers: vec![table::Handler { when: None, result_name: None, action }],
            dead_letter,
            pattern,
        })
    }

    fn whole(&self, routes: Vec<Arc<table::Route>>) -> Table {
        Table {
            namespace: "default".to_owned(),
            name: "router".to_owned(),
            generation: None,
            revision: None,
            share: None,
            share_is_explicit: false,
            worker_count: 1,
            paused: false,
            broker: Broker::default(),
            database: None,
            delivery: self.delivery(),
            routes,
            filters: Vec::new(),
        }
    }

    fn delivery(&self) -> table::Delivery {
        table::Delivery {
            session: SessionKind::Durable,
            session_expiry: Duration::from_hours(1),
            receive_maximum: 1000,
            concurrency: 64,
            order_by: None,
            timeout: self.timeout.unwrap_or(Duration::from_secs(30)),
            max_attempts: self.max_attempts.unwrap_or(5),
            dead_letter: self.dead_letter.clone(),
        }
    }
}

/// Refuses a route that cannot be told from one of those `seen` before.
fn distinct(
    route: table::Route,
    seen: &mut HashMap<RouteKey, Arc<str>>,
) -> Result<table::Route, String> {
    match seen.entry(route.pattern.key()) {
        Entry::Occupied(other) => {
            Err(format!("{:?} matches the same topics as {:?}", route.name, other.get()))
        }
        Entry::Vacant(free) => {
            free.insert(Arc::clone(&route.name));
            Ok(route)
        }
    }
}

impl Group {
    /// Adds a middleware for the routes and groups that are added to this group after it.
    #[must_use]
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        let name = self.next_name("middleware");
        self.registry = self.registry.middleware(&name, middleware);
        self.middleware.push(table::Middleware::Custom { name, config: BTreeMap::new() });
        self
    }

    /// Adds a route.
    #[must_use]
    pub fn route<A: 'static>(mut self, pattern: &str, handler: impl Handler<A>) -> Self {
        let name = self.next_name("handler");
        self.registry = self.registry.handler(&name, handler);
        let levels = self.prefixes.iter().map(String::as_str).chain([pattern]);
        self.routes.push(Draft {
            pattern: topic::join(levels),
            middleware: self.middleware.clone(),
            handler: name,
        });
        self
    }

    /// Adds the routes of a group under `prefix`.
    #[must_use]
    pub fn group(mut self, prefix: &str, routes: impl FnOnce(Group) -> Group) -> Self {
        let (prefixes, middleware) = (self.prefixes.clone(), self.middleware.clone());
        self.prefixes.push(prefix.to_owned());
        Self { prefixes, middleware, ..routes(self) }
    }

    fn next_name(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}-{}", self.count)
    }
}

impl std::fmt::Display for RouterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<_> = self.problems.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for RouterError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        FinalOutcome, Message, Next, Outcome,
        extract::{Params, State, Topic},
        middleware::from_fn,
    };

    async fn nothing() {}

    async fn mark(mut message: Message, next: Next, letter: &'static str) -> Outcome {
        let text = message.payload().bytes().unwrap_or_default();
        message.payload_mut().set_bytes([&text[..], letter.as_bytes()].concat());
        next.run(message).await
    }

    async fn echo(
        topic: Topic,
        text: crate::extract::Text,
        out: crate::extract::Publisher,
    ) -> Result<(), routemq_mqtt::PublishError> {
        let topic = format!("echo/{}", &*topic).into();
        let payload = text.0.into();
        out.publish(routemq_mqtt::Outgoing { topic, payload, ..Default::default() }).await.map(drop)
    }

    #[tokio::test]
    async fn groups_nest_and_their_middleware_stays_inside() {
        let router = Router::new()
            .middleware(from_fn(|message, next| mark(message, next, "a")))
            .group("devices", |group| {
                group
                    .route("plain", echo)
                    .middleware(from_fn(|message, next| mark(message, next, "b")))
                    .group("admin", |admin| {
                        admin
                            .middleware(from_fn(|message, next| mark(message, next, "c")))
                            .route("{id}", echo)
                    })
                    .route("after/x", echo)
            })
            .route("outside", echo);
        for (topic, wanted) in [
            ("devices/plain", "a"),
            ("devices/admin/7", "abc"),
            ("devices/after/x", "ab"),
            ("outside", "a"),
        ] {
            let report = router.dispatch((topic, "")).await.unwrap();
            assert_eq!(report.published[0].payload, wanted, "{topic}");
        }
        assert_eq!(router.dispatch(("elsewhere", "")).await.unwrap().outcome, None);
    }

    #[tokio::test]
    async fn a_route_has_state_params_and_a_dead_letter() {
        async fn fails(State(limit): State<u32>, Params(n): Params<u32>) -> Outcome {
            if n > *limit {
                crate::Failure::permanent("TooLarge", "too large").into()
            } else {
                Outcome::Done
            }
        }
        let router =
            Router::new().state(7_u32).route("n/{n:int}", fails).dead_letter("dead/{route}");
        let report = router.dispatch(("n/7", "")).await.unwrap();
        assert_eq!((report.is_done(), report.route.as_deref()), (true, Some("n/{n:int}")));
        let report = router.dispatch(("n/8", "")).await.unwrap();
        assert_eq!(report.outcome, Some(FinalOutcome::DeadLettered("TooLarge")));
        assert_eq!(report.published[0].topic, "dead/n__n:int_");
    }

    #[tokio::test]
    async fn everything_that_is_wrong_is_told_at_once() {
        let router = Router::new()
            .route("a/#/b", nothing)
            .route("x/{p}", nothing)
            .route("x/{q}", nothing)
            .route("{a}/{a}", nothing);
        let error = router.dispatch(("x/1", "")).await.unwrap_err();
        let fields: Vec<_> = error.problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["routes[0]", "routes[2]", "routes[3]"], "{error}");
    }
}
