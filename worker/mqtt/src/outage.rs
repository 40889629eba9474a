//! What the log says about a connection: each change once, not each attempt.

use std::time::Duration;

use tokio::time::Instant;

use crate::{SessionConfig, transport::without_login};

/// While an outage lasts, it is recalled this often.
const REMINDER: Duration = Duration::from_mins(5);
/// Different reasons that are told between two reminders, at most: some hold a time or a port, and are new each time.
const REASONS: usize = 4;

/// The current outage, if there is one.
#[derive(Debug)]
pub(crate) struct Outage {
    broker: String,
    client_id: String,
    warned: Option<Instant>,
    /// Told since then.
    told: Vec<String>,
}

impl Outage {
    pub(crate) fn new(config: &SessionConfig) -> Self {
        Self {
            broker: without_login(&config.url),
            client_id: config.client_id.clone(),
            warned: None,
            told: Vec::new(),
        }
    }

    /// An attempt failed, or a connection was lost.
    pub(crate) fn failed(&mut self, reason: &str, pause: Duration) {
        let news = self.is_news(reason);
        let (broker, client_id) = (self.broker.as_str(), self.client_id.as_str());
        if news {
            tracing::warn!(broker, client_id, reason, "no connection: trying on");
        } else {
            tracing::debug!(broker, client_id, reason, ?pause, "no connection: trying on");
        }
    }

    /// Whether people should hear of it: the first failure, another reason (what broke the connection is seldom what
    /// keeps it from coming back), and now and then that it goes on.
    fn is_news(&mut self, reason: &str) -> bool {
        if self.warned.is_none_or(|at| at.elapsed() >= REMINDER) {
            self.warned = Some(Instant::now());
            self.told.clear();
        } else if self.told.len() >= REASONS || self.told.iter().any(|told| told == reason) {
            return false;
        }
        self.told.push(reason.to_owned());
        true
    }

    /// A connection was accepted.
    pub(crate) fn ended(&mut self, session_present: bool) {
        self.warned = None;
        let (broker, client_id) = (self.broker.as_str(), self.client_id.as_str());
        tracing::info!(broker, client_id, session_present, "connected");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outage() -> Outage {
        Outage { broker: String::new(), client_id: String::new(), warned: None, told: Vec::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn each_reason_is_told_once_and_all_of_it_again_after_a_while() {
        let mut outage = outage();
        let told = ["reset", "reset", "expired", "reset", "expired"].map(|it| outage.is_news(it));
        assert_eq!(told, [true, false, true, false, false]);
        tokio::time::advance(REMINDER).await;
        assert_eq!(["reset", "reset", "expired"].map(|it| outage.is_news(it)), [true, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn reasons_that_are_new_each_time_are_no_flood() {
        let mut outage = outage();
        let told = (0..100).filter(|it| outage.is_news(&it.to_string())).count();
        assert_eq!(told, REASONS);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_outage_is_told_anew() {
        let mut outage = outage();
        assert!(outage.is_news("reset"));
        outage.ended(true);
        assert!(outage.is_news("reset"));
    }
}
