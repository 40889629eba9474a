//! End to end: `routemq run` as processes, against a real mosquitto and a real database.
//!
//! Nobody here asks the worker how it is doing. Rows are counted over a connection of the test's own; deliveries and
//! acknowledgements by the ledger, which watches the packets between the workers and the broker.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this crate is test code: a step that fails is a test that fails"
)]

mod bed;
mod environment;
mod examples;
mod kill;
mod matching;
mod outage;
mod overlap;
mod poison;
mod share;
mod stop;
