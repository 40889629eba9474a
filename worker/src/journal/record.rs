//! The folder: `running` (a process runs, or ended without being told to: which one), `state` (crashes in a row, and what is
//! known from them), `handling` (what the process has in hand; see `hand`).

use std::{
    collections::BTreeSet,
    fs, io, mem,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Known,
    hand::{Fingerprint, Hand},
};

/// Messages of each kind that are remembered; a worker that needs more has another trouble.
const MOST: usize = 100_000;

/// The number of the process: the crashes before it.
const RUNNING: &str = "running";
const STATE: &str = "state";
const HANDLING: &str = "handling";
/// What is being written, until it takes the place of another file.
const DRAFT: &str = "draft";

/// What the folder says. Every change is on it when the call returns (survives the process, not the machine).
#[derive(Debug)]
pub(super) struct Record {
    folder: PathBuf,
    state: State,
    /// Opened when the first message is written down.
    hand: Option<Hand>,
}

/// What is known when a process begins.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// In a row, before this process.
    crashes: u32,
    /// In hand at one of them.
    suspects: BTreeSet<Fingerprint>,
    /// Suspects that were in hand at a later one.
    accused: BTreeSet<Fingerprint>,
}

impl State {
    /// One more crash, with these in hand.
    fn crashed(&mut self, hand: &BTreeSet<Fingerprint>) {
        self.crashes = self.crashes.saturating_add(1);
        let again = hand.intersection(&self.suspects).copied();
        self.accused.extend(again.take(MOST.saturating_sub(self.accused.len())));
        self.suspects.extend(hand.iter().take(MOST.saturating_sub(self.suspects.len())));
    }
}

/// Why the folder is of no use.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be written: full, read-only, not there.
    #[error("cannot write {path}")]
    Write {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl RecordError {
    /// What the system said.
    pub(super) fn cause(&self) -> &io::Error {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => source,
        }
    }
}

impl Record {
    /// Reads the folder, which is made where it is not there, and counts the crash if the last process ended in one.
    pub(super) fn read(folder: &Path) -> Result<Self, RecordError> {
        let write = |source| RecordError::Write { path: folder.display().to_string(), source };
        fs::create_dir_all(folder).map_err(write)?;
        let mut record = Self { folder: folder.to_owned(), state: State::default(), hand: None };
        if let Some(running) = record.file(RUNNING)? {
            let state = record.file(STATE)?.unwrap_or_default();
            // What is no state is that of another version.
            record.state = serde_json::from_slice(&state).unwrap_or_default();
            // A process that died while it began has nothing in hand, and what lies there was counted before.
            let its_own = running == record.state.crashes.to_string().into_bytes();
            let hand =
                if its_own { record.file(HANDLING)?.unwrap_or_default() } else { Vec::new() };
            record.state.crashed(&Hand::left(&hand).collect());
        }
        Ok(record)
    }

    /// Crashes in a row before this process.
    pub(super) fn crashes(&self) -> u32 {
        self.state.crashes
    }

    /// How many messages were in hand at one of them.
    pub(super) fn suspects(&self) -> usize {
        self.state.suspects.len()
    }

    /// What they say about a message.
    pub(super) fn known(&self, fingerprint: Fingerprint) -> Known {
        match &self.state {
            state if state.accused.contains(&fingerprint) => Known::Accused,
            state if state.suspects.contains(&fingerprint) => Known::Suspect,
            _ => Known::Nothing,
        }
    }

    /// This process begins.
    pub(super) fn started(&mut self) -> Result<(), RecordError> {
        self.write_state()?;
        self.remove(HANDLING)?;
        self.write(RUNNING, self.state.crashes.to_string().as_bytes())
    }

    /// A message is handled from now on; its place.
    pub(super) fn begin(&mut self, fingerprint: Fingerprint) -> Result<u32, RecordError> {
        self.hand(|hand| hand.begin(fingerprint))
    }

    /// It came to its end.
    pub(super) fn end(&mut self, place: u32) -> Result<(), RecordError> {
        self.hand(|hand| hand.end(place))
    }

    /// What killed the processes before does not kill this one.
    pub(super) fn survived(&mut self) -> Result<(), RecordError> {
        self.state = State { accused: mem::take(&mut self.state.accused), ..State::default() };
        self.write_state()
    }

    /// The process ends as it was told to.
    pub(super) fn stopped(&mut self) -> Result<(), RecordError> {
        self.remove(RUNNING)?;
        self.remove(STATE)?;
        self.remove(HANDLING)
    }

    fn hand<T>(
        &mut self,
        change: impl FnOnce(&mut Hand) -> io::Result<T>,
    ) -> Result<T, RecordError> {
        let path = self.folder.join(HANDLING);
        let changed = match &mut self.hand {
            Some(hand) => change(hand),
            none => fs::File::create(&path).and_then(|file| change(none.insert(Hand::new(file)))),
        };
        changed.map_err(|source| RecordError::Write { path: path.display().to_string(), source })
    }

    /// `None` where it is not there.
    fn file(&self, name: &str) -> Result<Option<Vec<u8>>, RecordError> {
        let path = self.folder.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RecordError::Read { path: path.display().to_string(), source }),
        }
    }

    fn write_state(&self) -> Result<(), RecordError> {
        let text = serde_json::to_vec(&self.state).unwrap_or_default();
        self.write(STATE, &text)
    }

    /// Whole or not at all: a process that dies meanwhile, or a volume that is full, leaves what was there.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RecordError> {
        let (path, draft) = (self.folder.join(name), self.folder.join(DRAFT));
        let failed = |source| RecordError::Write { path: path.display().to_string(), source };
        fs::write(&draft, bytes).map_err(failed)?;
        fs::rename(&draft, &path).map_err(failed)
    }

    fn remove(&self, name: &str) -> Result<(), RecordError> {
        let path = self.folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(RecordError::Write { path: path.display().to_string(), source: error })
            }
            _ => Ok(()),
        }
    }
}
