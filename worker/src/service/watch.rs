//! Tells when documents or mounted values have changed.
//!
//! # How
//! The system is asked to tell of changes, which makes a change known at once; and every two seconds the files are looked at all the same,
//! because it does not always tell (no more watches to be had, a network file system, a mount that came later).
//! Either way it is the *content* that decides: a file that was touched, or written again as it was, is no change.
//!
//! # Guarantees
//! - Whatever changes after [`Watch::start`] is told, also what changed before the first [`Watch::changed`].
//! - Nothing is told while files are still being written: the content has stood still for a moment.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use routemq_crds::document::Documents;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::Sources;

/// Editors and kubelets change files in several steps: what follows within this time belongs to the same change.
const QUIET: Duration = Duration::from_millis(150);
/// How often files are looked at though nobody told of a change.
const LOOK: Duration = Duration::from_secs(2);
/// Looking takes at most this part of the time: large folders are looked at less often.
const SHARE: u32 = 20;
/// Changes that never end are told after so many looks.
const MOST_LOOKS: usize = 20;

/// Watches the files of [`Sources`].
#[derive(Debug)]
pub struct Watch {
    sources: Sources,
    seen: u64,
    pause: Duration,
    events: mpsc::Receiver<()>,
    /// Keeps `events` open where the system tells nothing.
    _sender: mpsc::Sender<()>,
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// From now on every change counts. Call it before the files are loaded.
    pub fn start(sources: &Sources) -> Self {
        let (sender, events) = mpsc::channel(1);
        let watcher = watcher(sources, sender.clone());
        Self {
            seen: fingerprint(sources),
            sources: sources.clone(),
            pause: LOOK,
            events,
            _sender: sender,
            _watcher: watcher,
        }
    }

    /// Resolves when the content has changed since it was last told, and stands still. A future that is dropped loses
    /// no change.
    pub async fn changed(&mut self) {
        loop {
            tokio::select! {
                _ = self.events.recv() => sleep(QUIET).await,
                () = sleep(self.pause) => {}
            }
            let now = self.look().await;
            if now != self.seen {
                self.seen = self.settled(now).await;
                return;
            }
        }
    }

    async fn settled(&mut self, mut now: u64) -> u64 {
        for _ in 0..MOST_LOOKS {
            sleep(QUIET).await;
            let again = self.look().await;
            if again == now {
                break;
            }
            now = again;
        }
        now
    }

    async fn look(&mut self) -> u64 {
        let (sources, started) = (self.sources.clone(), Instant::now());
        let looked = tokio::task::spawn_blocking(move || fingerprint(&sources)).await;
        self.pause = LOOK.max(started.elapsed() * SHARE);
        // The task neither panics nor is it aborted, but at the end of the runtime.
        looked.unwrap_or(self.seen)
    }
}

// === What the files say ===

fn fingerprint(sources: &Sources) -> u64 {
    let mut hasher = DefaultHasher::new();
    Documents::each_file(&sources.paths, |path, content| {
        (path, content).hash(&mut hasher);
    });
    for folder in mounts(sources) {
        each_value(folder, &mut |path, content| (path, content).hash(&mut hasher));
    }
    hasher.finish()
}

fn mounts(sources: &Sources) -> impl Iterator<Item = &PathBuf> {
    sources.secrets.iter().chain(&sources.config_maps)
}

/// The files in the folders of `folder`, in the order of their names.
fn each_value(folder: &Path, visit: &mut dyn FnMut(&Path, Option<Vec<u8>>)) {
    for mount in entries(folder) {
        for file in entries(&mount).into_iter().filter(|path| path.is_file()) {
            visit(&file, fs::read(&file).ok());
        }
    }
}

/// Without the kubelet's own: it writes a new folder, and then lets the link `..data` point there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| !is_kubelets(path)).collect();
    paths.sort();
    paths
}

fn is_kubelets(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".."))
}

// === What the system tells ===

