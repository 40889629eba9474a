//! Values of Secrets and ConfigMaps: from documents, or from folders as Kubernetes mounts them.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use routemq_crds::{document::Documents, v1alpha1::KeyRef};
use tokio::time::Instant;

/// A file is looked at again this often at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Where the values that specs refer to are found: documents first, then folders. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    values: Arc<BTreeMap<(String, String), Bytes>>,
    folders: Arc<Vec<PathBuf>>,
}

/// A value that is read again when its file changes.
pub(crate) struct Watched<T> {
    source: Option<PathBuf>,
    parse: fn(&[u8]) -> Result<T, String>,
    state: ArcSwap<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    stamp: Option<(SystemTime, u64)>,
    looked: Instant,
}

/// Why a value is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// No document and no folder has it.
    #[error("there is no key {key:?} in {name:?}{places}")]
    Missing {
        /// The Secret's or ConfigMap's name.
        name: String,
        /// The key.
        key: String,
        /// Where it was looked for.
        places: String,
    },
    /// It is there, but not what it should be.
    #[error("key {key:?} of {name:?}: {reason}")]
    Invalid {
        /// The Secret's or ConfigMap's name.
        name: String,
        /// The key.
        key: String,
        /// What is wrong, without content.
        reason: String,
    },
    /// Its file cannot be read.
    #[error("cannot read {path}: {reason}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
}

impl Secrets {
    /// Adds a value. Later values win.
    #[must_use]
    pub fn with_value(
        mut self,
        name: impl Into<String>,
        key: impl Into<String>,
        value: impl Into<Bytes>,
    ) -> Self {
        Arc::make_mut(&mut self.values).insert((name.into(), key.into()), value.into());
        self
    }

    /// Adds a folder that holds a folder per Secret or ConfigMap, a file per key.
    #[must_use]
    pub fn with_folder(mut self, path: impl Into<PathBuf>) -> Self {
        Arc::make_mut(&mut self.folders).push(path.into());
        self
    }

    /// The Secrets and ConfigMaps among `documents` that belong to `namespace`.
    pub fn from_documents(documents: &Documents, namespace: &str) -> Self {
        let here = |found: &Option<String>| found.as_deref().is_none_or(|it| it == namespace);
        let mut secrets = Self::default();
        for map in documents.config_maps.iter().map(|it| &it.object) {
            let (Some(name), true) = (&map.metadata.name, here(&map.metadata.namespace)) else {
                continue;
            };
            for (key, value) in map.data.iter().flatten() {
                secrets = secrets.with_value(name, key, value.clone());
            }
            for (key, value) in map.binary_data.iter().flatten() {
                secrets = secrets.with_value(name, key, value.0.clone());
            }
        }
        for secret in documents.secrets.iter().map(|it| &it.object) {
            let (Some(name), true) = (&secret.metadata.name, here(&secret.metadata.namespace))
            else {
                continue;
            };
            for (key, value) in secret.data.iter().flatten() {
                secrets = secrets.with_value(name, key, value.0.clone());
            }
            for (key, value) in secret.string_data.iter().flatten() {
                secrets = secrets.with_value(name, key, value.clone());
            }
        }
        secrets
    }

    /// The value as it is now.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn get(&self, at: &KeyRef) -> Result<Bytes, SecretError> {
        if let Some(value) = self.values.get(&(at.name.clone(), at.key.clone())) {
            return Ok(value.clone());
        }
        read(&self.file(at)?)
    }

    /// The value as text, without the line end that editors and `echo` leave.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn text(&self, at: &KeyRef) -> Result<String, SecretError> {
        let value = self.get(at)?;
        Ok(String::from_utf8_lossy(&value).trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The value, parsed, and parsed again when its file changes.
    pub(crate) fn watch<T>(
        &self,
        at: &KeyRef,
        parse: fn(&[u8]) -> Result<T, String>,
    ) -> Result<Watched<T>, SecretError> {
        let value = parse(&self.get(at)?).map_err(|reason| SecretError::Invalid {
            name: at.name.clone(),
            key: at.key.clone(),
            reason,
        })?;
        let known = self.values.contains_key(&(at.name.clone(), at.key.clone()));
        let source = if known { None } else { Some(self.file(at)?) };
        let state = State {
            value: Arc::new(value),
            stamp: source.as_deref().and_then(stamp),
            looked: Instant::now(),
        };
        Ok(Watched { source, parse, state: ArcSwap::from_pointee(state) })
    }

    /// The folder that a Secret or ConfigMap is mounted at, where it is; documents come first.
    pub fn mounted(&self, name: &str) -> Option<PathBuf> {
        let in_documents = self.values.keys().any(|(known, _)| known == name);
        let folders = self.folders.iter().map(|folder| folder.join(name));
        if in_documents { None } else { folders.into_iter().find(|path| path.is_dir()) }
    }

    fn file(&self, at: &KeyRef) -> Result<PathBuf, SecretError> {
        let candidates = self.folders.iter().map(|folder| folder.join(&at.name).join(&at.key));
        candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| self.missing(at))
    }

    fn missing(&self, at: &KeyRef) -> SecretError {
        let folders: Vec<_> = self.folders.iter().map(|it| it.display().to_string()).collect();
        let places = match folders.as_slice() {
            [] => "; add the Secret or ConfigMap to the files, or name its folder".to_owned(),
            folders => format!(", neither among the documents nor under {}", folders.join(", ")),
        };
        SecretError::Missing { name: at.name.clone(), key: at.key.clone(), places }
    }
}

