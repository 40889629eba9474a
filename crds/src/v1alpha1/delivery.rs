use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds;

/// How messages are taken, retried and given up. Defaults are stated per field; a missing field means its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Whether the broker keeps messages while a worker is away. Default `Durable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionKind>,
    /// Seconds that the broker keeps a disconnected session. Default 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::mqtt_seconds")]
    pub session_expiry_seconds: Option<i64>,
    /// Unacknowledged messages per worker: the brake, the memory bound, the most that a kill repeats. Default 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::receive_maximum")]
    pub receive_maximum: Option<i32>,
    /// Handlers at work per worker. Default 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::concurrency")]
    pub concurrency: Option<i32>,
    /// CEL: messages of the same key are handled in order within a worker. Default: the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::expression")]
    pub order_by: Option<String>,
    /// Seconds that one attempt of one handler may take. Default 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::timeout_seconds")]
    pub timeout_seconds: Option<i32>,
    /// Attempts in process, with exponential backoff and full jitter, before the dead letter. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::attempts")]
    pub max_attempts: Option<i32>,
    /// Where messages go that cannot be handled; without it they are dropped and counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetter>,
}

/// Whether the broker keeps messages while a worker is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = bounds::forget_description)]
pub enum SessionKind {
    /// Kept until `sessionExpirySeconds` after the disconnect.
    #[default]
    Durable,
    /// Lost with the connection.
    Ephemeral,
}

/// Where messages go that cannot be handled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// The topic; `{route}` and the route's params may stand in it.
    #[schemars(schema_with = "bounds::publish_topic")]
    pub topic: String,
}
