//! The `MqttRoute` API: types, topic patterns, expressions, and [`compile`](compile::compile) from a
//! spec into a route table.
//!
//! One language, three users: the operator accepts or refuses a spec with it, the worker runs the
//! table that comes out, and `routemq check` says what is wrong before either sees it.

pub mod compile;
mod definition;
pub mod document;
pub mod expression;
pub mod problem;
pub mod quantity;
pub mod report;
pub mod stop;
mod suggest;
pub mod table;
pub mod template;
pub mod topic;
pub mod v1alpha1;

pub use definition::{crd, crd_yaml};
