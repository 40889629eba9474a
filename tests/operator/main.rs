//! The operator on a real control plane: admission, children, conditions, repair, leadership.
//!
//! No node runs here, so no worker pod starts: what workers would report, the tests write into the slots' Leases.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this is test code: a step that fails is a test that fails"
)]

mod bed;
mod children;
mod conditions;
mod conflicts;
mod endpoints;
mod examples;
mod limits;
mod pods;
mod ready;
mod refused;
mod render;
mod rights;
mod scale;
mod slots;
