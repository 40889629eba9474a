//! The `routemq.io/v1alpha1` API: what a user writes, field by field.
//!
//! Types only. What a field means is said on the field; what a whole spec means is
//! [`crate::compile`]'s business.

mod bounds;
mod broker;
mod delivery;
mod group;
mod handler;
mod middleware;
mod pod;
mod reference;
mod route;
pub(crate) mod rules;
mod spec;
mod status;

pub use broker::{Broker, Database, Tls};
pub use delivery::{DeadLetter, Delivery, SessionKind};
pub use group::Group;
pub use handler::{
    CustomHandler, Handler, HttpHandler, LogHandler, OnConflict, PublishHandler, ReplyHandler,
    SqlHandler,
};
pub use middleware::{
    ApiKey, CustomMiddleware, Dedup, DedupStore, Filter, LogMiddleware, Middleware, RateLimit,
    RateLimitAction, RateLimitScope, Timeout, Transform, Validate,
};
pub use pod::{LogLevel, WorkerPod};
pub use reference::{KeyRef, NameRef};
pub use route::{Payload, PayloadFormat, Route};
pub use spec::{MqttRoute, MqttRouteSpec};
pub use status::{MqttRouteStatus, RouteStatus};
