//! Whether a live object says everything that the desired one does. Pure.
//!
//! As server-side apply sees it: fields and list entries that we do not name are not ours, and no drift.

use routemq_crds::quantity;
use serde_json::Value;

/// What tells the entries of a list apart (`x-kubernetes-list-map-keys` of the kinds that we make); other lists are one value.
const KEYS: [(&str, &[&str]); 7] = [
    ("containers", &["name"]),
    ("env", &["name"]),
    ("imagePullSecrets", &["name"]),
    ("ownerReferences", &["uid"]),
    ("ports", &["containerPort", "protocol"]),
    ("volumeMounts", &["mountPath"]),
    ("volumes", &["name"]),
];

/// Whether `live` says everything that `desired` says.
pub(crate) fn is_as(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => desired.iter().all(|(key, wanted)| {
            live.get(key).map_or_else(|| is_empty(wanted), |value| is_field_as(key, value, wanted))
        }),
        // Of one value: the order matters to Kubernetes.
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len()
                && live.iter().zip(desired).all(|(live, desired)| is_as(live, desired))
        }
        (Value::String(live), Value::String(desired)) => {
            live == desired || is_same_quantity(live, desired)
        }
        _ => live == desired,
    }
}

fn is_field_as(field: &str, live: &Value, desired: &Value) -> bool {
    let keys = KEYS.iter().find(|(list, _)| *list == field).map(|(_, keys)| *keys);
    match (keys, live, desired) {
        (Some(keys), Value::Array(live), Value::Array(desired)) => desired.iter().all(|wanted| {
            let is_it = |entry: &&Value| keys.iter().all(|key| entry.get(key) == wanted.get(key));
            live.iter().find(is_it).is_some_and(|entry| is_as(entry, wanted))
        }),
        _ => is_as(live, desired),
    }
}

/// What the API server leaves out when it is empty.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Whether two strings are the same Kubernetes quantity (`0.5` is stored as `500m`).
fn is_same_quantity(one: &str, other: &str) -> bool {
    matches!((quantity::parse(one), quantity::parse(other)), (Some(one), Some(other)) if (one - other).abs() <= one.abs() * 1e-9)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::is_as;

    #[test]
    fn defaults_of_the_api_server_are_no_drift_and_edits_are() {
        let desired = json!({"spec": {"replicas": 3, "cpu": "0.5", "empty": {}, "ports": [{"containerPort": 9090, "protocol": "TCP"}]}});
        let rows = [
            (
                "as applied",
                json!({"spec": {"replicas": 3, "cpu": "0.5", "ports": [{"containerPort": 9090, "protocol": "TCP"}]}}),
                true,
            ),
            (
                "defaulted",
                json!({"spec": {"replicas": 3, "cpu": "500m", "ports": [{"name": "x", "containerPort": 9090, "protocol": "TCP"}], "x": 1}}),
                true,
            ),
            (
                "edited",
                json!({"spec": {"replicas": 4, "cpu": "500m", "ports": [{"containerPort": 9090, "protocol": "TCP"}]}}),
                false,
            ),
            (
                "field gone",
                json!({"spec": {"cpu": "500m", "ports": [{"containerPort": 9090, "protocol": "TCP"}]}}),
                false,
            ),
        ];
        for (name, live, same) in rows {
            assert_eq!(is_as(&live, &desired), same, "{name}");
        }
    }

    #[test]
    fn entries_that_others_added_are_no_drift_where_a_list_is_a_map() {
        let desired = json!({
            "containers": [{"name": "worker", "env": [{"name": "A", "value": "1"}]}],
            "args": ["run"],
        });
        let rows = [
            (
                "a sidecar, first",
                json!({"containers": [{"name": "side"}, {"name": "worker", "env": [{"name": "A", "value": "1"}]}], "args": ["run"]}),
                true,
            ),
            (
                "an entry of ours that was edited",
                json!({"containers": [{"name": "side"}, {"name": "worker", "env": [{"name": "A", "value": "2"}]}], "args": ["run"]}),
                false,
            ),
            ("an entry of ours that is gone", json!({"containers": [], "args": ["run"]}), false),
            (
                "an argument more",
                json!({"containers": [{"name": "worker", "env": [{"name": "A", "value": "1"}]}], "args": ["run", "x"]}),
                false,
            ),
        ];
        for (name, live, same) in rows {
            assert_eq!(is_as(&live, &desired), same, "{name}");
        }
    }
}
