//! How far a message came.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering},
};

/// How far the handlers came: a handler that has done its work never runs again for this message.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Handlers that are finished.
    pub(crate) finished: AtomicUsize,
    /// The most attempts that one handler took.
    pub(crate) attempts: AtomicU32,
    /// A bit for each handler that its `when` skipped (a route has at most 8).
    skipped: AtomicU8,
    /// What handlers with `as` left, by handler index.
    results: Mutex<Vec<(usize, cel::Value)>>,
}

impl Progress {
    /// A handler was tried so many times.
    pub(crate) fn tried(&self, attempts: u32) {
        if self.attempts.load(Ordering::Relaxed) < attempts {
            self.attempts.fetch_max(attempts, Ordering::Relaxed);
        }
    }

    /// Handlers that are finished and were not skipped.
    pub(super) fn acted(&self) -> impl Iterator<Item = usize> + use<> {
        let finished = self.finished.load(Ordering::Relaxed);
        let skipped = u64::from(self.skipped.load(Ordering::Relaxed));
        (0..finished.min(64)).filter(move |at| skipped & (1 << at) == 0)
    }

    pub(crate) fn skip(&self, handler: usize) {
        self.skipped.fetch_or(bit(handler), Ordering::Relaxed);
    }

    pub(crate) fn is_skipped(&self, handler: usize) -> bool {
        self.skipped.load(Ordering::Relaxed) & bit(handler) != 0
    }

    pub(crate) fn results(&self) -> MutexGuard<'_, Vec<(usize, cel::Value)>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bit(handler: usize) -> u8 {
    u32::try_from(handler).ok().and_then(|at| 1_u8.checked_shl(at)).unwrap_or(0)
}
