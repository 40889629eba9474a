//! Values that are misspelt or out of range are refused before anything is installed.

use std::fs;

use routemq_tests::{ControlPlane, folder};
use serde_json::Value;

fn template(set: &str) -> Result<String, String> {
    let chart = folder("charts/routemq");
    let arguments = ["template", "probe", &*chart.to_string_lossy(), "--set", set];
    ControlPlane::shared().helm(&arguments)
}

/// The paths of all objects that the schema describes by their fields.
fn objects(schema: &Value, path: &str, found: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    found.push(path.to_owned());
    for (name, property) in properties {
        objects(property, &format!("{path}{name}."), found);
    }
}

#[test]
fn an_unknown_key_is_refused_and_named_wherever_it_stands() {
    let schema = fs::read_to_string(folder("charts/routemq/values.schema.json")).unwrap();
    let mut paths = Vec::new();
    objects(&serde_json::from_str(&schema).unwrap(), "", &mut paths);
    assert!(paths.len() >= 7, "{paths:?}");
    for path in paths {
        let refused = template(&format!("{path}unheardOf=1")).unwrap_err();
        assert!(refused.contains("unheardOf"), "{path}: {refused}");
    }
}

#[test]
fn values_out_of_range_are_refused_and_named() {
    for (set, named) in [
        ("broker.url=ftp://broker", "/broker/url"),
        ("operator.replicas=-1", "/operator/replicas"),
        ("operator.replicas=6", "/operator/replicas"),
        ("operator.logLevel=loud", "/operator/logLevel"),
        ("operator.image.pullPolicy=Sometimes", "/operator/image/pullPolicy"),
        ("watchNamespaces={Fleet}", "/watchNamespaces/0"),
        ("watchNamespaces={a,a}", "/watchNamespaces"),
        ("crds.enabled=yes", "/crds/enabled"),
    ] {
        let refused = template(set).unwrap_err();
        assert!(refused.contains(named), "{set}: {refused}");
    }
}
