//! The operator's controller in this process: killed at each of its requests, and with an API server that fails.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this is test code: a step that fails is a test that fails"
)]

mod fault;
mod points;
mod server;
mod world;
