//! The order of the spec's fields, for problems.

/// Names that stand at several places have the same neighbours at each.
#[rustfmt::skip]
const ORDER: &[&str] = &[
    "metadata", "spec", "broker", "database", "shared", "workerCount", "shareName", "groups", "routes", "delivery", "worker",
    "name", "parent", "prefix", "group", "when", "as", "limit", "perSeconds", "burst", "table", "columns",
    "onConflict", "key", "action", "statement", "binds", "url", "method", "headers", "body", "timeoutSeconds",
    "topic", "qos", "payload", "middleware", "handlers",
    "resources", "requests", "limits", "nodeSelector", "podLabels", "podAnnotations",
];

/// Sorts as the spec is written: by field, then by index in a list, level by level.
pub(super) fn key(field: &str) -> Vec<(usize, usize)> {
    field.split('.').map(segment).collect()
}

fn segment(segment: &str) -> (usize, usize) {
    let (name, index) = segment.split_once('[').unwrap_or((segment, ""));
    let rank = ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
    (rank, index.trim_end_matches(']').parse().unwrap_or(0))
}
