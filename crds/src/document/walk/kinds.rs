//! Types: what a field takes, what was written, and how to make the one of the other.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

use crate::document::{
    number,
    tree::{Entry, Node, Value},
};

/// Why the value is not of the schema's type.
pub(super) fn mismatch(schema: &JSONSchemaProps, node: &Node) -> Option<String> {
    let expected = expected(schema)?;
    if fits(expected, &node.value) {
        return None;
    }
    let (got, fix) = (describe(&node.value), fix(schema, expected, &node.value));
    Some(format!("expected {expected}, got {got}: {fix}"))
}

fn expected(schema: &JSONSchemaProps) -> Option<&'static str> {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return Some("an integer or a string");
    }
    Some(match schema.type_.as_deref()? {
        "string" => "a string",
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "a boolean",
        "array" => "a list",
        "object" => "an object",
        _ => return None,
    })
}

fn fits(expected: &str, value: &Value) -> bool {
    match value {
        Value::Text(_) => matches!(expected, "a string" | "an integer or a string"),
        Value::Number { number, .. } if number.is_f64() => expected == "a number",
        Value::Number { .. } => {
            matches!(expected, "an integer" | "a number" | "an integer or a string")
        }
        Value::Bool { .. } => expected == "a boolean",
        Value::List(_) => expected == "a list",
        Value::Map(_) => expected == "an object",
        Value::Null => false,
        Value::Refused => true,
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null | Value::Refused => "nothing".to_owned(),
        Value::Bool { value, written } if *written == value.to_string() => {
            format!("the boolean {value}")
        }
        Value::Bool { value, written } => {
            format!("the boolean {value} (so YAML reads an unquoted {written})")
        }
        Value::Number { written, .. } => format!("the number {written}"),
        Value::Text(text) => format!("the string {text:?}"),
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Map(_) => "an object".to_owned(),
    }
}

fn fix(schema: &JSONSchemaProps, expected: &str, value: &Value) -> String {
    match (expected, value) {
        ("an object", _) => object_fix(schema),
        (_, Value::Null) => "write a value after the colon, or remove the field".to_owned(),
        (
            "a string" | "an integer or a string",
            Value::Bool { written, .. } | Value::Number { written, .. },
        ) => {
            format!("quote it, {written:?}")
        }
        ("a string", Value::Map(entries)) if is_placeholder(entries) => {
            "quote it: an unquoted brace starts an object in YAML".to_owned()
        }
        ("a string", _) => "write one text".to_owned(),
        ("an integer", Value::Text(text)) if number::number(text).is_some_and(|n| !n.is_f64()) => {
            "write it without quotes".to_owned()
        }
        ("an integer", _) => "write a whole number".to_owned(),
        ("a number", _) => "write a number".to_owned(),
        ("a boolean", _) => "write true or false, without quotes".to_owned(),
        _ => "write a list, a line with a dash for each entry".to_owned(),
    }
}

fn object_fix(schema: &JSONSchemaProps) -> String {
    let required: Vec<_> =
        schema.required.iter().flatten().map(|name| format!("{name}: …")).collect();
    match required.as_slice() {
        [] => "write its fields below it, or {} for none".to_owned(),
        _ => format!("write {{{}}}", required.join(", ")),
    }
}

/// `{device_id}` without quotes is an object with one key and no value.
fn is_placeholder(entries: &[Entry]) -> bool {
    matches!(entries, [entry] if entry.node.value == Value::Null)
}
