//! Whose a live object with a child's name is. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use routemq_crds::v1alpha1::MqttRoute;

use crate::names;

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// The MqttRoute's own, though somebody may have taken marks of it away.
    Ours,
    /// Of a deleted MqttRoute of the same name: the cluster's garbage collection has yet to take it.
    Predecessors,
    /// Somebody else's.
    Foreign,
}

/// Compares a live object with the one that would be written.
///
/// An owner decides. Without any, what we wrote before is ours: our field manager is in its record, or it has the label and the
/// annotation that we give to this MqttRoute's children.
pub(crate) fn ownership(live: &ObjectMeta, desired: &ObjectMeta) -> Ownership {
    let owners = live.owner_references.as_deref().unwrap_or_default();
    let Some(own) = desired.owner_references.iter().flatten().next() else {
        return Ownership::Foreign;
    };
    if owners.iter().any(|owner| owner.uid == own.uid) {
        return Ownership::Ours;
    }
    match owners {
        [] if is_written_by_us(live) || has_our_marks(live, desired) => Ownership::Ours,
        [owner] if owner.kind == MqttRoute::kind(&()) && owner.name == own.name => {
            Ownership::Predecessors
        }
        _ => Ownership::Foreign,
    }
}

fn is_written_by_us(live: &ObjectMeta) -> bool {
    let mut entries = live.managed_fields.iter().flatten();
    entries.any(|entry| entry.manager.as_deref() == Some(names::FIELD_MANAGER))
}

fn has_our_marks(live: &ObjectMeta, desired: &ObjectMeta) -> bool {
    let label = |meta: &ObjectMeta| meta.labels.as_ref()?.get(names::ROUTE_LABEL).cloned();
    let annotation =
        |meta: &ObjectMeta| meta.annotations.as_ref()?.get(names::ROUTE_ANNOTATION).cloned();
    let marks = (label(desired), annotation(desired));
    marks.0.is_some() && marks.1.is_some() && marks == (label(live), annotation(live))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        Ownership::{Foreign, Ours, Predecessors},
        *,
    };

    fn meta(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    fn owner(kind: &str, uid: &str) -> Value {
        json!([{"apiVersion": "x/v1", "kind": kind, "name": "devices", "uid": uid}])
    }

    #[test]
    fn an_object_is_ours_by_its_owner_or_by_what_we_left_on_it() {
        let marks = json!({"routemq.io/route": "devices"});
        let notes = json!({"routemq.io/route-name": "devices"});
        let desired = meta(
            json!({"labels": marks, "annotations": notes, "ownerReferences": owner("MqttRoute", "1")}),
        );
        let ours = json!([{"manager": "routemq-operator"}]);
        let rows = [
            ("our owner", json!({"ownerReferences": owner("MqttRoute", "1")}), Ours),
            ("nothing at all", json!({}), Foreign),
            ("a label alone", json!({"labels": marks}), Foreign),
            ("label and annotation", json!({"labels": marks, "annotations": notes}), Ours),
            ("our field manager", json!({"managedFields": ours}), Ours),
            (
                "another owner, with our marks",
                json!({"labels": marks, "annotations": notes, "managedFields": ours, "ownerReferences": owner("Helm", "2")}),
                Foreign,
            ),
            (
                "a deleted MqttRoute of this name",
                json!({"managedFields": ours, "ownerReferences": owner("MqttRoute", "0")}),
                Predecessors,
            ),
        ];
        for (name, live, whose) in rows {
            assert_eq!(ownership(&meta(live), &desired), whose, "{name}");
        }
    }
}
