//! An MQTT 5 session that acknowledges in receive order, after the outcome.
//!
//! The whole MQTT side of RouteMQ, on rumqttc's packet codec; nothing outside this crate names an
//! MQTT packet, so another codec could replace rumqttc's.
//!
//! # Flow
//! 1. One task owns the socket ([`Session::spawn`]). It reads big, decodes frames, and hands each
//!    PUBLISH to the [`Receiver`] it was given, then calls [`Receiver::flush`] once a turn.
//! 2. Whoever handles a message reports the [`AckToken`] through [`Acks::done`], in any order.
//! 3. The task acknowledges the done *prefix* in receive order (MQTT-4.6.0-2), one write a turn.
//!
//! # Guarantees
//! - A token of an earlier connection acknowledges nothing: tokens carry the connection's epoch.
//! - The session reconnects for ever, exponentially with full jitter, and subscribes again each time.
//! - [`SessionHandle::subscribe_to`] is declarative: filters are diffed, new before old.

pub mod config;
pub mod message;
pub mod publisher;
pub mod session;

mod ages;
mod alarm;
mod backoff;
mod barrier;
mod codec;
mod connect;
mod exactly_once;
mod ledger;
mod link;
mod memory;
mod outage;
mod pulse;
mod reason;
mod subscriptions;
mod surplus;
mod transport;
mod trouble;

pub use config::{Credentials, Gate, Login, Loss, SessionConfig, SharedLogin, TlsConfig};
pub use message::{AckToken, Arrival, Delivery, Properties, Publish, QoS, SubscriptionIds};
pub use publisher::{Confirmation, Outgoing, PublishError, Published, Publisher};
pub use pulse::Pulse;
pub use session::{
    Acks, ConnectionState, End, FilterState, FilterStates, Receiver, Session, SessionHandle,
    SessionStatus, Subscription,
};
pub use trouble::Trouble;
