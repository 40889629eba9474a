//! How many messages a subject has handled, and how many of them came in the wrong order.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// The counts of a subject.
#[derive(Debug)]
pub(crate) struct Tally {
    handled: AtomicU64,
    disorder: AtomicU64,
    /// The last sequence number of each key.
    last: Vec<AtomicU64>,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) handled: u64,
    pub(crate) disorder: u64,
}

impl Tally {
    /// Counts, and writes the counts into `file` each millisecond.
    pub(crate) fn start(file: &Path, keys: usize) -> Arc<Self> {
        let last = (0..keys).map(|_| AtomicU64::new(0)).collect();
        let tally =
            Arc::new(Self { handled: AtomicU64::new(0), disorder: AtomicU64::new(0), last });
        if let Ok(file) = File::create(file) {
            let shown = Arc::clone(&tally);
            thread::spawn(move || {
                loop {
                    let counts = [shown.handled.load(Relaxed), shown.disorder.load(Relaxed)];
                    let bytes: Vec<u8> = counts.iter().flat_map(|it| it.to_le_bytes()).collect();
                    // Whoever reads it may have removed it.
                    let _ = file.write_all_at(&bytes, 0);
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
        tally
    }

    /// So many more.
    pub(crate) fn add(&self, messages: u64) {
        self.handled.fetch_add(messages, Relaxed);
    }

    /// One more, the `sequence`-th of the stream; its key's messages must come in the order of the stream.
    pub(crate) fn note(&self, key: usize, sequence: u64) {
        self.add(1);
        if self.last.get(key).is_none_or(|last| last.swap(sequence, Relaxed) >= sequence) {
            self.disorder.fetch_add(1, Relaxed);
        }
    }
}

impl Progress {
    /// As the file says.
    pub(crate) fn read(file: &File) -> Self {
        let mut bytes = [0; 16];
        if file.read_exact_at(&mut bytes, 0).is_err() {
            return Self::default();
        }
        let [handled, disorder] = [0, 8].map(|at| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        });
        Self { handled, disorder }
    }
}
