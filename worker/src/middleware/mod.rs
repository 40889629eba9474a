//! Steps before the handlers: one file a middleware.
//!
//! Built-in steps are walked in a loop; only those around the rest (`timeout`, `dedup`, `custom`) box it.

pub(crate) mod custom;
mod log;

use std::{sync::Arc, time::Duration};

use routemq_crds::expression::Expression;
use serde_json::Value;

pub use custom::{Middleware, from_fn, from_fn_with_config};
pub(crate) use log::Log;

use crate::{
    engine::{Next, Shared},
    message::Message,
    outcome::{Failure, Outcome, class},
};

/// One step, ready to run.
#[derive(Debug)]
pub(crate) enum Step {
    Log(Log),
    Filter(Expression),
    Around(Around),
}

/// A step around the steps after it.
pub(crate) enum Around {
    Timeout(Duration),
    Custom { middleware: Arc<dyn Middleware>, config: Arc<Value> },
}

/// What a step says.
pub(crate) enum Entered {
    Continue,
    End(Outcome),
}

impl Step {
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

    #[expect(clippy::unused_async, reason = "rateLimit waits here")]
    pub(crate) async fn enter(&self, message: &mut Message, shared: &Shared) -> Entered {
        let result = match self {
            Self::Filter(expression) => filter(expression, message, shared),
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
    pub(crate) async fn run(&self, message: Message, next: Next, _shared: &Shared) -> Outcome {
        match self {
            Self::Timeout(limit) => match tokio::time::timeout(*limit, next.run(message)).await {
                Ok(outcome) => outcome,
                Err(_) => Outcome::Failed(Failure::transient(
                    class::TIMEOUT,
                    format!("the steps after `timeout` took longer than {} s", limit.as_secs_f32()),
                )),
            },
            Self::Custom { middleware, config } => {
                middleware.call(message, next, Arc::clone(config)).await
            }
        }
    }
}

impl std::fmt::Debug for Around {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout(limit) => f.debug_tuple("Timeout").field(limit).finish(),
            Self::Custom { .. } => f.write_str("Custom"),
        }
    }
}
