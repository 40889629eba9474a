//! The route table: a spec with every default filled in, every name resolved, every pattern and
//! expression compiled. Immutable; a change of the spec makes a new one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    expression::Expression,
    template::TopicTemplate,
    topic::Pattern,
    v1alpha1::{
        self, DedupStore, KeyRef, LogLevel, OnConflict, PayloadFormat, RateLimitAction,
        RateLimitScope, SessionKind,
    },
};

/// Annotation that names what a table makes workers do: another one where routes, delivery or connections differ, the same one where only
/// their number does. The operator writes it into the mounted table, workers report it back.
pub const REVISION: &str = "routemq.io/revision";

/// Everything a worker needs to know of one `MqttRoute`.
#[derive(Clone, Debug)]
pub struct Table {
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// `metadata.generation`, where the object came from an API server.
    pub generation: Option<i64>,
    /// The annotation [`REVISION`], where the object came through the operator.
    pub revision: Option<String>,
    /// The MQTT share name; `None` means a plain subscription (`shared: false`).
    pub share: Option<String>,
    /// Whether `share` was given in the spec (false: it is the default `<namespace>.<name>`).
    pub share_is_explicit: bool,
    /// Workers, 0–1000.
    pub worker_count: u32,
    /// Workers stop, sessions stay.
    pub paused: bool,
    /// The broker as written; what is missing comes from the environment or the operator.
    pub broker: v1alpha1::Broker,
    /// Where the database URL is; `None`: the environment's.
    pub database: Option<KeyRef>,
    /// Delivery with its defaults.
    pub delivery: Delivery,
    /// The routes, in the order of the spec.
    pub routes: Vec<Arc<Route>>,
    /// The distinct filters of the routes, sorted: what is subscribed to.
    pub filters: Vec<Filter>,
}

/// One MQTT subscription: a filter that one or more routes are matched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The filter without `$share/<name>/`.
    pub filter: String,
    /// The subscription identifier, 1–268,435,455 (MQTT 3.8.2.1.2), derived from the filter: the same in every table.
    pub identifier: u32,
    /// The highest QoS of the routes that use it.
    pub qos: u8,
    /// Whether another filter of the table can match a same topic (then copies must be told apart).
    pub overlaps: bool,
}

/// `spec.delivery` with its defaults.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Durable or ephemeral.
    pub session: SessionKind,
    /// How long the broker keeps a disconnected session.
    pub session_expiry: Duration,
    /// 1–65,535.
    pub receive_maximum: u16,
    /// Handlers at work per worker, ≥ 1.
    pub concurrency: usize,
    /// `None`: the topic.
    pub order_by: Option<Expression>,
    /// Of one attempt of one handler.
    pub timeout: Duration,
    /// ≥ 1.
    pub max_attempts: u32,
    /// `None`: dropped and counted. May use every param that all routes have, and `{route}`.
    pub dead_letter: Option<String>,
}

/// One route, ready to run.
#[derive(Clone, Debug)]
pub struct Route {
    /// The route's name.
    pub name: Arc<str>,
    /// Prefixes and topic joined.
    pub pattern: Pattern,
    /// Index into [`Table::filters`].
    pub filter: usize,
    /// 0, 1 or 2.
    pub qos: u8,
    /// How the payload is read.
    pub payload: PayloadRules,
    /// Groups' outer to inner, then the route's own. Routes with the same steps share them, where the compiler has seen it.
    pub middleware: Arc<[Middleware]>,
    /// In order.
    pub handlers: Vec<Handler>,
    /// The delivery's dead letter topic, resolved against this route's params.
    pub dead_letter: Option<TopicTemplate>,
}

/// How a payload is read, and its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadRules {
    /// Auto, JSON, …
    pub format: PayloadFormat,
    /// Bytes.
    pub max_bytes: usize,
    /// Levels of nesting.
    pub max_depth: usize,
}

/// One step before the handlers.
#[derive(Clone, Debug, PartialEq)]
pub enum Middleware {
    /// Logs each message with its outcome and time.
    Log {
        /// At which level.
        level: LogLevel,
        /// With the payload, truncated.
        payload: bool,
    },
    /// Rejects messages without a known key.
    ApiKey {
        /// The keys, one a line.
        keys: KeyRef,
        /// Where a message has its key.
        source: KeySource,
    },
    /// Bounds messages per time and key.
    RateLimit {
        /// Messages per `per`, ≥ 1.
        limit: u32,
        /// ≥ 1 s.
        per: Duration,
        /// Messages let through at once after a pause, ≥ 1.
        burst: u32,
        /// `None`: the topic.
        key: Option<Expression>,
        /// What happens beyond the limit.
        action: RateLimitAction,
        /// Whether each worker has the whole limit or its share.
        scope: RateLimitScope,
    },
    /// Drops messages for which it is false.
    Filter(Expression),
    /// Rejects payloads that break a JSON Schema.
    Validate(SchemaSource),
    /// Sets and removes payload fields.
    Transform {
        /// Field to value, sorted by field.
        set: Vec<(String, Expression)>,
        /// Fields taken away after `set`.
        remove: Vec<String>,
    },
    /// Drops messages whose key was seen within the window.
    Dedup {
        /// What makes two messages the same.
        key: Expression,
        /// How long a key is remembered, ≥ 1 s.
        window: Duration,
        /// Where.
        store: DedupStore,
    },
    /// Bounds the time of the steps after it.
    Timeout(Duration),
    /// Registered in code.
    Custom {
        /// What it is registered as.
        name: String,
        /// Given to it as it stands.
        config: BTreeMap<String, Value>,
    },
}

