//! The folder: `running` (a process runs, or ended without being told to), `crashes` (how many in a row), `handling` (the
//! message that is handled alone), `poison` (those that were, when it crashed).

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// Messages that are remembered; a worker that needs more has another trouble.
const MOST: usize = 1000;

/// What is being written, until it takes the place of another file.
const DRAFT: &str = "draft";

/// What the folder says. Every change is on it when the call returns (survives the process, not the machine).
#[derive(Debug)]
pub(super) struct Record {
    folder: PathBuf,
    crashes: u32,
    poison: BTreeSet<u64>,
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
        let mut record = Self { folder: folder.to_owned(), crashes: 0, poison: BTreeSet::new() };
        if record.file("running").exists() {
            let before = record.numbers("crashes")?.first().copied().unwrap_or(0);
            record.crashes = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
            record.poison.extend(record.numbers("poison")?);
            record.poison.extend(record.numbers("handling")?);
        }
        Ok(record)
    }

    /// Crashes in a row before this process.
    pub(super) fn crashes(&self) -> u32 {
        self.crashes
    }

    /// Whether the process died while this message was handled alone.
    pub(super) fn is_poison(&self, fingerprint: u64) -> bool {
        self.poison.contains(&fingerprint)
    }

    /// This process begins.
    pub(super) fn started(&mut self) -> Result<(), RecordError> {
        self.write("crashes", &[u64::from(self.crashes)])?;
        let poison: Vec<u64> = self.poison.iter().copied().take(MOST).collect();
        self.write("poison", &poison)?;
        self.write("handling", &[])?;
        self.write("running", &[])
    }

    /// A message is handled alone from now on.
    pub(super) fn begin(&mut self, fingerprint: u64) -> Result<(), RecordError> {
        self.write("handling", &[fingerprint])
    }

    /// It came to its end.
    pub(super) fn end(&mut self) -> Result<(), RecordError> {
        self.write("handling", &[])
    }

    /// What killed the processes before does not kill this one.
    pub(super) fn survived(&mut self) -> Result<(), RecordError> {
        // No file: the next crash is the first.
        self.remove("crashes")
    }

    /// The process ends as it was told to.
    pub(super) fn stopped(&mut self) -> Result<(), RecordError> {
        self.remove("crashes")?;
        self.remove("poison")?;
        self.remove("running")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A number a line; a file that is not there has none, and what is no number is skipped: half a line of a process that died.
    fn numbers(&self, name: &str) -> Result<Vec<u64>, RecordError> {
        let path = self.file(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(RecordError::Read { path: path.display().to_string(), source }),
        }
    }

    /// Whole or not at all: a process that dies meanwhile, or a volume that is full, leaves what was there.
    fn write(&self, name: &str, numbers: &[u64]) -> Result<(), RecordError> {
        let (path, draft) = (self.file(name), self.file(DRAFT));
        let text: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        let failed = |source| RecordError::Write { path: path.display().to_string(), source };
        fs::write(&draft, text.join("\n")).map_err(failed)?;
        fs::rename(&draft, &path).map_err(failed)
    }

    fn remove(&self, name: &str) -> Result<(), RecordError> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(RecordError::Write { path: path.display().to_string(), source: error })
            }
            _ => Ok(()),
        }
    }
}
