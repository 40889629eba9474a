//! Whether a lane's task turns: it is asked to answer, and the answer's delay is measured.
//!
//! A lane that has nothing to do is not polled by anybody, so it cannot stamp a time by itself.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// A question to a lane. Whoever gets it answers at once.
#[derive(Debug)]
pub(crate) struct Beat {
    number: u64,
    answered: Arc<AtomicU64>,
}

impl Beat {
    /// The lane turns.
    pub(crate) fn answer(self) {
        self.answered.store(self.number, Relaxed);
    }
}

/// Asks one lane, one question at a time.
pub(crate) struct LaneBeat {
    ask: Box<dyn Fn(Beat) -> bool + Send + Sync>,
    asked: Mutex<Asked>,
    answered: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Asked {
    number: u64,
    at: Instant,
}

impl LaneBeat {
    /// `ask` gives the question to the lane; false: the lane is gone.
    pub(crate) fn new(ask: impl Fn(Beat) -> bool + Send + Sync + 'static) -> Self {
        let asked = Mutex::new(Asked { number: 0, at: Instant::now() });
        Self { ask: Box::new(ask), asked, answered: Arc::default() }
    }

    /// How long the lane has owed an answer. Asks again when it has answered, so that the next call knows.
    pub(crate) fn since_turn(&self) -> Duration {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if self.answered.load(Relaxed) < asked.number {
            return asked.at.elapsed();
        }
        let (number, answered) = (asked.number + 1, Arc::clone(&self.answered));
        if (self.ask)(Beat { number, answered }) {
            *asked = Asked { number, at: Instant::now() };
        }
        Duration::ZERO
    }
}

impl std::fmt::Debug for LaneBeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaneBeat").field("asked", &self.asked).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_does_not_answer_is_asked_once_and_its_silence_measured() {
        let (sender, questions) = mpsc::channel();
        let beat = LaneBeat::new(move |beat| sender.send(beat).is_ok());
        assert_eq!(beat.since_turn(), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(70)).await;
        assert_eq!(beat.since_turn(), Duration::from_secs(70));
        let question = questions.try_recv().unwrap();
        assert!(questions.try_recv().is_err(), "asked twice");
        question.answer();
        assert_eq!(beat.since_turn(), Duration::ZERO, "answered, and asked again");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(beat.since_turn(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_is_gone_owes_nothing() {
        let beat = LaneBeat::new(|_| false);
        beat.since_turn();
        tokio::time::advance(Duration::from_secs(70)).await;
        assert_eq!(beat.since_turn(), Duration::ZERO);
    }
}