impl Middleware {
    /// Whether it names the params of its route.
    #[must_use]
    pub fn uses_params(&self) -> bool {
        match self {
            Self::RateLimit { key, .. } => key.as_ref().is_some_and(Expression::uses_params),
            Self::Filter(expression) => expression.uses_params(),
            Self::Transform { set, .. } => set.iter().any(|(_, value)| value.uses_params()),
            Self::Dedup { key, .. } => key.uses_params(),
            Self::Log { .. }
            | Self::ApiKey { .. }
            | Self::Validate(_)
            | Self::Timeout(_)
            | Self::Custom { .. } => false,
        }
    }
}

/// Where an API key is found in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A path into the payload.
    Field(Vec<String>),
    /// An MQTT 5 user property.
    UserProperty(String),
}

/// Where a JSON Schema is found.
#[derive(Clone, Debug, PartialEq)]
pub enum SchemaSource {
    /// In the spec (already checked to be a schema).
    Inline(Value),
    /// In a ConfigMap.
    ConfigMap(KeyRef),
}

/// One thing done with a message.
#[derive(Clone, Debug)]
pub struct Handler {
    /// Skipped where it is false.
    pub when: Option<Expression>,
    /// `results.NAME` of later handlers.
    pub result_name: Option<String>,
    /// What is done.
    pub action: Action,
}

/// What a handler does; boxed, so that a route that only logs takes little.
#[derive(Clone, Debug)]
pub enum Action {
    /// Writes a log line.
    Log {
        /// At which level.
        level: LogLevel,
        /// `None`: route and topic.
        message: Option<Expression>,
    },
    /// Publishes a message.
    Publish(Box<Publish>),
    /// Answers on the response topic.
    Reply {
        /// What.
        payload: Expression,
        /// Where to, for a message that names no response topic.
        fallback_topic: Option<TopicTemplate>,
        /// MQTT 5 user properties.
        user_properties: Vec<(String, Expression)>,
    },
    /// Writes a row.
    Insert(Box<Insert>),
    /// Runs a statement.
    Statement(Box<Statement>),
    /// Calls an HTTP service.
    Http(Box<Http>),
    /// Registered in code.
    Custom {
        /// What it is registered as.
        name: String,
        /// Given to it as it stands.
        config: BTreeMap<String, Value>,
    },
}

/// A message to publish.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Where to.
    pub topic: TopicTemplate,
    /// What.
    pub payload: Expression,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Kept by the broker for later subscribers.
    pub retain: bool,
    /// Discarded by the broker after.
    pub expiry: Option<Duration>,
    /// MQTT 5 user properties.
    pub user_properties: Vec<(String, Expression)>,
}

/// A row to write.
#[derive(Clone, Debug)]
pub struct Insert {
    /// `table` or `schema.table`, each a checked identifier.
    pub table: String,
    /// Sorted by name; names are checked identifiers.
    pub columns: Vec<(String, Expression)>,
    /// What happens where the key is already there.
    pub on_conflict: OnConflict,
    /// The unique key's columns.
    pub key: Vec<String>,
    /// When a batch is written.
    pub batch: Batch,
}

/// A statement to run.
#[derive(Clone, Debug)]
pub struct Statement {
    /// As written, with `:name` binds.
    pub text: String,
    /// Every `:name` of the text.
    pub binds: Vec<(String, Expression)>,
    /// When a batch is committed.
    pub batch: Batch,
}

/// When a batch is written: whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// ≥ 1.
    pub max_rows: usize,
    /// May be zero.
    pub max_delay: Duration,
}

/// An HTTP call.
#[derive(Clone, Debug)]
pub struct Http {
    /// As written, placeholders after the host.
    pub url: String,
    /// Upper case.
    pub method: String,
    /// Names are checked.
    pub headers: Vec<(String, Expression)>,
    /// `None`: the payload as it is.
    pub body: Option<Expression>,
    /// Of one attempt.
    pub timeout: Duration,
    /// Binary-mode CloudEvents headers.
    pub cloud_events: bool,
}
