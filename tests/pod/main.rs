//! `routemq run` as a pod runs it: asked over HTTP how it is doing, its files mounted and replaced as a kubelet does.
//!
//! What the worker says of itself is compared with what the broker, the database and the publisher know.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this crate is test code: a step that fails is a test that fails"
)]

mod bed;
mod metrics;
mod missing;
mod mount;
mod probes;
mod reload;
mod scrape;
