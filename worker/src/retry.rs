//! When to try again, and when to give up. Knows nothing of what is tried.

use std::time::Duration;

use crate::{
    health::{Health, Hold},
    outcome::{Failure, FailureKind},
};

/// The first pause's bound; it doubles with each attempt.
const BASE: Duration = Duration::from_millis(100);
/// The longest pause between counted attempts.
const CAP: Duration = Duration::from_secs(30);
/// The longest pause while held: what is away should be found again soon after it is back.
const HOLD_CAP: Duration = Duration::from_secs(5);

/// The retries of one thing: of one handler with one message, or of a dead letter.
#[derive(Debug)]
pub(crate) struct Retry<'a> {
    max_attempts: u32,
    health: &'a Health,
    attempts: u32,
    held: u32,
    hold: Option<Hold>,
}

impl<'a> Retry<'a> {
    pub(crate) fn new(max_attempts: u32, health: &'a Health) -> Self {
        Self { max_attempts, health, attempts: 0, held: 0, hold: None }
    }

    /// Counted attempts so far, the one under way included.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts + 1
    }

    /// Returns when it is time to try again.
    ///
    /// # Errors
    /// The failure, with its attempts, where there is nothing more to try.
    pub(crate) async fn after(&mut self, failure: Failure) -> Result<(), Failure> {
        tokio::time::sleep(self.pause(failure)?).await;
        Ok(())
    }

    /// How long until it is time to try again.
    ///
    /// # Errors
    /// As [`Self::after`].
    pub(crate) fn pause(&mut self, mut failure: Failure) -> Result<Duration, Failure> {
        match failure.kind {
            FailureKind::Unavailable | FailureKind::Systemic => {
                self.hold(&failure);
                return Ok(backoff(self.held, HOLD_CAP));
            }
            FailureKind::Transient
                if failure.attempts == 0 && self.attempts() < self.max_attempts =>
            {
                self.hold = None;
                self.attempts += 1;
                return Ok(backoff(self.attempts, CAP).max(failure.pause));
            }
            FailureKind::Transient | FailureKind::Permanent => {}
        }
        failure.attempts = failure.attempts.max(self.attempts());
        Err(failure)
    }

    fn hold(&mut self, failure: &Failure) {
        self.held = self.held.saturating_add(1);
        if self.hold.as_ref().is_none_or(|hold| hold.class() != failure.class) {
            self.hold = Some(self.health.hold(failure));
        }
    }
}

/// Exponential with full jitter: anything up to the bound, so that what failed together does not come back together.
fn backoff(attempt: u32, cap: Duration) -> Duration {
    bound(attempt, cap).mul_f64(fastrand::f64())
}

fn bound(attempt: u32, cap: Duration) -> Duration {
    BASE.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(cap)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_from_a_tenth_of_a_second_to_their_cap() {
        let millis: Vec<_> = (1..=11).map(|it| bound(it, CAP).as_millis()).collect();
        let wanted = [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000];
        assert_eq!(millis, wanted);
        assert_eq!(bound(u32::MAX, HOLD_CAP), HOLD_CAP);
        assert_eq!(bound(0, CAP), BASE);
    }

    proptest! {
        #[test]
        fn a_pause_is_never_beyond_its_bound(attempt in any::<u32>()) {
            prop_assert!(backoff(attempt, CAP) <= bound(attempt, CAP));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn held_tries_do_not_count_and_counted_ones_do() {
        let health = Health::default();
        let mut retry = Retry::new(2, &health);
        for _ in 0..50 {
            retry.after(Failure::unavailable("Away", "away")).await.unwrap();
        }
        assert_eq!(retry.attempts(), 1);
        assert_eq!(health.watch().borrow().len(), 1);
        retry.after(Failure::transient("Test", "no")).await.unwrap();
        assert!(health.watch().borrow().is_empty(), "it is back, though it failed otherwise");
        let failure = retry.after(Failure::transient("Test", "no")).await.unwrap_err();
        assert_eq!((failure.class, failure.attempts), ("Test", 2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_asked_for_a_pause_is_not_tried_sooner() {
        let health = Health::default();
        let (mut retry, start) = (Retry::new(2, &health), tokio::time::Instant::now());
        let pause = Duration::from_secs(40);
        retry.after(Failure::transient("Test", "no").not_before(pause)).await.unwrap();
        assert_eq!(start.elapsed(), pause);
    }

    #[tokio::test(start_paused = true)]
    async fn several_causes_are_told_apart() {
        let health = Health::default();
        let hold = |class| Failure::systemic(class, "no");
        let (first, second) = (health.hold(&hold("A")), health.hold(&hold("B")));
        let third = health.hold(&hold("A"));
        assert_eq!(health.watch().borrow()["A"].held, 2);
        drop(first);
        assert_eq!(health.watch().borrow().len(), 2);
        drop((second, third));
        assert!(health.watch().borrow().is_empty());
    }
}
