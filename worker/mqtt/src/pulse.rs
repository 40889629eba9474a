//! What a session's task shows of itself, for anybody to read at any time: atomics that it writes once a turn.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// The life signs of one session. Cheap to clone; clones show the same session.
///
/// The socket task writes it without a lock; a reader sees values of one of the last turns.
#[derive(Clone, Debug)]
pub struct Pulse {
    shown: Arc<Shown>,
}

#[derive(Debug)]
struct Shown {
    began: Instant,
    /// When the task last turned: microseconds since `began`.
    turned: AtomicU64,
    unacknowledged: AtomicU64,
    /// Since when the oldest of them is: microseconds since `began`, plus one; 0: there is none.
    oldest: AtomicU64,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        let (turned, unacknowledged, oldest) = Default::default();
        Self { shown: Arc::new(Shown { began: Instant::now(), turned, unacknowledged, oldest }) }
    }

    /// How long ago the session's task last turned. While the task is well this stays below a minute, with or
    /// without a connection, busy or idle.
    #[must_use]
    pub fn since_turn(&self) -> Duration {
        self.age(self.shown.turned.load(Relaxed))
    }

    /// QoS 1 and 2 messages that were received on this connection and are not acknowledged yet: what counts
    /// against the receive maximum.
    #[must_use]
    pub fn unacknowledged(&self) -> u64 {
        self.shown.unacknowledged.load(Relaxed)
    }

    /// How long the oldest of them has been waiting, to a turn; `None`: there is none.
    #[must_use]
    pub fn oldest_unacknowledged(&self) -> Option<Duration> {
        Some(self.age(self.shown.oldest.load(Relaxed).checked_sub(1)?))
    }

    fn age(&self, micros: u64) -> Duration {
        self.shown.began.elapsed().saturating_sub(Duration::from_micros(micros))
    }

    // === The socket task's side ===

    pub(crate) fn turn(&self, now: Instant) {
        self.shown.turned.store(self.micros(now), Relaxed);
    }

    pub(crate) fn owe(&self, messages: usize, oldest: Option<Instant>) {
        self.shown.unacknowledged.store(messages as u64, Relaxed);
        let since = oldest.map_or(0, |at| self.micros(at).saturating_add(1));
        self.shown.oldest.store(since, Relaxed);
    }

    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.shown.began);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ages_grow_with_the_clock_and_nothing_owed_has_no_age() {
        let pulse = Pulse::new();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(
            (pulse.since_turn(), pulse.oldest_unacknowledged()),
            (Duration::from_secs(5), None)
        );
        pulse.turn(Instant::now());
        pulse.owe(3, Some(Instant::now() - Duration::from_secs(5)));
        assert_eq!(pulse.since_turn(), Duration::ZERO);
        assert_eq!(pulse.oldest_unacknowledged(), Some(Duration::from_secs(5)), "since the start");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(pulse.oldest_unacknowledged(), Some(Duration::from_secs(7)));
        pulse.owe(0, None);
        assert_eq!((pulse.unacknowledged(), pulse.oldest_unacknowledged()), (0, None));
    }
}
