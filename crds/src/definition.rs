//! The CustomResourceDefinition, as it is applied: generated from the types, the same bytes every time.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::Value;

use crate::v1alpha1::MqttRoute;

const HEADER: &str = "# Generated from crds/src/v1alpha1; `cargo run -p routemq-crds --example generate` writes it anew.\n";

/// The definition of `mqttroutes.routemq.io`.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let mut crd = MqttRoute::crd();
    for version in &mut crd.spec.versions {
        if let Some(root) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
            refuse_null(root);
            shorten(root);
        }
    }
    crd
}

/// The definition as YAML, for `kubectl apply`; deterministic.
#[must_use]
pub fn crd_yaml() -> String {
    format!("{HEADER}{}", body())
}

#[expect(clippy::expect_used, reason = "a definition is plain data: strings, numbers, maps")]
fn body() -> String {
    let mut definition = serde_json::to_value(crd()).expect("a definition is plain data");
    write_whole_numbers(&mut definition);
    serde_yaml::to_string(&definition).expect("JSON is YAML")
}

/// The types hold bounds as floats; `1` is what an API server gives back, and what people write.
fn write_whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().and_then(whole) {
                *number = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(write_whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(write_whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[expect(clippy::cast_possible_truncation, reason = "53 bits and no fraction fit an i64")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
}

/// The schema of a whole `MqttRoute`.
pub(crate) fn schema() -> JSONSchemaProps {
    let version = crd().spec.versions.into_iter().next();
    version.and_then(|v| v.schema?.open_api_v3_schema).unwrap_or_default()
}

/// A field that is left empty (`log:`) is a mistake to be told, not a value: no field is nullable.
fn refuse_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for_each_child(schema, &mut refuse_null);
}

/// Kubernetes' own types bring pages of descriptions that `kubectl explain pod` has already.
fn shorten(root: &mut JSONSchemaProps) {
    for path in [
        &["spec", "worker", "resources"][..],
        &["spec", "worker", "tolerations"],
        &["status", "conditions"],
    ] {
        let found = path
            .iter()
            .try_fold(&mut *root, |schema, name| schema.properties.as_mut()?.get_mut(*name));
        if let Some(schema) = found {
            for_each_child(schema, &mut forget_description);
        }
    }
}

fn forget_description(schema: &mut JSONSchemaProps) {
    schema.description = None;
    for_each_child(schema, &mut forget_description);
}

fn for_each_child(schema: &mut JSONSchemaProps, visit: &mut dyn FnMut(&mut JSONSchemaProps)) {
    schema.properties.iter_mut().flatten().for_each(|(_, child)| visit(child));
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        visit(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        visit(values);
    }
}
