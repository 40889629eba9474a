//! What Kubernetes would refuse of the worker pods, said before a Deployment is written.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity,
};

use super::field::Problems;
use crate::{quantity, v1alpha1::WorkerPod};

/// The longest label value, and the longest name after the slash of a key.
const LABEL: usize = 63;
/// The longest prefix of a key.
const PREFIX: usize = 253;

pub(super) fn check(worker: Option<&WorkerPod>, problems: &mut Problems) {
    let Some(worker) = worker else { return };
    check_labels("spec.worker.nodeSelector", &worker.node_selector, problems);
    check_labels("spec.worker.podLabels", &worker.pod_labels, problems);
    for key in worker.pod_annotations.keys() {
        check_key("spec.worker.podAnnotations", key, problems);
    }
    if let Some(resources) = &worker.resources {
        check_resources(resources, problems);
    }
}

fn check_labels(field: &str, labels: &BTreeMap<String, String>, problems: &mut Problems) {
    for (key, value) in labels {
        check_key(field, key, problems);
        if !value.is_empty() && !is_label(value) {
            problems.add(
                format!("{field}.{key}"),
                format!("{} is no label value; write at most {LABEL} letters, digits, \"-\", \"_\" and \".\", with a letter or digit first and last", shown(value)),
            );
        }
    }
}

fn check_key(field: &str, key: &str, problems: &mut Problems) {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if !is_label(name) || prefix.is_some_and(|prefix| !is_domain(prefix)) {
        problems.add(
            format!("{field}.{key}"),
            format!("{} is no key; write a name of at most {LABEL} letters, digits, \"-\", \"_\" and \".\", after a domain and a slash if it has one, as in example.com/team", shown(key)),
        );
    }
}

/// Of limited length, so that a message stays one.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(LABEL + 1).collect();
    if short == text { format!("\"{text}\"") } else { format!("\"{short}…\"") }
}

fn is_label(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= LABEL
        && ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn is_domain(text: &str) -> bool {
    let is_part = |part: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(inner)
            && part.ends_with(inner)
            && part.chars().all(|c| inner(c) || c == '-')
    };
    text.len() <= PREFIX && text.split('.').all(is_part)
}

fn check_resources(resources: &ResourceRequirements, problems: &mut Problems) {
    let (limits, requests) = (resources.limits.as_ref(), resources.requests.as_ref());
    for (field, amounts) in [("requests", requests), ("limits", limits)] {
        for (name, amount) in amounts.into_iter().flatten() {
            check_amount(&format!("spec.worker.resources.{field}.{name}"), amount, problems);
        }
    }
    for (name, request) in requests.into_iter().flatten() {
        let Some(limit) = limits.and_then(|limits| limits.get(name)) else { continue };
        let both = quantity::parse(&request.0).zip(quantity::parse(&limit.0));
        if both.is_some_and(|(request, limit)| request > limit) {
            problems.add(
                format!("spec.worker.resources.requests.{name}"),
                format!(
                    "\"{}\" is more than the limit \"{}\"; raise the limit or lower the request",
                    request.0, limit.0
                ),
            );
        }
    }
}

fn check_amount(field: &str, amount: &Quantity, problems: &mut Problems) {
    match quantity::parse(&amount.0) {
        Some(value) if value < 0.0 => {
            problems.add(field, format!("{} is negative; write 0 or more", shown(&amount.0)));
        }
        Some(_) => {}
        None => problems.add(
            field,
            format!(
                "{} is no quantity; write a number and a unit such as 500m, 64Mi or 2",
                shown(&amount.0)
            ),
        ),
    }
}