impl<T> Watched<T> {
    /// The value; a file that cannot be read, or holds nonsense, leaves the last good one.
    pub(crate) fn get(&self) -> Arc<T> {
        let state = self.state.load();
        match &self.source {
            Some(path) if state.looked.elapsed() >= LOOK_AGAIN => self.look(path, &state),
            _ => Arc::clone(&state.value),
        }
    }

    fn look(&self, path: &Path, old: &State<T>) -> Arc<T> {
        let new = stamp(path);
        let fresh = if new == old.stamp { None } else { self.parsed(path) };
        let changed = fresh.is_some();
        let value = fresh.map_or_else(|| Arc::clone(&old.value), Arc::new);
        let stamp = if changed { new } else { old.stamp };
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

fn read(path: &Path) -> Result<Bytes, SecretError> {
    std::fs::read(path).map(Bytes::from).map_err(|error| SecretError::Unreadable {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

// === Debug without secrets ===

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.values.keys().collect();
        f.debug_struct("Secrets").field("values", &names).field("folders", &self.folders).finish()
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("source", &self.source).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str, key: &str) -> KeyRef {
        KeyRef { name: name.to_owned(), key: key.to_owned() }
    }

    fn number(text: &[u8]) -> Result<u32, String> {
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        text.trim().parse().map_err(|_| "not a number".to_owned())
    }

    #[test]
    fn documents_come_before_folders_and_a_missing_key_names_both() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("login")).unwrap();
        std::fs::write(folder.path().join("login/user"), "file\n").unwrap();
        std::fs::write(folder.path().join("login/other"), "other\r\n").unwrap();
        let secrets = Secrets::default().with_value("login", "user", "document");
        let secrets = secrets.with_folder(folder.path());
        assert_eq!(secrets.text(&at("login", "user")).unwrap(), "document");
        assert_eq!(secrets.text(&at("login", "other")).unwrap(), "other");
        let error = secrets.get(&at("login", "none")).unwrap_err().to_string();
        assert!(error.contains("\"none\"") && error.contains(&folder.path().display().to_string()));
    }

    #[test]
    fn only_the_routes_own_namespace_counts() {
        let yaml = r"
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: fleet}
stringData: {a: ours}
---
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: other}
stringData: {a: theirs}
data: {b: dGhlaXJz}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: map, namespace: fleet}
data: {c: anywhere}
";
        let documents = Documents::parse("x.yaml", yaml).unwrap();
        let secrets = Secrets::from_documents(&documents, "fleet");
        assert_eq!(secrets.text(&at("keys", "a")).unwrap(), "ours");
        assert!(secrets.get(&at("keys", "b")).is_err());
        assert_eq!(secrets.text(&at("map", "c")).unwrap(), "anywhere");
        let theirs = Secrets::from_documents(&documents, "other");
        assert_eq!(theirs.text(&at("keys", "b")).unwrap(), "theirs");
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_read_again_and_nonsense_leaves_the_last_good_value() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("n/k");
        std::fs::create_dir(folder.path().join("n")).unwrap();
        std::fs::write(&file, "1").unwrap();
        let secrets = Secrets::default().with_folder(folder.path());
        let watched = secrets.watch(&at("n", "k"), number).unwrap();
        assert_eq!(*watched.get(), 1);
        std::fs::write(&file, "22").unwrap();
        assert_eq!(*watched.get(), 1, "not looked at twice within a second");
        tokio::time::advance(LOOK_AGAIN).await;
        assert_eq!(*watched.get(), 22);
        for bad in [Some("nonsense"), None] {
            match bad {
                Some(text) => std::fs::write(&file, text).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            tokio::time::advance(LOOK_AGAIN).await;
            assert_eq!(*watched.get(), 22, "{bad:?}");
        }
        std::fs::write(&file, "333").unwrap();
        tokio::time::advance(LOOK_AGAIN).await;
        assert_eq!(*watched.get(), 333);
    }

    #[test]
    fn secrets_are_never_shown() {
        let secrets = Secrets::default().with_value("login", "password", "hunter2");
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }
}