fn watcher(sources: &Sources, changed: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let mounts: Vec<PathBuf> = mounts(sources).cloned().collect();
    let folders: Vec<(PathBuf, RecursiveMode)> = sources
        .paths
        .iter()
        .map(|path| to_watch(path))
        .chain(mounts.iter().map(|path| (path.clone(), RecursiveMode::Recursive)))
        .collect();
    let tell = move |event: notify::Result<notify::Event>| {
        let concerns = |path: &PathBuf| concerns(path, &mounts);
        let told = event.is_ok_and(|event| {
            !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(concerns)
        });
        if told {
            // Full: a look is due already.
            let _ = changed.try_send(());
        }
    };
    let watch = || {
        let mut watcher = notify::recommended_watcher(tell)?;
        for (folder, mode) in &folders {
            watcher.watch(folder, *mode)?;
        }
        Ok(watcher)
    };
    let watcher: notify::Result<RecommendedWatcher> = watch();
    watcher
        .inspect_err(|error| {
            tracing::debug!(%error, "the system does not tell of changes: looking every two seconds");
        })
        .ok()
}

/// Folders, never files: an editor replaces the file by another of the same name.
fn to_watch(path: &Path) -> (PathBuf, RecursiveMode) {
    if path.is_dir() {
        return (path.to_owned(), RecursiveMode::Recursive);
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    (parent.unwrap_or(Path::new(".")).to_owned(), RecursiveMode::NonRecursive)
}

/// A folder of documents may hold much that is none (the database of `dev`).
fn concerns(path: &Path, mounts: &[PathBuf]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
        || is_kubelets(path)
        || mounts.iter().any(|mount| path.starts_with(mount))
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn sources(folder: &Path) -> Sources {
        let documents = folder.join("routes");
        let secrets = folder.join("secrets");
        fs::create_dir_all(secrets.join("login")).unwrap();
        fs::create_dir_all(&documents).unwrap();
        fs::write(documents.join("a.yaml"), "one").unwrap();
        fs::write(secrets.join("login/password"), "one").unwrap();
        Sources { paths: vec![documents], secrets: Some(secrets), config_maps: None }
    }

    /// Deaf to the system: what is left is looking.
    fn deaf(sources: &Sources) -> Watch {
        let (sender, events) = mpsc::channel(1);
        Watch { events, _sender: sender, _watcher: None, ..Watch::start(sources) }
    }

    async fn within(what: &str, changed: impl Future<Output = ()>) {
        assert!(tokio::time::timeout(SOON, changed).await.is_ok(), "{what} was not told");
    }

    #[tokio::test]
    async fn a_change_is_told_with_and_without_the_systems_help_also_one_before_the_first_wait() {
        for deaf_to_events in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let sources = sources(folder.path());
            let start = if deaf_to_events { deaf } else { Watch::start };
            let mut watch = start(&sources);
            fs::write(folder.path().join("routes/a.yaml"), "two").unwrap();
            within("a changed document", watch.changed()).await;
            fs::write(folder.path().join("routes/b.json"), "{}").unwrap();
            within("a new document", watch.changed()).await;
            fs::write(folder.path().join("secrets/login/password"), "two").unwrap();
            within("a changed secret", watch.changed()).await;
            fs::create_dir(folder.path().join("secrets/late")).unwrap();
            fs::write(folder.path().join("secrets/late/key"), "x").unwrap();
            within("a new secret", watch.changed()).await;
        }
    }

    #[tokio::test]
    async fn what_is_written_again_as_it_was_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let sources = sources(folder.path());
        let mut watch = Watch::start(&sources);
        fs::write(folder.path().join("routes/a.yaml"), "one").unwrap();
        fs::write(folder.path().join("routes/notes.txt"), "no document").unwrap();
        let told = tokio::time::timeout(Duration::from_secs(3), watch.changed()).await;
        assert!(told.is_err(), "told of nothing");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_mount_that_a_kubelet_replaces_is_one_change() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let mount = folder.path().join("table");
        let generation = |name: &str, text: &str| {
            fs::create_dir_all(mount.join(name)).unwrap();
            fs::write(mount.join(name).join("route.json"), text).unwrap();
            symlink(name, mount.join("..data_tmp")).unwrap();
            fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
        };
        generation("..1", "one");
        symlink("..data/route.json", mount.join("route.json")).unwrap();
        let sources = Sources { paths: vec![mount.join("route.json")], ..Sources::default() };
        let mut watch = Watch::start(&sources);
        generation("..2", "two");
        fs::remove_dir_all(mount.join("..1")).unwrap();
        within("a new generation", watch.changed()).await;
        let again = tokio::time::timeout(Duration::from_secs(3), watch.changed()).await;
        assert!(again.is_err(), "told twice");
    }
}
