//! Finds the message that kills the process, again and again (out of memory, abort), and takes it out of the way.
//!
//! # How
//! A healthy worker writes nothing for a message. What is kept on the scratch folder is whether the last process ended
//! by itself, and how often in a row it did not:
//! 1. After one crash the worker *watches*: the fingerprint of each message in hand is written down while it is handled,
//!    and struck out after. Messages are handled beside each other as always.
//! 2. After two in a row it is *careful* as well: each message is handled alone, one at a time. All of them, not only
//!    those that are marked as sent again: not every broker marks what it hands from a dead member of a share to a living one.
//! 3. A message that was in hand at two crashes in a row, and alone at the second, is *accused* (on the fourth start, where it
//!    kills every time): it is not handled, but fails for good with the class `Crash`, and so becomes a dead letter. Being
//!    alone at one crash is not enough: a process that is killed from outside has something in hand, too.
//!
//! # Guarantees
//! - Nothing is lost: an accused message goes to the dead letter topic. Where its route has none it is handled again, with
//!   an error that says so: what was in hand at a crash did not cause it for certain, so nothing is discarded for it.
//! - A folder that is full, read-only or missing switches the journal off with one warning; messages go on.
//! - A process that lives for a minute, or stops as it was told to, starts the count anew.
//!
//! Messages of QoS 0 are never sent again, so they need no journal.

mod hand;
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

pub use self::record::RecordError;
use self::{hand::Fingerprint, record::Record};
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
    mode: Mode,
    /// When the first message came: whoever lives for a minute after it has survived.
    first: OnceLock<Instant>,
    /// `None`: the folder failed, and is not tried again.
    record: Mutex<Option<Record>>,
    /// Of a careful worker: held for writing by a message that is handled alone, for reading by every other.
    alone: Arc<RwLock<()>>,
}

/// What the crashes before this process make it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Calm,
    Watchful,
    Careful,
}

/// A message that is being handled by a worker that watches; dropping it strikes it out.
#[derive(Debug)]
pub(crate) struct Handling {
    /// It was in hand when the process died, more than once (see the module), and is not written down again.
    pub(crate) accused: bool,
    // Struck out before the next one has its turn: in the order of the fields.
    _place: Option<Place>,
    _turn: Turn,
}

/// How long others wait.
#[derive(Debug)]
#[allow(dead_code, reason = "held, not read")]
enum Turn {
    /// Not at all.
    Free,
    /// Of QoS 0: beside others, but not beside one that is handled alone.
    Beside(OwnedRwLockReadGuard<()>),
    /// Until this one's end.
    Alone(OwnedRwLockWriteGuard<()>),
}

/// Where a message is written down.
#[derive(Debug)]
struct Place {
    inner: Arc<Inner>,
    place: u32,
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

    /// The journal, where this worker has to watch.
    pub(crate) fn watching(&self) -> Option<&Self> {
        self.inner.as_deref()?.is_watching().then_some(self)
    }

    /// Writes a message down until what is returned is dropped; a careful worker's waits for its turn.
    pub(crate) async fn handling(&self, received: &Received) -> Handling {
        let inner = self.inner.clone().unwrap_or_default();
        let again = received.qos() != QoS::AtMostOnce;
        let turn = inner.turn(again).await;
        let fingerprint = fingerprint(received);
        let accused = again && inner.accuses(fingerprint);
        let place = if again && !accused { inner.begin(fingerprint) } else { None };
        Handling { accused, _place: place, _turn: turn }
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
        Self { mode: Mode::Calm, first, record, alone: Arc::default() }
    }
}

impl Inner {
    fn new(record: Record) -> Self {
        let mode = match record.crashes() {
            0 => Mode::Calm,
            CAREFUL_AFTER.. => Mode::Careful,
            _ => Mode::Watchful,
        };
        Self { mode, record: Mutex::new(Some(record)), ..Self::default() }
    }

    /// Asked for every message.
    fn is_watching(&self) -> bool {
        let first = self.first.get_or_init(Instant::now);
        self.mode != Mode::Calm && first.elapsed() < SURVIVED
    }

    fn has_survived(&self) -> bool {
        self.first.get().is_some_and(|first| first.elapsed() >= SURVIVED)
    }

    async fn turn(&self, again: bool) -> Turn {
        let alone = || Arc::clone(&self.alone);
        match self.mode {
            Mode::Careful if again => Turn::Alone(alone().write_owned().await),
            Mode::Careful => Turn::Beside(alone().read_owned().await),
            Mode::Calm | Mode::Watchful => Turn::Free,
        }
    }

    fn record(&self) -> MutexGuard<'_, Option<Record>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accuses(&self, fingerprint: Fingerprint) -> bool {
        self.record().as_ref().is_some_and(|record| record.accuses(fingerprint))
    }

    fn begin(self: &Arc<Self>, fingerprint: Fingerprint) -> Option<Place> {
        let place = self.write(|record| record.begin(fingerprint))?;
        Some(Place { inner: Arc::clone(self), place })
    }

    /// Writes a few bytes (blocking: only after crashes); a folder that fails is not tried again.
    fn write<T>(&self, change: impl FnOnce(&mut Record) -> Result<T, RecordError>) -> Option<T> {
        let mut record = self.record();
        match change(record.as_mut()?) {
            Ok(value) => Some(value),
            Err(error) => {
                off(&error);
                *record = None;
                None
            }
        }
    }
}

fn off(error: &RecordError) {
    let cause = error.cause();
    tracing::warn!(%error, %cause, "the crash journal is off: a message that kills the worker will not be found");
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inner.write(|record| record.end(self.place));
    }
}

/// The same for the same message, also in the next process of the same program.
fn fingerprint(received: &Received) -> Fingerprint {
    let mut hasher = foldhash::quality::FixedState::with_seed(0).build_hasher();
    hasher.write(received.topic().as_bytes());
    hasher.write_u8(0xff);
    hasher.write(received.original_payload());
    Fingerprint::new(hasher.finish()).unwrap_or(Fingerprint::MIN)
}

#[cfg(test)]
mod tests;
