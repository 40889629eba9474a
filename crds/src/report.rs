//! What a worker tells the operator, as JSON in the annotation `routemq.io/report` of the Lease that it holds.
//!
//! Written by the worker only when it changes; folded into the status by the operator. No polling, no further rights.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The state of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerReport {
    /// `metadata.generation` of the table that it runs.
    pub generation: Option<i64>,
    /// The revision of that table ([`crate::table::REVISION`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Whether it is connected to the broker.
    pub connected: bool,
    /// Why it is not: a CamelCase reason and a sentence without anything that varies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnected: Option<Degraded>,
    /// By filter: what SUBACK said; a filter that is not answered is missing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub filters: BTreeMap<String, FilterReport>,
    /// Secrets, ConfigMaps and custom handlers that it waits for, as words: `Secret fleet-login`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// What works at less than promised: a CamelCase reason and a sentence without anything that varies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Degraded>,
    /// Why it runs an older table than the one that is mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_table: Option<String>,
    /// Nothing is left of the session: a retired slot may go.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drained: bool,
}

/// What SUBACK said of one filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterReport {
    /// The reason code (MQTT 5, 3.9.3): 0–2 granted with that QoS, ≥ 128 refused.
    pub code: u8,
}

/// Something works at less than promised, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// CamelCase, stable.
    pub reason: String,
    /// One sentence.
    pub message: String,
}
