//! The worker: routes MQTT messages through middleware to handlers, and acknowledges each when its
//! outcome is final.
//!
//! The hot path reads in one direction:
//! `session → delivery → router → middleware → handler → outcome → ordered ack`.

mod begun;
#[cfg(feature = "dev-broker")]
pub mod broker;
mod builder;
mod clock;
pub mod config;
pub mod database;
mod dead_letter;
pub mod dispatch;
pub mod engine;
mod eval;
pub mod extract;
pub mod handler;
pub mod health;
pub mod http;
pub mod journal;
pub mod logging;
pub mod message;
mod metrics;
pub mod middleware;
pub mod monitor;
pub mod outbox;
pub mod outcome;
pub mod payload;
pub mod registry;
pub mod report;
mod retry;
pub mod router;
pub mod routes;
pub mod run;
pub mod secrets;
pub mod service;
pub mod slot;
#[cfg(test)]
mod testing;
pub mod worker;

pub use builder::{Worker, WorkerError};
pub use engine::{Engine, Next, Resources};
pub use health::Health;
pub use message::{Message, Received};
pub use outbox::{Outbox, Recorder};
pub use outcome::{Failure, FailureKind, Final, FinalOutcome, Outcome, Reason, class};
pub use payload::Payload;
pub use registry::Registry;
/// The MQTT side: messages, properties, publish errors.
pub use routemq_mqtt as mqtt;
pub use routes::Router;
pub use secrets::Secrets;
