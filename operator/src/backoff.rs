//! How long a failed object waits: each its own, ever longer, and none holds up another.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

const FIRST: Duration = Duration::from_secs(1);
/// Where the API server refused: only somebody's change mends it.
pub const LONGEST: Duration = Duration::from_mins(1);
/// Where it gave no proper answer: it may be back at any time.
pub const LONGEST_AWAY: Duration = Duration::from_secs(15);

/// Failures in a row, by object. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: Arc<Mutex<HashMap<String, u32>>>,
}

impl Backoff {
    /// It failed again: how long to wait. 1 s, 2 s, 4 s … `longest`.
    #[must_use]
    pub fn failed(&self, object: &str, longest: Duration) -> Duration {
        let mut failures = self.lock();
        let count = failures.entry(object.to_owned()).or_default();
        *count = count.saturating_add(1);
        FIRST.saturating_mul(1 << (*count - 1).min(16)).min(longest)
    }

    /// How often it failed in a row.
    #[must_use]
    pub fn failures(&self, object: &str) -> u32 {
        self.lock().get(object).copied().unwrap_or_default()
    }

    /// It went well, or is gone.
    pub fn settled(&self, object: &str) {
        self.lock().remove(object);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_object_waits_longer_by_itself_and_starts_anew_after_a_success() {
        let backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.failed("a", LONGEST).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.failed("b", LONGEST).as_secs(), 1);
        backoff.settled("a");
        assert_eq!((backoff.failures("a"), backoff.failures("b")), (0, 1));
        assert_eq!(backoff.failed("a", LONGEST).as_secs(), 1);
    }

    #[test]
    fn an_api_server_that_is_away_is_asked_again_within_half_a_minute() {
        let backoff = Backoff::default();
        assert!((0..50).all(|_| backoff.failed("a", LONGEST_AWAY) <= Duration::from_secs(15)));
    }
}
