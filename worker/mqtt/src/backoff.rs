//! How long to wait before the next attempt: exponential, with full jitter.

use std::time::Duration;

/// The first pause before a connection is tried again is at most this.
const FIRST: Duration = Duration::from_millis(250);

/// Counts failures since the last success, such as a connection that held.
#[derive(Debug)]
pub(crate) struct Backoff {
    ceiling: Duration,
    first: Duration,
    maximum: Duration,
}

impl Backoff {
    pub(crate) fn new(maximum: Duration) -> Self {
        Self::between(FIRST, maximum)
    }

    /// The first pause is at most `first`.
    pub(crate) fn between(first: Duration, maximum: Duration) -> Self {
        let first = first.min(maximum);
        Self { ceiling: first, first, maximum }
    }

    /// A success: start small again.
    pub(crate) fn reset(&mut self) {
        self.ceiling = self.first;
    }

    /// The next pause. `share` is a random number from 0 to 1: a thousand workers that lost the same
    /// broker spread over the whole span.
    pub(crate) fn next(&mut self, share: f64) -> Duration {
        let pause = self.ceiling.mul_f64(share.clamp(0.0, 1.0));
        self.ceiling = (self.ceiling * 2).min(self.maximum);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let pauses: Vec<_> = (0..5).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 1000, 1000]);
    }

    #[test]
    fn a_connection_that_held_starts_small_again() {
        let mut backoff = Backoff::new(Duration::from_secs(30));
        for _ in 0..9 {
            let _ = backoff.next(1.0);
        }
        backoff.reset();
        assert_eq!(backoff.next(1.0), FIRST);
    }

    #[test]
    fn jitter_covers_the_whole_span() {
        let mut backoff = Backoff::new(Duration::from_secs(30));
        assert_eq!(backoff.next(0.0), Duration::ZERO);
        assert_eq!(backoff.next(0.5), Duration::from_millis(250));
    }

    #[test]
    fn a_maximum_below_the_first_pause_is_kept() {
        let mut backoff = Backoff::new(Duration::from_millis(10));
        assert_eq!(backoff.next(1.0), Duration::from_millis(10));
    }
}
