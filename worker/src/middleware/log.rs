//! Logs each message with its outcome and time.

use std::time::Duration;

use routemq_crds::v1alpha1::LogLevel;

use crate::{message::Received, outcome::Outcome};

/// Bytes of a payload that are logged.
const PAYLOAD_LIMIT: usize = 1024;

/// The `log` middleware.
#[derive(Debug)]
pub(crate) struct Log {
    level: LogLevel,
    payload: bool,
}

impl Log {
    pub(crate) fn new(level: LogLevel, payload: bool) -> Self {
        Self { level, payload }
    }

    /// Whether anybody would see what it writes.
    pub(crate) fn is_on(&self) -> bool {
        match self.level {
            LogLevel::Error => tracing::enabled!(tracing::Level::ERROR),
            LogLevel::Warn => tracing::enabled!(tracing::Level::WARN),
            LogLevel::Info => tracing::enabled!(tracing::Level::INFO),
            LogLevel::Debug => tracing::enabled!(tracing::Level::DEBUG),
            LogLevel::Trace => tracing::enabled!(tracing::Level::TRACE),
        }
    }

    pub(crate) fn write(&self, received: &Received, outcome: &Outcome, took: Duration) {
        let (route, topic) = (&**received.route(), received.topic());
        let (outcome, class) = words(outcome);
        let payload = self.payload.then(|| start(received.original_payload()));
        let took = format_args!("{took:?}");
        macro_rules! write {
            ($level:ident) => {
                tracing::$level!(route, topic, outcome, class, %took, payload, "handled")
            };
        }
        match self.level {
            LogLevel::Error => write!(error),
            LogLevel::Warn => write!(warn),
            LogLevel::Info => write!(info),
            LogLevel::Debug => write!(debug),
            LogLevel::Trace => write!(trace),
        }
    }
}

fn words(outcome: &Outcome) -> (&'static str, Option<&'static str>) {
    match outcome {
        Outcome::Done => ("done", None),
        Outcome::Dropped(reason) => ("dropped", Some(reason)),
        Outcome::Rejected(reason) => ("rejected", Some(reason)),
        Outcome::Failed(failure) => ("failed", Some(failure.class)),
    }
}

fn start(payload: &[u8]) -> String {
    let start = &payload[..payload.len().min(PAYLOAD_LIMIT)];
    let text = String::from_utf8_lossy(start).into_owned();
    if start.len() < payload.len() { text + "…" } else { text }
}
