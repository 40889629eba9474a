//! Values by name and key, of one kind.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use routemq_crds::v1alpha1::KeyRef;

use super::{SecretError, read};

/// Documents first, then folders in the order in which they were added. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Store {
    values: Arc<BTreeMap<(String, String), Bytes>>,
    folders: Arc<Vec<PathBuf>>,
}

impl Store {
    pub(super) fn add(&mut self, name: String, key: String, value: Bytes) {
        Arc::make_mut(&mut self.values).insert((name, key), value);
    }

    /// Nothing, where there is no name.
    pub(super) fn add_all<'a>(
        &mut self,
        name: Option<&str>,
        values: impl Iterator<Item = (&'a String, Bytes)>,
    ) {
        let Some(name) = name else { return };
        for (key, value) in values {
            self.add(name.to_owned(), key.clone(), value);
        }
    }

    pub(super) fn add_folder(&mut self, path: PathBuf) {
        Arc::make_mut(&mut self.folders).push(path);
    }

    pub(super) fn get(&self, at: &KeyRef) -> Result<Bytes, SecretError> {
        match self.values.get(&(at.name.clone(), at.key.clone())) {
            Some(value) => Ok(value.clone()),
            None => read(&self.file(at)?),
        }
    }

    /// The file that has the value; `None`: a document has it.
    pub(super) fn source(&self, at: &KeyRef) -> Result<Option<PathBuf>, SecretError> {
        if self.values.contains_key(&(at.name.clone(), at.key.clone())) {
            return Ok(None);
        }
        self.file(at).map(Some)
    }

    pub(super) fn mounted(&self, name: &str) -> Option<PathBuf> {
        if self.in_documents(name) { None } else { self.folders_of(name).find(|it| it.is_dir()) }
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.in_documents(name) || self.folders_of(name).any(|folder| has_files(&folder))
    }

    pub(super) fn has(&self, name: &str, key: &str) -> bool {
        let at = KeyRef { name: name.to_owned(), key: key.to_owned() };
        self.source(&at).is_ok()
    }

    fn in_documents(&self, name: &str) -> bool {
        self.values.keys().any(|(known, _)| known == name)
    }

    fn folders_of(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        self.folders.iter().map(move |folder| folder.join(name))
    }

    fn file(&self, at: &KeyRef) -> Result<PathBuf, SecretError> {
        let mut candidates = self.folders_of(&at.name).map(|folder| folder.join(&at.key));
        candidates.find(|path| path.is_file()).ok_or_else(|| self.missing(at))
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

/// Names that begin with two dots are the kubelet's own.
fn has_files(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let own = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("..");
    entries.into_iter().any(|entry| !own(&entry.file_name()) && entry.path().is_file())
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.values.keys().collect();
        f.debug_struct("Store").field("values", &names).field("folders", &self.folders).finish()
    }
}
