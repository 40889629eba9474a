//! What a document says it is.

use super::{spelling, tree::Node};

/// The kinds that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    MqttRoute,
    Secret,
    ConfigMap,
}

/// What to do with a document.
pub(super) enum Verdict {
    Read(Kind),
    /// A `List`: its items are documents.
    Open,
    /// An object of another kind: `apiVersion kind`.
    Skip(String),
    /// The field and what is wrong with it.
    Refuse(&'static str, String),
}

const GROUP: &str = "routemq.io";
const VERSION: &str = "routemq.io/v1alpha1";
const KIND: &str = "MqttRoute";

/// Judges a document's `apiVersion` and `kind`.
pub(super) fn of(tree: &Node) -> Verdict {
    let Some(kind) = tree.text("kind") else { return missing(tree, "kind", "kind: MqttRoute") };
    let Some(version) = tree.text("apiVersion") else {
        return missing(tree, "apiVersion", "apiVersion: routemq.io/v1alpha1");
    };
    match (version, kind) {
        (VERSION, KIND) => Verdict::Read(Kind::MqttRoute),
        ("v1", "Secret") => Verdict::Read(Kind::Secret),
        ("v1", "ConfigMap") => Verdict::Read(Kind::ConfigMap),
        ("v1", "List") => Verdict::Open,
        _ => near_miss(version, kind),
    }
}

fn near_miss(version: &str, kind: &str) -> Verdict {
    let group = version.split('/').next().unwrap_or_default();
    let is_our_kind = spelling::nearest(kind, [KIND, "MqttRoutes"]).is_some();
    if group == GROUP && kind != KIND {
        return Verdict::Refuse("kind", format!("{kind:?} is no kind of {GROUP}: write {KIND}"));
    }
    if is_our_kind && kind != KIND {
        return Verdict::Refuse(
            "kind",
            format!("{kind:?} is not a kind that is known: write {KIND}"),
        );
    }
    if is_our_kind {
        let message = format!("{version:?} is not a version that is known: write {VERSION}");
        return Verdict::Refuse("apiVersion", message);
    }
    match spelling::nearest(kind, ["Secret", "ConfigMap"]) {
        Some(meant) if version == "v1" => {
            Verdict::Refuse("kind", format!("{kind:?} is no kind of v1: write {meant}"))
        }
        _ => Verdict::Skip(format!("{version} {kind}")),
    }
}

fn missing(tree: &Node, field: &'static str, example: &str) -> Verdict {
    let message = match tree.entry(field) {
        Some(_) => format!("must be a string, as in {example}"),
        None => format!("is required: add it, as in {example}"),
    };
    Verdict::Refuse(field, message)
}
