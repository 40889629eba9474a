//! The bounds of fields as schemas (design: "Bounds"): lengths, sizes and patterns that recur.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::rules;

/// The longest topic, filter or prefix, in characters.
const TOPIC_LENGTH: u32 = 512;
/// The longest expression, in characters.
const EXPRESSION_LENGTH: u32 = 1024;
/// The longest expression that makes a payload.
const PAYLOAD_LENGTH: u32 = 4096;
/// The longest SQL statement.
const STATEMENT_LENGTH: u32 = 8192;
/// The most entries of a map of expressions.
const MAP_SIZE: u32 = 128;

/// An enum's own words would hide those of the field, which name the default.
pub(super) fn forget_description(schema: &mut Schema) {
    schema.remove("description");
}

fn text(longest: u32) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": longest })
}

fn ruled(longest: u32, rule: rules::Rule) -> Schema {
    let mut schema = text(longest);
    schema.insert("x-kubernetes-validations".to_owned(), rules::of(&[rule]));
    schema
}

fn map_of(value: &Schema, least: u32, most: u32) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": value,
        "minProperties": least,
        "maxProperties": most,
    })
}

fn list_of(item: &Schema, most: u32) -> Schema {
    json_schema!({
        "type": "array",
        "items": item,
        "minItems": 1,
        "maxItems": most,
        "x-kubernetes-list-type": "atomic",
    })
}

fn int32(least: i32, most: i32) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": least, "maximum": most })
}

fn int64(least: i64, most: i64) -> Schema {
    json_schema!({ "type": "integer", "format": "int64", "minimum": least, "maximum": most })
}

/// The name of a group or route.
pub(super) fn name(_: &mut SchemaGenerator) -> Schema {
    ruled(63, rules::NAME)
}

/// A name that code registered.
pub(super) fn registered_name(_: &mut SchemaGenerator) -> Schema {
    text(63)
}

/// The name of another object.
pub(super) fn object_name(_: &mut SchemaGenerator) -> Schema {
    ruled(253, rules::OBJECT_NAME)
}

/// A key within a Secret or ConfigMap.
pub(super) fn data_key(_: &mut SchemaGenerator) -> Schema {
    ruled(253, rules::DATA_KEY)
}

/// What CEL can name with a dot.
pub(super) fn identifier(_: &mut SchemaGenerator) -> Schema {
    ruled(63, rules::IDENTIFIER)
}

/// An MQTT share name.
pub(super) fn share_name(_: &mut SchemaGenerator) -> Schema {
    ruled(317, rules::SHARE_NAME)
}

/// A topic pattern.
pub(super) fn topic(_: &mut SchemaGenerator) -> Schema {
    ruled(TOPIC_LENGTH, rules::TOPIC)
}

/// The levels before a group's topics.
pub(super) fn prefix(_: &mut SchemaGenerator) -> Schema {
    ruled(TOPIC_LENGTH, rules::PREFIX)
}

/// A topic to publish to.
pub(super) fn publish_topic(_: &mut SchemaGenerator) -> Schema {
    ruled(TOPIC_LENGTH, rules::PUBLISH_TOPIC)
}

/// An expression.
pub(super) fn expression(_: &mut SchemaGenerator) -> Schema {
    text(EXPRESSION_LENGTH)
}

/// An expression that makes a payload.
pub(super) fn payload_expression(_: &mut SchemaGenerator) -> Schema {
    text(PAYLOAD_LENGTH)
}

/// Names to expressions.
pub(super) fn expressions(_: &mut SchemaGenerator) -> Schema {
    map_of(&text(EXPRESSION_LENGTH), 1, MAP_SIZE)
}

/// Names to expressions that travel with a message.
pub(super) fn header_expressions(_: &mut SchemaGenerator) -> Schema {
    map_of(&text(EXPRESSION_LENGTH), 0, 32)
}

/// Names of fields.
pub(super) fn field_names(_: &mut SchemaGenerator) -> Schema {
    list_of(&text(253), MAP_SIZE)
}

