use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{KeyRef, LogLevel, bounds, rules};

/// One step before the handlers: exactly one key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::of(&[rules::ONE_MIDDLEWARE])))]
pub struct Middleware {
    /// Logs each message with its outcome and time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogMiddleware>,
    /// Rejects messages without a known key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKey>,
    /// Bounds messages per time and key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Drops messages for which an expression is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// Rejects payloads that break a JSON Schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<Validate>,
    /// Sets and removes payload fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<Transform>,
    /// Drops messages whose key was seen a short while ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<Dedup>,
    /// Bounds the time of the steps after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// Middleware registered in code by the worker image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomMiddleware>,
}

/// Logs each message with its outcome and time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogMiddleware {
    /// Default `info`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// Whether the payload is logged, truncated at 1 KiB. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<bool>,
}

/// Rejects messages without a known key; the key is removed before the next step. Exactly one of `field` and `userProperty`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::of(&[rules::KEY_SOURCE])))]
pub struct ApiKey {
    /// The keys, one a line.
    pub secret_ref: KeyRef,
    /// The dotted path of the payload field that holds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::field_path")]
    pub field: Option<String>,
    /// The MQTT 5 user property that holds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::field_path")]
    pub user_property: Option<String>,
}

/// Bounds messages per time and key (a token bucket).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Messages per `perSeconds`.
    #[schemars(schema_with = "bounds::count")]
    pub limit: i32,
    /// The span of `limit`.
    #[schemars(schema_with = "bounds::window_seconds")]
    pub per_seconds: i32,
    /// Messages let through at once after a pause. Default `limit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::count")]
    pub burst: Option<i32>,
    /// CEL: each value has a bucket of its own. Default: the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::expression")]
    pub key: Option<String>,
    /// What happens beyond the limit. Default `Drop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<RateLimitAction>,
    /// Whether each worker has the whole limit or its share of it. Default `Worker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<RateLimitScope>,
}

/// What happens beyond a rate limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = bounds::forget_description)]
pub enum RateLimitAction {
    /// Acknowledged without work, counted.
    #[default]
    Drop,
    /// Waits its turn.
    Delay,
    /// Acknowledged without work, counted as rejected.
    Reject,
    /// Sent to the dead letter topic.
    DeadLetter,
}

/// Whether each worker has the whole limit or its share of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = bounds::forget_description)]
pub enum RateLimitScope {
    /// The limit holds per worker, exactly.
    #[default]
    Worker,
    /// The limit is divided by `workerCount`, at least 1 each.
    Route,
}

/// Drops messages for which an expression is false.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Filter {
    /// CEL; false means dropped, counted.
    #[schemars(schema_with = "bounds::expression")]
    pub expression: String,
}

/// Rejects payloads that break a JSON Schema. Exactly one of `schema` and `configMapRef`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::of(&[rules::SCHEMA_SOURCE])))]
pub struct Validate {
    /// The schema itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::any_object")]
    pub schema: Option<BTreeMap<String, Value>>,
    /// A ConfigMap's key that holds the schema as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<KeyRef>,
}

/// Sets and removes payload fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::of(&[rules::TRANSFORM])))]
pub struct Transform {
    /// Field to CEL expression.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bounds::expressions")]
    pub set: BTreeMap<String, String>,
    /// Fields to take away, after `set`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "bounds::field_names")]
    pub remove: Vec<String>,
}

/// Drops messages whose key was seen a short while ago.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dedup {
    /// CEL.
    #[schemars(schema_with = "bounds::expression")]
    pub key: String,
    /// How long a key is remembered. Default 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::window_seconds")]
    pub window_seconds: Option<i32>,
    /// Where keys are remembered. Default `Memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<DedupStore>,
}

/// Where dedup keys are remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = bounds::forget_description)]
pub enum DedupStore {
    /// In the worker: lost with it, not shared.
    #[default]
    Memory,
    /// In the database, shared by all workers.
    Database,
}

/// Bounds the time of the steps after it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timeout {
    /// Beyond it the message fails as transient.
    #[schemars(schema_with = "bounds::timeout_seconds")]
    pub seconds: i32,
}

/// Middleware registered in code by the worker image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CustomMiddleware {
    /// The name it is registered under.
    #[schemars(schema_with = "bounds::registered_name")]
    pub name: String,
    /// Given to it as it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::any_object")]
    pub config: Option<BTreeMap<String, Value>>,
}
