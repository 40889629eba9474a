//! How many messages a subject has handled, and how many of them came in the wrong order.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// How often a subject shows how far it is: a two hundredth of the shortest span that is measured.
const SHOWN: Duration = Duration::from_millis(4);

/// Counters of what was handled: threads do not contend for one, which would be the measurement's fault and not the subject's.
const COUNTERS: usize = 16;

thread_local! {
    /// The thread's counter.
    static OWN: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Relaxed) % COUNTERS
    };
}

/// Alone in its lines of the cache.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counter(AtomicU64);

/// The counts of a subject.
#[derive(Debug)]
pub(crate) struct Tally {
    handled: [Counter; COUNTERS],
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
    /// Counts, and writes the counts into `file` each [`SHOWN`].
    pub(crate) fn start(file: &Path, keys: usize) -> Arc<Self> {
        let last = (0..keys).map(|_| AtomicU64::new(0)).collect();
        let tally =
            Arc::new(Self { handled: Default::default(), disorder: AtomicU64::new(0), last });
        if let Ok(file) = File::create(file) {
            let shown = Arc::clone(&tally);
            thread::spawn(move || show(&shown, &file));
        }
        tally
    }

    /// So many more.
    pub(crate) fn add(&self, messages: u64) {
        OWN.with(|own| self.handled[*own].0.fetch_add(messages, Relaxed));
    }

    fn handled(&self) -> u64 {
        self.handled.iter().map(|counter| counter.0.load(Relaxed)).sum()
    }

    /// One more, the `sequence`-th of the stream; its key's messages must come in the order of the stream.
    pub(crate) fn note(&self, key: usize, sequence: u64) {
        self.add(1);
        if self.last.get(key).is_none_or(|last| last.swap(sequence, Relaxed) >= sequence) {
            self.disorder.fetch_add(1, Relaxed);
        }
    }
}

/// Only what has changed: those who are not measured now shall not disturb whoever is.
fn show(tally: &Tally, file: &File) {
    let mut shown = [0; 2];
    loop {
        let counts = [tally.handled(), tally.disorder.load(Relaxed)];
        if counts != shown {
            shown = counts;
            let bytes: Vec<u8> = counts.iter().flat_map(|it| it.to_le_bytes()).collect();
            // Whoever reads it may have removed it.
            let _ = file.write_all_at(&bytes, 0);
        }
        thread::sleep(SHOWN);
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
