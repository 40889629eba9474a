//! What is promised of rows in MariaDB and PostgreSQL, seen on the real servers.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this crate is test code: a step that fails is a test that fails"
)]

mod bed;
mod load;
mod locks;
mod outages;
mod rows;
mod speed;
mod statements;
mod values;
