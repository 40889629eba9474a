//! What the log says about a connection: each change once, not each attempt.

use std::time::Duration;

use tokio::time::Instant;

use crate::{SessionConfig, transport::without_login};

/// While an outage lasts, it is recalled this often.
const REMINDER: Duration = Duration::from_mins(5);

/// The current outage, if there is one.
#[derive(Debug)]
pub(crate) struct Outage {
    broker: String,
    client_id: String,
    warned: Option<Instant>,
}

impl Outage {
    pub(crate) fn new(config: &SessionConfig) -> Self {
        Self {
            broker: without_login(&config.url),
            client_id: config.client_id.clone(),
            warned: None,
        }
    }

    /// An attempt failed, or a connection was lost.
    pub(crate) fn failed(&mut self, reason: &str, pause: Duration) {
        let (broker, client_id) = (self.broker.as_str(), self.client_id.as_str());
        if self.warned.is_none_or(|at| at.elapsed() >= REMINDER) {
            self.warned = Some(Instant::now());
            tracing::warn!(broker, client_id, reason, "no connection: trying on");
        } else {
            tracing::debug!(broker, client_id, reason, ?pause, "no connection: trying on");
        }
    }

    /// A connection was accepted.
    pub(crate) fn ended(&mut self, session_present: bool) {
        self.warned = None;
        let (broker, client_id) = (self.broker.as_str(), self.client_id.as_str());
        tracing::info!(broker, client_id, session_present, "connected");
    }
}