/// The dotted path of a payload field.
pub(super) fn field_path(_: &mut SchemaGenerator) -> Schema {
    text(253)
}

/// A URL of the broker.
pub(super) fn broker_url(_: &mut SchemaGenerator) -> Schema {
    text(512)
}

/// A URL to call.
pub(super) fn http_url(_: &mut SchemaGenerator) -> Schema {
    text(EXPRESSION_LENGTH)
}

/// An HTTP method.
pub(super) fn http_method(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["GET", "POST", "PUT", "PATCH", "DELETE"] })
}

/// A table, maybe with its schema.
pub(super) fn table(_: &mut SchemaGenerator) -> Schema {
    ruled(127, rules::TABLE)
}

/// Columns of a unique key.
pub(super) fn columns(_: &mut SchemaGenerator) -> Schema {
    list_of(&ruled(63, rules::IDENTIFIER), 16)
}

/// An SQL statement.
pub(super) fn statement(_: &mut SchemaGenerator) -> Schema {
    text(STATEMENT_LENGTH)
}

/// Any JSON object, kept as it stands.
pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// 0, 1 or 2.
pub(super) fn qos(_: &mut SchemaGenerator) -> Schema {
    int32(0, 2)
}

/// Worker pods.
pub(super) fn worker_count(_: &mut SchemaGenerator) -> Schema {
    let mut schema = int32(0, 1000);
    schema.insert("default".to_owned(), Value::from(1));
    schema
}

/// A count of messages, rows or calls.
pub(super) fn count(_: &mut SchemaGenerator) -> Schema {
    int32(1, 1_000_000)
}

/// Rows of a batch.
pub(super) fn batch_rows(_: &mut SchemaGenerator) -> Schema {
    int32(1, 10_000)
}

/// Milliseconds that a row waits.
pub(super) fn batch_delay(_: &mut SchemaGenerator) -> Schema {
    int32(0, 60_000)
}

/// MQTT 5, 3.1.2.11.3.
pub(super) fn receive_maximum(_: &mut SchemaGenerator) -> Schema {
    int32(1, 65_535)
}

/// Handlers at once.
pub(super) fn concurrency(_: &mut SchemaGenerator) -> Schema {
    int32(1, 10_000)
}

/// Attempts of one message.
pub(super) fn attempts(_: &mut SchemaGenerator) -> Schema {
    int32(1, 100)
}

/// Seconds of one attempt: at most an hour, since a rollout waits for it.
pub(super) fn timeout_seconds(_: &mut SchemaGenerator) -> Schema {
    int32(1, 3600)
}

/// Seconds of a window: at most a day.
pub(super) fn window_seconds(_: &mut SchemaGenerator) -> Schema {
    int32(1, 86_400)
}

/// Seconds as MQTT 5 counts them: four bytes.
pub(super) fn mqtt_seconds(_: &mut SchemaGenerator) -> Schema {
    int64(0, 4_294_967_295)
}

/// Seconds after which a message is discarded.
pub(super) fn expiry_seconds(_: &mut SchemaGenerator) -> Schema {
    int64(1, 4_294_967_295)
}

/// Bytes of a payload: at most MQTT's largest packet (MQTT 5, 1.5.5).
pub(super) fn payload_bytes(_: &mut SchemaGenerator) -> Schema {
    int64(1, 268_435_455)
}

/// Levels of nesting.
pub(super) fn payload_depth(_: &mut SchemaGenerator) -> Schema {
    int32(1, 128)
}

/// An image reference; empty means the operator's.
pub(super) fn image(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "maxLength": 512 })
}

/// Labels of nodes.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    map_of(&json_schema!({ "type": "string", "maxLength": 4096 }), 0, 16)
}

/// Labels and annotations of pods.
pub(super) fn pod_labels(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = labels(generator);
    schema.insert("x-kubernetes-validations".to_owned(), rules::of(&[rules::RESERVED]));
    schema
}
