//! A value that is read again when its file changes.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use routemq_crds::v1alpha1::KeyRef;
use tokio::time::Instant;

use super::{SecretError, read, store::Store};

/// A file is looked at again this often at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A parsed value; whoever asks for it gets it as it is now, to a second.
pub(crate) struct Watched<T> {
    /// `None`: a document's, which does not change.
    source: Option<PathBuf>,
    parse: fn(&[u8]) -> Result<T, String>,
    state: ArcSwap<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    /// Of the file that was looked at last, good or not.
    stamp: Option<(SystemTime, u64)>,
    looked: Instant,
}

impl<T> Watched<T> {
    pub(super) fn new(
        store: &Store,
        at: &KeyRef,
        parse: fn(&[u8]) -> Result<T, String>,
    ) -> Result<Self, SecretError> {
        let source = store.source(at)?;
        // Before the content: a change between the two is seen at the next look.
        let stamp = source.as_deref().and_then(stamp);
        let value = parse(&store.get(at)?).map_err(|reason| SecretError::Invalid {
            name: at.name.clone(),
            key: at.key.clone(),
            reason,
        })?;
        let state = State { value: Arc::new(value), stamp, looked: Instant::now() };
        Ok(Self { source, parse, state: ArcSwap::from_pointee(state) })
    }

    /// The value; a file that cannot be read, or holds nonsense, leaves the last good one.
    pub(crate) fn get(&self) -> Arc<T> {
        let state = self.state.load();
        match &self.source {
            Some(path) if state.looked.elapsed() >= LOOK_AGAIN => self.look(path, &state),
            _ => Arc::clone(&state.value),
        }
    }

    fn look(&self, path: &Path, old: &State<T>) -> Arc<T> {
        let stamp = stamp(path);
        let fresh = if stamp == old.stamp { None } else { self.parsed(path) };
        let value = fresh.map_or_else(|| Arc::clone(&old.value), Arc::new);
        let state = State { value: Arc::clone(&value), stamp, looked: Instant::now() };
        self.state.store(Arc::new(state));
        value
    }

    fn parsed(&self, path: &Path) -> Option<T> {
        let parsed = read(path).map_err(|error| error.to_string()).and_then(|it| (self.parse)(&it));
        parsed
            .inspect(|_| tracing::info!(path = %path.display(), "read again"))
            .inspect_err(|error| {
                tracing::warn!(path = %path.display(), error, "not read again, the last good one stays");
            })
            .ok()
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("source", &self.source).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{
        super::{Kind, Secrets},
        *,
    };

    static PARSED: AtomicU32 = AtomicU32::new(0);

    fn number(text: &[u8]) -> Result<u32, String> {
        PARSED.fetch_add(1, Ordering::SeqCst);
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        text.trim().parse().map_err(|_| "not a number".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_read_again_once_and_nonsense_leaves_the_last_good_value() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("n/k");
        std::fs::create_dir(folder.path().join("n")).unwrap();
        std::fs::write(&file, "1").unwrap();
        let secrets = Secrets::default().with_folder(folder.path());
        let at = KeyRef { name: "n".to_owned(), key: "k".to_owned() };
        let watched = secrets.watch(Kind::Secret, &at, number).unwrap();
        assert_eq!(*watched.get(), 1);
        std::fs::write(&file, "22").unwrap();
        assert_eq!(*watched.get(), 1, "not looked at twice within a second");
        tokio::time::advance(LOOK_AGAIN).await;
        assert_eq!(*watched.get(), 22);
        let parsed = PARSED.load(Ordering::SeqCst);
        std::fs::write(&file, "nonsense").unwrap();
        for _ in 0..3 {
            tokio::time::advance(LOOK_AGAIN).await;
            assert_eq!(*watched.get(), 22);
        }
        assert_eq!(PARSED.load(Ordering::SeqCst), parsed + 1, "nonsense is told once");
        std::fs::remove_file(&file).unwrap();
        tokio::time::advance(LOOK_AGAIN).await;
        assert_eq!(*watched.get(), 22);
        std::fs::write(&file, "333").unwrap();
        tokio::time::advance(LOOK_AGAIN).await;
        assert_eq!(*watched.get(), 333);
    }
}
