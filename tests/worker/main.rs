//! What is promised of running workers, in this process, against a real broker.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this crate is test code: a step that fails is a test that fails"
)]

mod bed;
mod changes;
mod connection;
mod crash;
mod dead_letters;
mod overlap;
mod sharing;
mod stopping;
