//! The `routemq` command as people meet it: the built program, its output, its exit codes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: a failure is the test's"
)]

mod check;
mod dev;
mod dlq;
mod examples;
mod help;
mod init;
mod matching;
mod program;
mod pubsub;
mod run;
