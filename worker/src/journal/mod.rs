//! Finds the message that kills the process, again and again (out of memory, abort), and takes it out of the way.
//!
//! # How
//! A healthy worker writes nothing for a message. What is kept on the scratch folder is whether the last process ended
//! by itself, and how often in a row it did not:
//! 1. After a crash the worker *watches*: the fingerprint of each message in hand is written down while it is handled,
//!    and struck out after. Messages are handled beside each other as always.
//! 2. What was in hand at the next crash is *suspect*: the process after it handles each of these alone, with nothing beside
//!    it, and all others as always. Whether they are marked as sent again does not count: not every broker marks what it
//!    hands from a dead member of a share to a living one.
//! 3. A suspect that is in hand at one more crash is *accused* (on the fourth start, where it kills every time): it is not
//!    handled, but fails for good with the class `Crash`, and so becomes a dead letter. Being in hand once is not enough:
//!    a process that is killed from outside has something in hand, too.
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

/// Watches over what is handled. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    /// After a crash.
    watches: bool,
    /// When the first message came: whoever lives for a minute after it has survived.
    first: OnceLock<Instant>,
    /// `None`: the folder failed, and is not tried again.
    record: Mutex<Option<Record>>,
    /// Held for writing by a message that is handled alone, for reading by every other that is watched.
    alone: Arc<RwLock<()>>,
}

/// What is known of a message from crashes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    Suspect,
    Accused,
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

/// Beside which others it is handled.
#[derive(Debug)]
#[allow(dead_code, reason = "held, not read")]
enum Turn {
    /// All but those that are handled alone.
    Beside(OwnedRwLockReadGuard<()>),
    /// None.
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
        record.started()?;
        let (crashes, suspects) = (record.crashes(), record.suspects());
        if suspects > 0 {
            tracing::warn!(
                crashes,
                suspects,
                "the process ended without being told to, more than once in a row: what it was handling is handled one by one"
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

    /// Writes a message down until what is returned is dropped; a suspect waits for its turn, and the others for it.
    pub(crate) async fn handling(&self, received: &Received) -> Handling {
        let inner = self.inner.clone().unwrap_or_default();
        if received.qos() == QoS::AtMostOnce {
            return Handling { accused: false, _place: None, _turn: inner.beside().await };
        }
        let fingerprint = fingerprint(received);
        let known = inner.known(fingerprint);
        let turn = match known {
            Known::Nothing => inner.beside().await,
            Known::Suspect | Known::Accused => inner.alone().await,
        };
        let accused = known == Known::Accused;
        let place = if accused { None } else { inner.begin(fingerprint) };
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
        Self { watches: false, first, record, alone: Arc::default() }
    }
}

impl Inner {
    fn new(record: Record) -> Self {
        let watches = record.crashes() > 0;
        Self { watches, record: Mutex::new(Some(record)), ..Self::default() }
    }

    /// Asked for every message.
    fn is_watching(&self) -> bool {
        let first = self.first.get_or_init(Instant::now);
        self.watches && first.elapsed() < SURVIVED
    }

    fn has_survived(&self) -> bool {
        self.first.get().is_some_and(|first| first.elapsed() >= SURVIVED)
    }

    async fn beside(&self) -> Turn {
        Turn::Beside(Arc::clone(&self.alone).read_owned().await)
    }

    async fn alone(&self) -> Turn {
        Turn::Alone(Arc::clone(&self.alone).write_owned().await)
    }

    fn record(&self) -> MutexGuard<'_, Option<Record>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, fingerprint: Fingerprint) -> Known {
        self.record().as_ref().map_or(Known::Nothing, |record| record.known(fingerprint))
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
