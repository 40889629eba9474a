//! The rows of the table, one file a subject.

mod broker;
mod contestant;
mod database;
mod firehose;
mod latency;
mod python;
mod scaling;
mod slow;
mod table;

use crate::{error::BenchError, options::Table, report::Row};

/// Measures a group of rows.
type Measure = fn(&Table) -> Result<Vec<Row>, BenchError>;

/// Left out of `--quick`, which has a minute: what they measure waits or takes tens of thousands of subscriptions.
pub(crate) const LONG: &[&str] = &["swap", "slow"];

/// Their names for `--only`, in the order of the table.
pub(crate) const ALL: &[(&str, Measure)] = &[
    ("qos1", firehose::qos_1),
    ("qos0", firehose::qos_0),
    ("broker", broker::all),
    ("rows", database::rows),
    ("latency", latency::quiet),
    ("scaling", scaling::two_workers),
    ("match", table::search),
    ("compile", table::compile),
    ("memory", table::memory),
    ("swap", latency::swap),
    ("slow", slow::one_in_a_thousand),
    ("python", python::framework),
];
