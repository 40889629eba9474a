//! What RouteMQ survives: `routemq run` as processes, with a real mosquitto and a real MariaDB, while something goes wrong.
//!
//! The table in tests/README.md says which fault is met where. Nobody here asks the worker how it is doing: rows are
//! counted over a connection of the test's own, deliveries and acknowledgements by the packets on the wire.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this crate is test code: a step that fails is a test that fails"
)]

mod broker_away;
mod database;
mod dead_letters;
mod exactly_once;
mod line;
mod login;
mod marks;
mod overload;
mod processes;
mod rates;
mod scarcity;

mod topics;

use std::time::Duration;

use routemq_tests::readings;

/// As long as the promises say with `ROUTEMQ_TEST_LONG=1`, shorter without: it can fail just as well.
fn lasting(short: u64, long: u64) -> Duration {
    let is_long = std::env::var_os("ROUTEMQ_TEST_LONG").is_some();
    Duration::from_secs(if is_long { long } else { short })
}

/// [`readings`] with rows that have a key, so that a repeat changes nothing.
fn keyed(spec: &str) -> String {
    let key = "table: readings\n            key: [id]\n            onConflict: Ignore";
    readings(spec).replace("table: readings", key)
}

/// Makes the table of [`readings`] one of [`keyed`].
const ADD_KEY: &str = "ALTER TABLE readings ADD PRIMARY KEY (id)";

/// So many in so long.
#[expect(clippy::cast_precision_loss, reason = "counts of a test")]
fn per_second(count: usize, span: Duration) -> f64 {
    count as f64 / span.as_secs_f64()
}
