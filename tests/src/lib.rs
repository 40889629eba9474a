//! The test beds: real brokers and databases on free loopback ports, a proxy that breaks
//! connections, an independent MQTT client, and `routemq` itself as a child process.
//!
//! # Guarantees
//! - Every server has a directory of its own and listens on loopback only.
//! - Every process ends with its handle, and with the test process, however that ends.
//! - A failed test leaves its directories in place and prints where they are.
//!
//! This crate depends on no other crate of the workspace, so each of them may use it in its tests.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "this crate is test code: a step that fails is a test that fails"
)]

mod audit;
mod bed;
mod broker;
mod certificates;
mod cgroup;
mod client;
mod cluster;
mod database;
mod directory;
mod eventually;
mod http;
mod mosquitto;
mod port;
mod process;
mod program;
mod proxy;
mod rmqtt;
mod root;
mod worker;

pub use audit::{Audit, Request};
pub use bed::{Bed, Entry, Ledger, Load, PATIENCE, TABLE, messages, readings};
pub use broker::Broker;
pub use certificates::{Authority, Certificate};
pub use cgroup::MemoryLimit;
pub use client::{Client, ClientConfig, Feeder, Received};
pub use cluster::{ControlPlane, folder};
pub use database::{Database, MariaDb, MariaDbConfig, Postgres, PostgresConfig, Rows};
pub use directory::Directory;
pub use eventually::{ensure, eventually};
pub use http::{Answer, get};
pub use mosquitto::{Mosquitto, MosquittoConfig, MosquittoTls};
pub use port::free_port;
pub use process::{Launch, Owner, Process, Signal, processes_naming};
pub use program::{program, version_of};
pub use proxy::{Direction, Frame, Line, Proxy, Verdict};
pub use rmqtt::Rmqtt;
pub use root::is_root_or_skips;
pub use worker::{WorkerConfig, WorkerProcess, operator_binary, routemq_binary};
