use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{LogLevel, bounds, rules};

/// One thing done with a message: exactly one of the handler keys, and optionally `when` and `as`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::of(&[rules::ONE_HANDLER])))]
pub struct Handler {
    /// CEL: the handler is skipped where it is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::expression")]
    pub when: Option<String>,
    /// Gives later handlers of the same message `results.NAME`.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::identifier")]
    pub result_name: Option<String>,
    /// Writes a log line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogHandler>,
    /// Publishes a message, confirmed by PUBACK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<PublishHandler>,
    /// Answers on the message's MQTT 5 response topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<ReplyHandler>,
    /// Writes a row or runs a statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlHandler>,
    /// Calls an HTTP service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpHandler>,
    /// A handler registered in code by the worker image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomHandler>,
}

/// Writes a log line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogHandler {
    /// Default `info`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// CEL: what is logged. Default: route and topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::expression")]
    pub message: Option<String>,
}

/// Publishes a message, confirmed by PUBACK before the next handler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublishHandler {
    /// The topic; `{param}` stands for a param's value.
    #[schemars(schema_with = "bounds::publish_topic")]
    pub topic: String,
    /// CEL: a map or list becomes JSON; a string or bytes as they are.
    #[schemars(schema_with = "bounds::payload_expression")]
    pub payload: String,
    /// Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::qos")]
    pub qos: Option<i32>,
    /// Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain: Option<bool>,
    /// The broker discards it after this many seconds. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::expiry_seconds")]
    pub expiry_seconds: Option<i64>,
    /// Name to CEL expression.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bounds::header_expressions")]
    pub user_properties: BTreeMap<String, String>,
}

/// Answers on the message's MQTT 5 response topic, with its correlation data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplyHandler {
    /// CEL, as in `publish`.
    #[schemars(schema_with = "bounds::payload_expression")]
    pub payload: String,
    /// Where the answer goes if the message names no response topic; without it that is a no-op, counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::publish_topic")]
    pub fallback_topic: Option<String>,
    /// Name to CEL expression.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bounds::header_expressions")]
    pub user_properties: BTreeMap<String, String>,
}

/// Writes a row (`table` and `columns`) or runs a `statement` with `binds`. Values are bound, never concatenated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::of(&[rules::SQL_FORM, rules::SQL_COLUMNS, rules::SQL_STATEMENT, rules::SQL_BINDS, rules::SQL_KEY])))]
pub struct SqlHandler {
    /// The table, optionally with its schema before a dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::table")]
    pub table: Option<String>,
    /// Column to CEL expression.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bounds::expressions")]
    pub columns: BTreeMap<String, String>,
    /// What happens where the key is already there. Default `Error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_conflict: Option<OnConflict>,
    /// The columns of the unique key that `onConflict` speaks of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "bounds::columns")]
    pub key: Vec<String>,
    /// A statement with `:name` for each bind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::statement")]
    pub statement: Option<String>,
    /// Bind to CEL expression.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bounds::expressions")]
    pub binds: BTreeMap<String, String>,
    /// Rows of one INSERT at most. Default 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::batch_rows")]
    pub max_batch_rows: Option<i32>,
    /// How long a row waits for others. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::batch_delay")]
    pub max_batch_delay_milliseconds: Option<i32>,
}

/// What happens where a row's key is already in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = bounds::forget_description)]
pub enum OnConflict {
    /// A permanent error.
    #[default]
    Error,
    /// The row that is there stays; done.
    Ignore,
    /// The row that is there takes the new values of the other columns.
    Update,
}

/// Calls an HTTP service: 2xx done; 408, 425, 429 and 5xx retried; other 4xx permanent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::of(&[rules::HTTP_URL])))]
pub struct HttpHandler {
    /// `http://` or `https://`; `{param}` may stand after the host only.
    #[schemars(schema_with = "bounds::http_url")]
    pub url: String,
    /// Default `POST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::http_method")]
    pub method: Option<String>,
    /// Name to CEL expression.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bounds::header_expressions")]
    pub headers: BTreeMap<String, String>,
    /// CEL. Default: the payload as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::payload_expression")]
    pub body: Option<String>,
    /// Default: the delivery's `timeoutSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::timeout_seconds")]
    pub timeout_seconds: Option<i32>,
    /// Whether the message goes as a CloudEvent in binary mode. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_events: Option<bool>,
}

/// A handler registered in code by the worker image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CustomHandler {
    /// The name it is registered under.
    #[schemars(schema_with = "bounds::registered_name")]
    pub name: String,
    /// Given to it as it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::any_object")]
    pub config: Option<BTreeMap<String, Value>>,
}
