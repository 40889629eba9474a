//! A tree against a schema: every field that an API server would refuse, with the place and the fix.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use serde_json::{Map, Value as Json};

use super::{
    read::Fault,
    rule::Rules,
    spelling,
    tree::{Entry, Node, Position, Value},
};
use crate::v1alpha1::rules::{RESERVED, is_told_by_compile};

mod bounds;
mod kinds;

/// Judges one object after another; remembers compiled rules.
#[derive(Default)]
pub(super) struct Walker {
    rules: Rules,
    faults: Vec<Fault>,
}

/// A value under judgement.
#[derive(Clone, Copy)]
struct Field<'a> {
    schema: &'a JSONSchemaProps,
    node: &'a Node,
    path: &'a str,
    at: Position,
}

impl Walker {
    /// The object as JSON with the schema's defaults, and what is wrong with it.
    pub(super) fn judge(&mut self, schema: &JSONSchemaProps, tree: &Node) -> (Json, Vec<Fault>) {
        let json = self.value(Field { schema, node: tree, path: "", at: tree.at });
        (json, std::mem::take(&mut self.faults))
    }

    fn value(&mut self, field: Field<'_>) -> Json {
        let before = self.faults.len();
        if let Some(message) = kinds::mismatch(field.schema, field.node) {
            self.refuse(field.path, field.at, message);
            return field.node.to_json();
        }
        let json = match &field.node.value {
            Value::Map(entries) => self.object(field, entries),
            Value::List(items) => self.list(field, items),
            _ => field.node.to_json(),
        };
        for message in bounds::broken(field.schema, &json) {
            self.refuse(field.path, field.at, message);
        }
        if self.faults.len() == before {
            self.rules(field, &json);
        }
        json
    }

    fn object(&mut self, field: Field<'_>, entries: &[Entry]) -> Json {
        let known = field.schema.properties.as_ref();
        let mut object = Map::new();
        for entry in entries {
            let child =
                known.and_then(|known| known.get(&entry.key)).or_else(|| values(field.schema));
            let json = if let Some(schema) = child {
                let path = join(field.path, &entry.key);
                let at = entry.position();
                self.value(Field { schema, node: &entry.node, path: &path, at })
            } else {
                self.unknown(field, entry);
                entry.node.to_json()
            };
            object.insert(entry.key.clone(), json);
        }
        self.required(field, &object);
        if let Some(known) = known {
            fill_defaults(known, &mut object);
        }
        Json::Object(object)
    }

    fn unknown(&mut self, field: Field<'_>, entry: &Entry) {
        if field.schema.x_kubernetes_preserve_unknown_fields == Some(true) {
            return;
        }
        let known = || field.schema.properties.iter().flat_map(BTreeMap::keys).map(String::as_str);
        let fix = match spelling::nearest(&entry.key, known()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("remove it; known here: {}", known().collect::<Vec<_>>().join(", ")),
        };
        let path = join(field.path, &entry.key);
        self.refuse(&path, entry.key_at, format!("is not a field that is known: {fix}"));
    }

    fn required(&mut self, field: Field<'_>, object: &Map<String, Json>) {
        for name in
            field.schema.required.iter().flatten().filter(|name| !object.contains_key(*name))
        {
            let path = join(field.path, name);
            self.refuse(&path, field.at, format!("is required: add {name}"));
        }
    }

    fn list(&mut self, field: Field<'_>, items: &[Node]) -> Json {
        let Some(JSONSchemaPropsOrArray::Schema(schema)) = &field.schema.items else {
            return field.node.to_json();
        };
        let json = items.iter().enumerate().map(|(index, node)| {
            let path = format!("{}[{index}]", field.path);
            self.value(Field { schema, node, path: &path, at: node.at })
        });
        let json = Json::Array(json.collect());
        self.unique_keys(field, items);
        json
    }

    /// A list that is a map: no two entries of one key.
    fn unique_keys(&mut self, field: Field<'_>, items: &[Node]) {
        for key in field.schema.x_kubernetes_list_map_keys.iter().flatten() {
            let mut first = BTreeMap::new();
            for (index, item) in items.iter().enumerate() {
                let Some(value) = item.text(key) else { continue };
                let Some(earlier) = first.get(value) else {
                    first.insert(value, index);
                    continue;
                };
                let message = format!(
                    "{value:?} is already the {key} of {}[{earlier}]: give each entry its own",
                    field.path
                );
                let at = item.entry(key).map_or(item.at, Entry::position);
                self.refuse(&format!("{}[{index}].{key}", field.path), at, message);
            }
        }
    }

    fn rules(&mut self, field: Field<'_>, json: &Json) {
        for rule in field.schema.x_kubernetes_validations.iter().flatten() {
            if is_told_by_compile(&rule.rule) {
                continue;
            }
            if let Some(message) = self.rules.refusal(rule, json) {
                self.refuse_by_rule(field, rule, &message);
            }
        }
    }

    fn refuse_by_rule(&mut self, field: Field<'_>, rule: &ValidationRule, message: &str) {
        let below = rule.field_path.as_deref().unwrap_or_default();
        let at = if below.is_empty() { field.at } else { field.node.locate(below) };
        let message = match &field.node.value {
            Value::Text(text) => format!("{text:?} {message}"),
            Value::Map(entries) => format!("{}{message}", culprit(rule, entries)),
            _ => message.to_owned(),
        };
        self.refuse(&format!("{}{below}", field.path), at, message);
    }

    fn refuse(&mut self, path: &str, at: Position, message: String) {
        self.faults.push(Fault { at, field: path.to_owned(), message });
    }
}

/// What of an object breaks a rule, where the rule itself cannot say it.
fn culprit(rule: &ValidationRule, entries: &[Entry]) -> String {
    if rule.rule == RESERVED.text {
        let reserved = entries.iter().find(|entry| entry.key.starts_with("routemq.io/"));
        return reserved.map_or_else(String::new, |entry| format!("has {:?}, and ", entry.key));
    }
    let url = (rule.field_path.as_deref() == Some(".url"))
        .then(|| entries.iter().find(|entry| entry.key == "url"))
        .flatten();
    match url.map(|entry| &entry.node.value) {
        Some(Value::Text(url)) => format!("{:?} ", place(url)),
        _ => String::new(),
    }
}

/// Scheme and host of what should be a URL: the rest may hold a password or a token.
fn place(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let (login, host) = match rest.rsplit_once('@') {
        Some((_, host)) => ("…@", host),
        None => ("", rest),
    };
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}{login}{host}")
}

/// The schema of a map's values.
fn values(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(values),
        _ => None,
    }
}

fn fill_defaults(known: &BTreeMap<String, JSONSchemaProps>, object: &mut Map<String, Json>) {
    for (name, schema) in known {
        if let Some(default) = &schema.default {
            object.entry(name.as_str()).or_insert_with(|| default.0.clone());
        }
    }
}

/// Keys of maps that would be misread after a dot stand in brackets.
fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        _ if name.contains(['.', '[', ']', ' ', '/']) => format!("{path}[{name}]"),
        _ => format!("{path}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        for (url, shown) in [
            ("tcp://mosquitto:1883", "tcp://mosquitto:1883"),
            ("mqtt://user:pa/ss@w@mosquitto:1883/x?y", "mqtt://…@mosquitto:1883"),
            ("user:secret@mosquitto", "…@mosquitto"),
            ("ftp://example.com/hook/token?key=1#x", "ftp://example.com"),
            ("", ""),
        ] {
            assert_eq!(place(url), shown, "{url}");
        }
    }
}
