//! One running worker: an MQTT session, the lanes that run its messages, and the engine that handles them.
//!
//! # Flow
//! 1. The socket task hands each message to the `dispatcher`: matched, told apart from its copies
//!    (`overlap`), keyed.
//! 2. The key's lane (`lane`, run by a `shard`) handles it: in order within the key, at most `concurrency` at once.
//! 3. What has ended is counted, observed and acknowledged in batches (`handling`); the session acknowledges the
//!    done prefix in receive order.
//!
//! # Guarantees
//! - A message is acknowledged after its outcome is final, never before.
//! - After a lost connection, what was not started is given back, if the broker sends it again.
//! - A table swap loses nothing ([`RunningWorker::swap`]); nor does a stop ([`RunningWorker::stop`]).

mod counters;
mod dispatcher;
mod feeds;
mod follow;
mod handling;
pub(crate) mod lane;
mod lanes;
pub(crate) mod overlap;
mod record;
mod running;
pub(crate) mod shard;
mod tables;

pub(crate) use counters::Counters;
pub(crate) use tables::Tables;

pub use crate::metrics::{Classes, Distribution, RouteTotals, Totals};
pub use record::{Identity, Observer, Record};
pub use running::{Purpose, RunningWorker, Summary, WorkerOptions};
pub(crate) use tables::filters;
