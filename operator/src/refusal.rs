//! A failure in words for a condition: a stable reason, and a message without anything that varies.

use crate::{apply::ApplyError, reconcile::ReconcileError, slot_leases::SlotsError};

/// The most characters of an API server's own words that are repeated.
const LONGEST: usize = 1000;

/// Whether the API server gave no proper answer: asked again, it may.
#[must_use]
pub fn is_transient(error: &ReconcileError) -> bool {
    match error {
        ReconcileError::Apply(error) | ReconcileError::Slots(SlotsError::NotOurs(error)) => {
            match error {
                ApplyError::Request { source, .. } => is_no_refusal(source),
                // Gone within moments.
                ApplyError::Predecessor { .. } => true,
                ApplyError::NameConflict { .. } | ApplyError::Serialize(_) => false,
            }
        }
        ReconcileError::Slots(SlotsError::Request { source, .. })
        | ReconcileError::Request { source, .. } => is_no_refusal(source),
        ReconcileError::Build(_) => false,
    }
}

fn is_no_refusal(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 404 | 408 | 409 | 429 | 500..),
        _ => true,
    }
}

/// Reason and message.
#[must_use]
pub fn words(error: &ReconcileError) -> (&'static str, String) {
    match error {
        ReconcileError::Apply(error) | ReconcileError::Slots(SlotsError::NotOurs(error)) => {
            of_child(error)
        }
        ReconcileError::Slots(SlotsError::Request { verb, source }) => {
            (reason(source), sentence(&format!("{verb} the slots' Leases"), source))
        }
        ReconcileError::Request { what, source } => (reason(source), sentence(what, source)),
        ReconcileError::Build(error) => ("Failed", error.to_string()),
    }
}

fn of_child(error: &ApplyError) -> (&'static str, String) {
    match error {
        ApplyError::NameConflict { .. } => ("NameConflict", error.to_string()),
        ApplyError::Predecessor { .. } => ("PredecessorTerminating", error.to_string()),
        ApplyError::Request { verb, kind, name, source } => {
            (reason(source), sentence(&format!("{verb} {kind} {name}"), source))
        }
        ApplyError::Serialize(_) => ("Failed", error.to_string()),
    }
}

fn reason(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(status) if status.message.contains("exceeded quota") => "QuotaExceeded",
        kube::Error::Api(status) if status.code == 403 => "Forbidden",
        kube::Error::Api(status) if status.code >= 500 || status.code == 429 => "Unavailable",
        kube::Error::Api(_) => "Refused",
        _ => "Unreachable",
    }
}

fn sentence(what: &str, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if matches!(status.code, 429 | 500..) => {
            format!("the API server cannot {what} now ({}); it is asked again", status.reason)
        }
        kube::Error::Api(status) => {
            format!("the API server refused to {what}: {}", steady(&status.message))
        }
        _ => format!("no answer from the API server to {what}; it is asked again"),
    }
}

/// An API server's words without what differs from one refusal to the next: a pod's generated name, and what a quota has left.
#[must_use]
pub fn steady(text: &str) -> String {
    let of_a_pod =
        text.strip_prefix("pods \"").and_then(|rest| rest.split_once("\" is forbidden: "));
    let mut text = of_a_pod.map_or(text, |(_, why)| why).to_owned();
    while let Some(start) = text.find(", used: ") {
        let end = text[start..].find(", limited: ").map_or(text.len(), |length| start + length);
        text.replace_range(start..end, "");
    }
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16, message: &str) -> ReconcileError {
        let status = Status {
            code,
            message: message.to_owned(),
            reason: "R".to_owned(),
            ..Status::default()
        };
        ReconcileError::Apply(ApplyError::Request {
            verb: "apply",
            kind: "Role",
            name: "devices-worker".to_owned(),
            source: kube::Error::Api(Box::new(status)),
        })
    }

    #[test]
    fn a_refusal_is_told_in_the_api_servers_own_words() {
        let rows = [
            (
                refused(
                    403,
                    "roles \"devices-worker\" is forbidden: User \"x\" cannot patch resource \"roles\"",
                ),
                "Forbidden",
                "the API server refused to apply Role devices-worker: roles \"devices-worker\" is forbidden: User \"x\" cannot patch resource \"roles\"",
                false,
            ),
            (
                refused(
                    403,
                    "exceeded quota: q, requested: count/roles=1, used: count/roles=7, limited: count/roles=7",
                ),
                "QuotaExceeded",
                "the API server refused to apply Role devices-worker: exceeded quota: q, requested: count/roles=1, limited: count/roles=7",
                false,
            ),
            (
                refused(500, "at 12:03:04 something"),
                "Unavailable",
                "the API server cannot apply Role devices-worker now (R); it is asked again",
                true,
            ),
        ];
        for (error, reason, message, transient) in rows {
            assert_eq!(words(&error), (reason, message.to_owned()));
            assert_eq!(is_transient(&error), transient, "{reason}");
        }
    }

    #[test]
    fn what_varies_is_left_out() {
        let rows = [
            (
                "pods \"devices-worker-6c5d8-x7k2p\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3",
                "exceeded quota: q, requested: pods=1, limited: pods=3",
            ),
            (
                "pods \"devices-worker-6c5d8-\" is forbidden: maximum memory usage per Container is 64Mi, but limit is 256Mi",
                "maximum memory usage per Container is 64Mi, but limit is 256Mi",
            ),
            ("no such thing, used: x", "no such thing"),
        ];
        for (text, expected) in rows {
            assert_eq!(steady(text), expected);
        }
        assert_eq!(steady(&"ä".repeat(2000)).chars().count(), LONGEST);
    }
}
