//! Names and labels of what the operator makes.
//!
//! A child's name starts with a *base* that is short enough for every suffix (also the ReplicaSet's and the pod's) and
//! for a label value, and differs for any two MqttRoutes of a namespace: where the name had to be changed or cut, a hash of the whole
//! name stands behind it.

use std::collections::BTreeMap;

/// The longest base: with `-slot-1234`, or a ReplicaSet's and a pod's suffix, still a DNS label (63).
const LONGEST: usize = 44;

/// Who applies: the one field manager of every server-side apply.
pub const FIELD_MANAGER: &str = "routemq-operator";

/// Label that names the MqttRoute (by its base) on every child; the selector of its pods.
pub const ROUTE_LABEL: &str = "routemq.io/route";

/// Annotation that tells the whole name of the MqttRoute.
pub const ROUTE_ANNOTATION: &str = "routemq.io/route-name";

/// Annotation by which the operator asks that a slot be drained and ended.
pub const RETIRE_ANNOTATION: &str = "routemq.io/retire";

/// Annotation in which a worker reports, on the Lease of its slot.
pub const REPORT_ANNOTATION: &str = "routemq.io/report";

/// The base of all child names of the MqttRoute called `name`.
#[must_use]
pub fn base(name: &str) -> String {
    let plain = name.replace('.', "-");
    if plain == name && plain.len() <= LONGEST {
        return plain;
    }
    let cut = plain.get(..plain.len().min(LONGEST - 9)).unwrap_or(&plain);
    format!("{}-{:08x}", cut.trim_end_matches('-'), fold(stable_hash(name.as_bytes())))
}

/// The Deployment, ServiceAccount, Role, RoleBinding, ConfigMap and PodDisruptionBudget.
#[must_use]
pub fn worker(name: &str) -> String {
    format!("{}-worker", base(name))
}

/// The Lease of one slot.
#[must_use]
pub fn slot(name: &str, index: u32) -> String {
    format!("{}-slot-{index}", base(name))
}

/// The index of a slot's Lease, if it is one of this MqttRoute.
#[must_use]
pub fn slot_index(name: &str, lease: &str) -> Option<u32> {
    lease.strip_prefix(&base(name))?.strip_prefix("-slot-")?.parse().ok()
}

/// What selects the worker pods: never changes for a name, since a Deployment's selector cannot.
#[must_use]
pub fn selector(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), "routemq-worker".to_owned()),
        (ROUTE_LABEL.to_owned(), base(name)),
    ])
}

/// Labels of every child (the recommended ones of Kubernetes, and ours).
#[must_use]
pub fn labels(name: &str) -> BTreeMap<String, String> {
    let mut labels = selector(name);
    labels.insert("app.kubernetes.io/instance".to_owned(), base(name));
    labels.insert("app.kubernetes.io/component".to_owned(), "worker".to_owned());
    labels.insert("app.kubernetes.io/part-of".to_owned(), "routemq".to_owned());
    labels.insert("app.kubernetes.io/managed-by".to_owned(), "routemq-operator".to_owned());
    labels
}

/// Whether users may not set this label or annotation on worker pods.
#[must_use]
pub fn is_reserved(key: &str) -> bool {
    key.starts_with("routemq.io/") || key.starts_with("app.kubernetes.io/")
}

/// 64-bit FNV-1a: stable for ever, unlike the standard library's hashers.
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Both halves of a hash in 32 bits.
fn fold(hash: u64) -> u64 {
    (hash >> 32) ^ (hash & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_plain_name_stays_as_it_is() {
        assert_eq!(worker("devices"), "devices-worker");
        assert_eq!(slot("devices", 3), "devices-slot-3");
    }

    #[test]
    fn every_child_name_of_the_longest_name_is_a_dns_label() {
        let name = format!("{}.{}", "a".repeat(126), "b".repeat(126));
        for child in [worker(&name), slot(&name, 9999), base(&name)] {
            assert!(child.len() <= 63 && !child.contains('.'), "{child}");
        }
    }

    #[test]
    fn names_that_are_cut_alike_or_differ_by_a_dot_keep_distinct_children() {
        let long = "x".repeat(200);
        let names = [format!("{long}a"), format!("{long}b"), "a.b".to_owned(), "a-b".to_owned()];
        let mut workers: Vec<_> = names.iter().map(|name| worker(name)).collect();
        workers.sort();
        workers.dedup();
        assert_eq!(workers.len(), names.len());
    }

    #[test]
    fn a_cut_never_ends_in_two_hyphens() {
        assert!(!base(&format!("{}.{}", "a".repeat(34), "b".repeat(40))).contains("--"));
    }

    #[test]
    fn a_slot_is_recognised_only_by_its_own_route() {
        assert_eq!(slot_index("devices", "devices-slot-12"), Some(12));
        assert_eq!(slot_index("devices", "devices-slot-x"), None);
        assert_eq!(slot_index("dev", "devices-slot-1"), None);
    }
}
