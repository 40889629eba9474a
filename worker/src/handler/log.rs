//! Writes a log line.

use std::borrow::Cow;

use routemq_crds::{expression::Expression, v1alpha1::LogLevel};

use crate::{engine::Shared, message::Message, outcome::Failure};

/// The `log` handler.
#[derive(Debug)]
pub(crate) struct Log {
    level: LogLevel,
    text: Option<Expression>,
}

impl Log {
    pub(crate) fn new(level: LogLevel, text: Option<Expression>) -> Self {
        Self { level, text }
    }

    pub(crate) fn run(&self, message: &Message, shared: &Shared) -> Result<(), Failure> {
        // An expression that cannot be evaluated fails the message whether or not anybody would see its text.
        let text: Cow<'static, str> = match &self.text {
            Some(text) => shared.evaluator.text(text, message)?.into(),
            None => "received".into(),
        };
        let (route, topic) = (&**message.route(), message.topic());
        match self.level {
            LogLevel::Error => tracing::error!(route, topic, "{text}"),
            LogLevel::Warn => tracing::warn!(route, topic, "{text}"),
            LogLevel::Info => tracing::info!(route, topic, "{text}"),
            LogLevel::Debug => tracing::debug!(route, topic, "{text}"),
            LogLevel::Trace => tracing::trace!(route, topic, "{text}"),
        }
        Ok(())
    }
}
