//! One look at the clock for a message, not one for everything that wants to know the time.
//!
//! While a lane runs, the time that was last read on its thread is good for what only needs to be near: no older than what the job
//! under way has done without waiting. Nowhere else: elsewhere a thread may have slept since.

use std::cell::Cell;

use tokio::time::Instant;

thread_local! {
    /// `None` where no lane runs.
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A lane's turn. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(());

impl Turn {
    pub(crate) fn begin() -> Self {
        LAST.set(Some(Instant::now()));
        Self(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        LAST.set(None);
    }
}

/// Now.
pub(crate) fn now() -> Instant {
    let now = Instant::now();
    if LAST.get().is_some() {
        LAST.set(Some(now));
    }
    now
}

/// Now, or a little before.
pub(crate) fn recent() -> Instant {
    LAST.get().unwrap_or_else(Instant::now)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::{Instant, Turn, now, recent};

    #[tokio::test(start_paused = true)]
    async fn within_a_turn_time_passes_when_it_is_read_and_without_one_always() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        advance(second).await;
        assert_eq!(recent() - start, second);
        let turn = Turn::begin();
        advance(second).await;
        assert_eq!(recent() - start, second);
        assert_eq!(now() - start, 2 * second);
        assert_eq!(recent() - start, 2 * second);
        drop(turn);
        advance(second).await;
        assert_eq!(recent() - start, 3 * second);
    }
}
