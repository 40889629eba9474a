//! What a custom handler's arguments can be, and what it can return.

mod arguments;
mod outcome;
mod params;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::Value;

pub use arguments::{Config, Json, Publisher, Raw, Results, State, Text, Topic};
pub use outcome::{IntoOutcome, Permanent, Transient};
pub use params::{ParamError, Params};

use crate::{
    message::Message,
    outbox::Outbox,
    outcome::{Failure, class},
    payload::PayloadError,
    registry::States,
};

/// What an argument is taken from.
#[derive(Debug)]
pub struct Context<'a> {
    /// The message, as middleware left it.
    pub message: &'a Message,
    /// The registered state.
    pub states: &'a States,
    /// Where to publish.
    pub outbox: &'a Outbox,
    /// The spec's `config` of this handler.
    pub config: &'a Arc<Value>,
}

/// An argument of a custom handler: taken from the message before the handler runs, without waiting.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken from a message",
    note = "arguments are Params<T>, Json<T>, Text, Raw, Topic, Message, State<T>, Publisher, Config<T> or Results"
)]
pub trait FromMessage: Sized + Send {
    /// Takes the argument.
    ///
    /// # Errors
    /// Where the message does not have it: the message is dead-lettered, since it never will.
    fn from_message(context: &Context<'_>) -> Result<Self, Rejection>;

    /// The name of the state type that this argument needs and `states` has not: checked when the
    /// engine is built, so that a missing state never meets a message.
    fn missing_state(_states: &States) -> Option<&'static str> {
        None
    }
}

/// Why an argument could not be taken. Permanent.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// The payload breaks the route's rules.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The payload is JSON, but not of the handler's type.
    #[error("the payload is not what the handler takes: {reason}")]
    Type {
        /// Where and what, without content.
        reason: String,
    },
    /// The route's params are not of the handler's type.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// No state of this type is registered.
    #[error("no state of type {0} is registered")]
    State(&'static str),
    /// The spec's `config` is not of the handler's type.
    #[error("the spec's config is not what the handler takes")]
    Config(#[source] serde_json::Error),
    /// Anything else, from an argument type of your own.
    #[error("{0}")]
    Other(String),
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        let class = match &rejection {
            Rejection::Payload(_) | Rejection::Type { .. } => class::PAYLOAD_FORMAT,
            _ => class::REJECTION,
        };
        Self::permanent(class, rejection.to_string())
    }
}
