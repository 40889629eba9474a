//! Conditions as Kubernetes wants them: each type always there, deterministic, its transition time kept while its status stays.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The types, in the order of the status.
pub const TYPES: [&str; 6] =
    ["Accepted", "ReferencesResolved", "Subscribed", "Progressing", "Degraded", "Ready"];

/// One observation, before it has times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// One of [`TYPES`].
    pub kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// CamelCase, stable.
    pub reason: String,
    /// One sentence, without times, counts of attempts or pod names.
    pub message: String,
}

impl Observation {
    /// It holds.
    pub fn yes(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self { kind, status: "True", reason: reason.to_owned(), message: message.into() }
    }

    /// It does not hold.
    pub fn no(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self { kind, status: "False", reason: reason.to_owned(), message: message.into() }
    }

    /// Not known yet.
    pub fn unknown(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self { kind, status: "Unknown", reason: reason.to_owned(), message: message.into() }
    }

    /// With the time of its last transition, which is `now` only where the status is another than in `before`.
    #[must_use]
    pub fn stamped(self, before: &[Condition], generation: Option<i64>, now: &Time) -> Condition {
        let earlier = before
            .iter()
            .find(|condition| condition.type_ == self.kind && condition.status == self.status);
        Condition {
            type_: self.kind.to_owned(),
            status: self.status.to_owned(),
            reason: self.reason,
            message: self.message,
            observed_generation: generation,
            last_transition_time: earlier
                .map_or_else(|| now.clone(), |condition| condition.last_transition_time.clone()),
        }
    }
}
