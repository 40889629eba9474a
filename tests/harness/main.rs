//! What the beds promise: a server that is said to be stopped is stopped, one that restarts has its state, a proxy
//! that swallows swallows.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this crate is test code: a step that fails is a test that fails"
)]

mod broker;
#[cfg(feature = "cluster")]
mod cluster;
mod command;
mod database;
mod process;
mod proxy;
