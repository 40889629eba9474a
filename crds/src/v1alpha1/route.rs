use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Handler, Middleware, bounds};

/// A topic pattern and what happens to the messages that match it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The route's name: the label of its metrics, and `{route}` in dead letter topics.
    #[schemars(schema_with = "bounds::name")]
    pub name: String,
    /// The group whose prefix and middleware apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::name")]
    pub group: Option<String>,
    /// The topic pattern: literal levels, `{param}`, `{param:int}`, `{rest...}`, `+`, `#`.
    #[schemars(schema_with = "bounds::topic")]
    pub topic: String,
    /// The highest quality of service that the broker may deliver with. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::qos")]
    pub qos: Option<i32>,
    /// How the payload is read, and its bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// Steps before the handlers, after the group's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub middleware: Vec<Middleware>,
    /// What is done with the message, in order; it is acknowledged after the last.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub handlers: Vec<Handler>,
}

/// How a payload is read, and its bounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    /// Default `Auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<PayloadFormat>,
    /// Larger payloads are a permanent error. Default 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::payload_bytes")]
    pub max_bytes: Option<i64>,
    /// Deeper nesting is a permanent error. Default 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounds::payload_depth")]
    pub max_depth: Option<i32>,
}

/// How a payload is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = bounds::forget_description)]
pub enum PayloadFormat {
    /// JSON if it parses as such, else text if it is UTF-8, else bytes.
    #[default]
    Auto,
    /// JSON, or a permanent error.
    Json,
    /// UTF-8 text, or a permanent error.
    Text,
    /// Bytes as they are.
    Raw,
    /// CBOR, or a permanent error.
    Cbor,
    /// `MessagePack`, or a permanent error.
    MessagePack,
}
