//! Messages that are tried until they are done, as the engine does.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use routemq_tests::{ensure, eventually};
use routemq_worker::{
    database::{Inserter, SqlValue},
    outcome::FailureKind,
};
use tokio::task::JoinSet;

/// Writers at work, and what they were told.
pub(crate) struct Load {
    writers: JoinSet<()>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    next: AtomicI64,
    done: AtomicI64,
    stop: AtomicBool,
    failures: Mutex<BTreeMap<FailureKind, usize>>,
}

impl Load {
    /// Each writer writes one row after the other: a key that nobody else has, and `value`.
    pub(crate) fn start(inserter: &Inserter, writers: usize, value: &'static str) -> Self {
        let shared = Arc::new(Shared::default());
        let mut set = JoinSet::new();
        for _ in 0..writers {
            set.spawn(write(inserter.clone(), Arc::clone(&shared), value));
        }
        Self { writers: set, shared }
    }

    /// Rows that were told to be committed.
    pub(crate) fn done(&self) -> i64 {
        self.shared.done.load(Ordering::Relaxed)
    }

    /// Failures so far, by kind.
    pub(crate) fn failures(&self) -> BTreeMap<FailureKind, usize> {
        self.shared.failures.lock().unwrap().clone()
    }

    /// Waits for `count` rows more.
    pub(crate) async fn progress(&self, count: i64) {
        let wanted = self.done() + count;
        eventually("rows go on", Duration::from_mins(1), async || {
            ensure(self.done() >= wanted, || format!("{} of {wanted} done", self.done()))
        })
        .await;
    }

    /// Lets each writer finish its row; gives how many rows there must be.
    pub(crate) async fn finish(mut self) -> i64 {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(writer) = self.writers.join_next().await {
            writer.unwrap();
        }
        self.done()
    }
}

async fn write(inserter: Inserter, shared: Arc<Shared>, value: &'static str) {
    while !shared.stop.load(Ordering::Relaxed) {
        let key = shared.next.fetch_add(1, Ordering::Relaxed);
        while let Err(failure) = inserter.write(vec![SqlValue::Int(key), value.into()]).await {
            *shared.failures.lock().unwrap().entry(failure.kind).or_default() += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        shared.done.fetch_add(1, Ordering::Relaxed);
    }
}
