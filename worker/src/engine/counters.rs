//! What a route's messages went through.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a route's messages went through, beyond their outcome. Counted from the engine's start.
#[derive(Debug, Default)]
pub struct RouteCounters {
    pub(crate) retries: Counter,
    pub(crate) skipped: Counter,
    pub(crate) unanswered: Counter,
    pub(crate) unheard: Counter,
    pub(crate) discarded: Counter,
}

/// Counts up.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds one; returns what it was.
    pub(crate) fn up(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl RouteCounters {
    /// Attempts beyond the first, of any handler.
    pub fn retries(&self) -> u64 {
        self.retries.get()
    }

    /// Handlers that their `when` skipped.
    pub fn skipped(&self) -> u64 {
        self.skipped.get()
    }

    /// `reply` handlers whose message named no response topic.
    pub fn unanswered(&self) -> u64 {
        self.unanswered.get()
    }

    /// Dead letters that the broker took although nobody subscribes to their topic.
    pub fn unheard_dead_letters(&self) -> u64 {
        self.unheard.get()
    }

    /// Messages given up where the spec names no dead letter topic.
    pub fn discarded(&self) -> u64 {
        self.discarded.get()
    }
}
