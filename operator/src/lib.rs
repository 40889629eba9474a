//! The operator: turns each `MqttRoute` into one worker Deployment and what it needs.
//!
//! `reconcile` = fetch → validate → settle the slots → build → apply → update the status. Validate and build are
//! pure, so their tests need no cluster. The operator never handles messages and reads no Secret.

pub mod apply;
pub mod backoff;
pub mod build;
pub mod condition;
pub mod controller;
mod deletion;
mod drift;
pub mod events;
pub mod fence;
pub mod http;
mod last_good;
pub mod leader;
pub mod metrics;
pub mod names;
mod ownership;
pub mod reconcile;
pub mod refusal;
pub mod render;
pub mod settings;
mod sight;
pub mod slot_leases;
pub mod slots;
pub mod status;
mod unreadable;
pub mod validate;
mod watch;
