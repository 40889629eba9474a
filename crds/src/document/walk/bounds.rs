//! Ranges, lengths, sizes and enums.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::Value as Json;

use crate::document::spelling;

/// What of the schema's bounds the value breaks.
pub(super) fn broken(schema: &JSONSchemaProps, value: &Json) -> Vec<String> {
    let found = match value {
        Json::Number(number) => range(schema, number.as_f64().unwrap_or(f64::MAX), value),
        Json::String(text) => length(schema, text),
        Json::Array(items) => {
            size(items.len(), schema.min_items, schema.max_items, "entry", "entries")
        }
        Json::Object(fields) => {
            size(fields.len(), schema.min_properties, schema.max_properties, "key", "keys")
        }
        Json::Null | Json::Bool(_) => None,
    };
    found.into_iter().chain(choice(schema, value)).collect()
}

fn range(schema: &JSONSchemaProps, number: f64, value: &Json) -> Option<String> {
    let below = schema.minimum.is_some_and(|least| number < least);
    let above = schema.maximum.is_some_and(|most| number > most);
    let fix = match (schema.minimum, schema.maximum) {
        (Some(least), Some(most)) => format!("write {least} to {most}"),
        (Some(least), None) => format!("write at least {least}"),
        (None, Some(most)) => format!("write at most {most}"),
        (None, None) => return None,
    };
    (below || above).then(|| format!("{value} is out of range: {fix}"))
}

fn length(schema: &JSONSchemaProps, text: &str) -> Option<String> {
    let characters = count(text.chars().count());
    match (schema.min_length, schema.max_length) {
        (Some(least), _) if characters < least => {
            Some("is empty: write at least one character".to_owned())
        }
        (_, Some(most)) if characters > most => {
            let start = start_of(text);
            Some(format!(
                "{start}has {characters} characters, at most {most} are allowed: shorten it"
            ))
        }
        _ => None,
    }
}

/// How a long text begins; nothing of a URL, which may hold a password.
fn start_of(text: &str) -> String {
    if text.contains("://") {
        return String::new();
    }
    let start: String = text.chars().take(20).collect();
    format!("{:?} ", start + "…")
}

fn size(
    length: usize,
    least: Option<i64>,
    most: Option<i64>,
    one: &str,
    many: &str,
) -> Option<String> {
    let length = count(length);
    match (least, most) {
        (Some(least), _) if length < least => Some(format!("is empty: add at least {least} {one}")),
        (_, Some(most)) if length > most => {
            Some(format!("has {length} {many}, at most {most} are allowed: remove some"))
        }
        _ => None,
    }
}

fn choice(schema: &JSONSchemaProps, value: &Json) -> Option<String> {
    let allowed = schema.enum_.as_ref()?.iter().filter_map(|allowed| allowed.0.as_str());
    let allowed: Vec<&str> = allowed.collect();
    let text = value.as_str()?;
    if allowed.contains(&text) {
        return None;
    }
    let all = allowed.join(", ");
    Some(match spelling::nearest(text, allowed) {
        Some(meant) => format!("{text:?} is not one of {all}: did you mean {meant}?"),
        None => format!("{text:?} is not one of {all}: write one of them"),
    })
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
