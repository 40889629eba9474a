//! How long a failed object waits: each its own, ever longer, and none holds up another.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);

/// Failures in a row, by object. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: Arc<Mutex<HashMap<String, u32>>>,
}

impl Backoff {
    /// It failed again: how long to wait. 1 s, 2 s, 4 s … 60 s.
    #[must_use]
    pub fn failed(&self, object: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.to_owned()).or_default();
        *count = count.saturating_add(1);
        FIRST.saturating_mul(1 << (*count - 1).min(16)).min(LONGEST)
    }

    /// It went well, or is gone.
    pub fn settled(&self, object: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;

    #[test]
    fn each_object_waits_longer_by_itself_and_starts_anew_after_a_success() {
        let backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.failed("a").as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.failed("b").as_secs(), 1);
        backoff.settled("a");
        assert_eq!(backoff.failed("a").as_secs(), 1);
    }
}
