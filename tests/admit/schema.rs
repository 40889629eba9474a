//! The schema as the API server has it.

use std::{collections::BTreeSet, sync::OnceLock};

use routemq_tests::ControlPlane;
use serde_json::Value;

/// The schema of `spec`.
pub(crate) fn spec() -> &'static Value {
    static SPEC: OnceLock<Value> = OnceLock::new();
    SPEC.get_or_init(|| {
        let query = ["get", "crd", "mqttroutes.routemq.io", "--output", "json"];
        let crd = ControlPlane::shared().kubectl(&query).unwrap();
        let crd: Value = serde_json::from_str(&crd).unwrap();
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
        crd.pointer(path).expect("the definition has a schema").clone()
    })
}

/// The words of every CEL rule in it.
pub(crate) fn messages() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(spec(), &mut found);
    assert!(found.len() > 20, "{found:?}");
    found
}

fn collect(schema: &Value, found: &mut BTreeSet<String>) {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    found.extend(
        rules.map(|rule| rule["message"].as_str().expect("every rule has words").to_owned()),
    );
    let children = schema["properties"].as_object().into_iter().flatten().map(|(_, child)| child);
    for child in children.chain(schema.get("items")).chain(schema.get("additionalProperties")) {
        collect(child, found);
    }
}

/// Every place below one, by its name in the schema.
pub(crate) fn places(schema: &Value, id: &str, found: &mut BTreeSet<String>) {
    found.insert(id.to_owned());
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        places(child, &format!("{id}.{name}"), found);
    }
    for (name, suffix) in [("items", "[]"), ("additionalProperties", ".*")] {
        if let Some(child) = schema.get(name) {
            places(child, &format!("{id}{suffix}"), found);
        }
    }
}
