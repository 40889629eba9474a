//! The schemas that documents are judged by: ours as generated, and the little that we read of others.

use std::cell::OnceCell;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::{Value, json};

use super::kind::Kind;
use crate::definition;

/// The schemas, each made when the first object of its kind is read. Not kept beyond the reading: they are near a
/// megabyte, and a worker reads seldom.
#[derive(Default)]
pub(super) struct Schemas {
    mqtt_route: OnceCell<JSONSchemaProps>,
    secret: OnceCell<JSONSchemaProps>,
    config_map: OnceCell<JSONSchemaProps>,
}

impl Schemas {
    /// The schema of a whole object of this kind.
    pub(super) fn of(&self, kind: Kind) -> &JSONSchemaProps {
        match kind {
            Kind::MqttRoute => self.mqtt_route.get_or_init(|| whole(mqtt_route())),
            Kind::Secret => self.secret.get_or_init(|| whole(secret())),
            Kind::ConfigMap => self.config_map.get_or_init(|| whole(config_map())),
        }
    }
}

fn whole(own: Value) -> JSONSchemaProps {
    #[expect(clippy::expect_used, reason = "the three schemas are constants of this crate")]
    serde_json::from_value(with_identity(own)).expect("a schema of this crate is a schema")
}

fn mqtt_route() -> Value {
    #[expect(clippy::expect_used, reason = "the definition is plain data: strings, numbers, maps")]
    serde_json::to_value(definition::schema()).expect("a definition is plain data")
}

/// Every object has these; a CRD's schema does not repeat them.
fn with_identity(mut schema: Value) -> Value {
    schema["properties"]["apiVersion"] = json!({ "type": "string" });
    schema["properties"]["kind"] = json!({ "type": "string" });
    schema["properties"]["metadata"] = metadata();
    let required = schema["required"].as_array().into_iter().flatten().cloned();
    schema["required"] = required.chain([json!("metadata")]).collect();
    schema
}

fn metadata() -> Value {
    json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": name(253, OBJECT_NAME, "must be lower case letters, digits, dashes and dots, and each part between dots must start and end with a letter or digit"),
            "namespace": name(63, LABEL, "must be lower case letters, digits and dashes, and start and end with a letter or digit"),
            "labels": { "type": "object", "additionalProperties": label_value() },
            "annotations": { "type": "object", "additionalProperties": { "type": "string" } },
            "generateName": { "type": "string" },
            "selfLink": { "type": "string" },
            "uid": { "type": "string" },
            "resourceVersion": { "type": "string" },
            "generation": { "type": "integer" },
            "creationTimestamp": anything(),
            "deletionTimestamp": anything(),
            "deletionGracePeriodSeconds": anything(),
            "ownerReferences": { "type": "array", "items": anything() },
            "finalizers": { "type": "array", "items": { "type": "string" } },
            "managedFields": { "type": "array", "items": anything() },
        },
    })
}

const LABEL: &str = "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')";
const OBJECT_NAME: &str =
    "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$')";

fn name(longest: u32, rule: &str, message: &str) -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": longest,
        "x-kubernetes-validations": [{ "rule": rule, "message": message }],
    })
}

fn label_value() -> Value {
    json!({
        "type": "string",
        "maxLength": 63,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$')",
            "message": "must be letters, digits, dashes, underscores and dots, starting and ending with a letter or digit",
        }],
    })
}

fn anything() -> Value {
    json!({ "x-kubernetes-preserve-unknown-fields": true })
}

fn strings() -> Value {
    json!({ "type": "object", "additionalProperties": { "type": "string" } })
}

fn secret() -> Value {
    json!({
        "type": "object",
        "properties": {
            "data": strings(),
            "stringData": strings(),
            "type": { "type": "string" },
            "immutable": { "type": "boolean" },
        },
    })
}

fn config_map() -> Value {
    json!({
        "type": "object",
        "properties": {
            "data": strings(),
            "binaryData": strings(),
            "immutable": { "type": "boolean" },
        },
    })
}
