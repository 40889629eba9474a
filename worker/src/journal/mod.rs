//! Finds the message that kills the process, again and again (out of memory, abort), and takes it out of the way.
//!
//! # How
//! A healthy worker writes nothing for a message. What is kept on the scratch folder is whether the last process ended
//! by itself, and how often in a row it did not:
//! 1. After one crash everything goes on as always.
//! 2. After two in a row the worker is *careful*: each message is handled alone, one at a time, its fingerprint written
//!    before and struck out after. All of them, not only those that are marked as sent again: not every broker marks
//!    what it hands from a dead member of a share to a living one.
//! 3. A crash meanwhile leaves the fingerprint. The next start (the fourth, for a message that kills every time) does
//!    not handle that message: it fails for good, with the class `Crash`, and so becomes a dead letter.
//!
//! # Guarantees
//! - Nothing is lost: the message goes to the dead letter topic like any other that fails for good.
//! - A folder that is full, read-only or missing switches the journal off with one warning; messages go on.
//! - A process that lives for a minute, or stops as it was told to, starts the count anew.
//!
//! Messages of QoS 0 are never sent again, so they need no journal.

mod record;

use std::{
    hash::{BuildHasher as _, Hasher as _},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use routemq_mqtt::QoS;
use tokio::{
    sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock},
    time::Instant,
};

use self::record::Record;
pub use self::record::RecordError;
use crate::message::Received;

/// A process that lived so long has come past what killed the one before.
const SURVIVED: Duration = Duration::from_mins(1);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_secs(5);
/// Crashes in a row after which a worker is careful.
const CAREFUL_AFTER: u32 = 2;

/// Watches over what is handled. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    careful: bool,
    /// When the first message came: whoever lives for a minute after it has survived.
    first: OnceLock<Instant>,
    /// `None`: the folder failed, and is not tried again.
    record: Mutex<Option<Record>>,
    /// Held for writing by a message that is handled alone, for reading by every other.
    alone: Arc<RwLock<()>>,
}

/// What may be done with a message.
#[derive(Debug)]
pub(crate) enum Permit {
    /// Handle it, and keep this until its end.
    Handle(Handling),
    /// It killed the process: do not touch it.
    Poison,
}

/// A message that is being handled by a careful worker; dropping it strikes it out.
#[derive(Debug)]
pub(crate) enum Handling {
    /// Of QoS 0: beside others, but not beside one that is handled alone.
    Beside(#[allow(dead_code, reason = "held, not read")] OwnedRwLockReadGuard<()>),
    /// Alone, and written down.
    Alone(#[allow(dead_code, reason = "held, not read")] Alone),
}

/// See [`Handling::Alone`].
#[derive(Debug)]
pub(crate) struct Alone {
    inner: Arc<Inner>,
    _guard: OwnedRwLockWriteGuard<()>,
}

impl Journal {
    /// Opens the journal in a folder of its own: says there that a process runs, and reads how the last one ended.
    ///
    /// # Errors
    /// Where the folder cannot be read or written; the caller goes on with [`Journal::default`], which does nothing.
    pub fn open(folder: &Path) -> Result<Self, RecordError> {
        let mut record = Record::read(folder)?;
        let crashes = record.crashes();
        record.started()?;
        if crashes >= CAREFUL_AFTER {
            tracing::warn!(
                crashes,
                "the process ended without being told to, more than once in a row: for a minute messages are handled one by one"
            );
        }
        Ok(Self { inner: Some(Arc::new(Inner::new(record))) })
    }

    /// The same; where the folder is of no use, one warning, and no journal.
    #[must_use]
    pub fn open_or_go_without(folder: &Path) -> Self {
        Self::open(folder).unwrap_or_else(|error| {
            off(&error);
            Self::default()
        })
    }

    /// The journal, where this worker has to be careful.
    pub(crate) fn careful(&self) -> Option<&Self> {
        self.inner.as_deref()?.is_careful().then_some(self)
    }

    /// Whether a message may be handled; waits for its turn.
    pub(crate) async fn permit(&self, received: &Received) -> Permit {
        let inner = self.inner.clone().unwrap_or_default();
        if received.qos() == QoS::AtMostOnce {
            return Permit::Handle(Handling::Beside(Arc::clone(&inner.alone).read_owned().await));
        }
        let guard = Arc::clone(&inner.alone).write_owned().await;
        let fingerprint = fingerprint(received);
        if inner.is_poison(fingerprint) {
            return Permit::Poison;
        }
        inner.write(|record| record.begin(fingerprint));
        Permit::Handle(Handling::Alone(Alone { inner, _guard: guard }))
    }

    /// Resolves when this process has survived (see the module), and says so in the folder. Never where there is no journal.
    pub async fn survived(&self) {
        let Some(inner) = &self.inner else { return std::future::pending().await };
        while !inner.has_survived() {
            tokio::time::sleep(LOOK).await;
        }
        inner.write(Record::survived);
    }

    /// The process ends as it was told to.
    pub fn close(&self) {
        if let Some(inner) = &self.inner {
            inner.write(Record::stopped);
        }
    }
}

impl Default for Inner {
    fn default() -> Self {
        let (first, record) = (OnceLock::new(), Mutex::default());
        Self { careful: false, first, record, alone: Arc::default() }
    }
}

impl Inner {
    fn new(record: Record) -> Self {
        let careful = record.crashes() >= CAREFUL_AFTER;
        Self { careful, record: Mutex::new(Some(record)), ..Self::default() }
    }

    /// Asked for every message.
    fn is_careful(&self) -> bool {
        let first = self.first.get_or_init(Instant::now);
        self.careful && first.elapsed() < SURVIVED
    }

    fn has_survived(&self) -> bool {
        self.first.get().is_some_and(|first| first.elapsed() >= SURVIVED)
    }

    fn record(&self) -> MutexGuard<'_, Option<Record>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_poison(&self, fingerprint: u64) -> bool {
        self.record().as_ref().is_some_and(|record| record.is_poison(fingerprint))
    }

    /// Writes a few bytes (blocking: careful workers only); a folder that fails is not tried again.
    fn write(&self, change: impl FnOnce(&mut Record) -> Result<(), RecordError>) {
        let mut record = self.record();
        if let Some(error) = record.as_mut().and_then(|record| change(record).err()) {
            off(&error);
            *record = None;
        }
    }
}

fn off(error: &RecordError) {
    let cause = error.cause();
    tracing::warn!(%error, %cause, "the crash journal is off: a message that kills the worker will not be found");
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.inner.write(Record::end);
    }
}

/// The same for the same message, also in the next process of the same program.
fn fingerprint(received: &Received) -> u64 {
    let mut hasher = foldhash::quality::FixedState::with_seed(0).build_hasher();
    hasher.write(received.topic().as_bytes());
    hasher.write_u8(0xff);
    hasher.write(received.original_payload());
    hasher.finish()
}

#[cfg(test)]
mod tests;
