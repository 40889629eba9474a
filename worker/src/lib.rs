//! The worker: routes MQTT messages through middleware to handlers, and acknowledges each when its
//! outcome is final.
//!
//! The hot path reads in one direction:
//! `session → delivery → router → middleware → handler → outcome → ordered ack`.

#[cfg(feature = "dev-broker")]
pub mod broker;
pub mod config;
pub mod logging;
pub mod worker;
