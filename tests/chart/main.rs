//! The chart: what helm renders in each mode, what it refuses, the life of a release, and the rights that it gives the operator.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this is test code: a step that fails is a test that fails"
)]

#[expect(dead_code, reason = "the operator suite uses the rest of it")]
#[path = "../operator/bed.rs"]
mod bed;
mod modes;
mod namespaced;
mod release;
mod values;
