//! Steps before the handlers: one file a middleware.
//!
//! Built-in steps are walked in a loop; only those around the rest (`timeout`, `dedup`, `custom`) box it.

pub(crate) mod api_key;
pub(crate) mod custom;
mod dedup;
mod log;
pub(crate) mod rate_limit;
mod transform;
pub(crate) mod validate;

use std::{sync::Arc, time::Duration};

use routemq_crds::expression::Expression;
use serde_json::Value;

pub(crate) use api_key::ApiKey;
pub use custom::{Middleware, from_fn, from_fn_with_config};
pub(crate) use dedup::Dedup;
pub(crate) use log::Log;
pub(crate) use rate_limit::RateLimit;
pub(crate) use transform::Transform;
pub(crate) use validate::Validate;

use crate::{
    engine::{Next, Shared},
    handler::BoxFuture,
    message::Message,
    outcome::{Failure, Outcome, class},
};

/// One step, ready to run.
#[derive(Debug)]
pub(crate) enum Step {
    Log(Log),
    ApiKey(ApiKey),
    RateLimit(RateLimit),
    Filter(Expression),
    Validate(Validate),
    Transform(Transform),
    Around(Around),
}

/// A step around the steps after it.
pub(crate) enum Around {
    Timeout(Duration),
    Dedup(Dedup),
    Custom { middleware: Arc<dyn Middleware>, config: Arc<Value> },
}

/// What a step says.
pub(crate) enum Entered {
    Continue,
    /// Go on after so long.
    Wait(Duration),
    End(Outcome),
}

impl Step {
    /// The step with nothing remembered, for another worker; `None` where it remembers nothing.
    pub(crate) fn afresh(&self) -> Option<Self> {
        match self {
            Self::RateLimit(limit) => Some(Self::RateLimit(limit.afresh())),
            Self::Around(Around::Dedup(dedup)) => Some(Self::Around(Around::Dedup(dedup.afresh()))),
            _ => None,
        }
    }

    pub(crate) fn around(&self) -> Option<&Around> {
        match self {
            Self::Around(around) => Some(around),
            _ => None,
        }
    }

    pub(crate) fn log(&self) -> Option<&Log> {
        match self {
            Self::Log(log) => Some(log),
            _ => None,
        }
    }

    pub(crate) fn enter(&self, message: &mut Message, shared: &Shared) -> Entered {
        let result = match self {
            Self::ApiKey(keys) => keys.enter(message),
            Self::RateLimit(limit) => limit.enter(message, shared),
            Self::Filter(expression) => filter(expression, message, shared),
            Self::Validate(schema) => schema.enter(message),
            Self::Transform(transform) => {
                transform.enter(message, shared).map(|()| Entered::Continue)
            }
            Self::Log(_) | Self::Around(_) => Ok(Entered::Continue),
        };
        result.unwrap_or_else(|failure| Entered::End(Outcome::Failed(failure)))
    }
}

fn filter(expression: &Expression, message: &Message, shared: &Shared) -> Result<Entered, Failure> {
    if shared.evaluator.condition(expression, message)? {
        return Ok(Entered::Continue);
    }
    Ok(Entered::End(Outcome::Dropped(class::FILTERED)))
}

impl Around {
    pub(crate) fn run(&self, message: Message, next: Next, shared: &Shared) -> BoxFuture<Outcome> {
        match self {
            Self::Timeout(limit) => Box::pin(within(*limit, message, next)),
            Self::Dedup(dedup) => dedup.run(message, next, shared),
            Self::Custom { middleware, config } => middleware.call(message, next, config),
        }
    }
}

async fn within(limit: Duration, message: Message, next: Next) -> Outcome {
    let late = |_| {
        let words = format!("the steps after `timeout` took longer than {} s", limit.as_secs_f32());
        Outcome::Failed(Failure::transient(class::TIMEOUT, words))
    };
    tokio::time::timeout(limit, next.run(message)).await.unwrap_or_else(late)
}

impl std::fmt::Debug for Around {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout(limit) => f.debug_tuple("Timeout").field(limit).finish(),
            Self::Dedup(dedup) => dedup.fmt(f),
            Self::Custom { .. } => f.write_str("Custom"),
        }
    }
}
