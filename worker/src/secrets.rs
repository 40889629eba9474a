//! Values of Secrets and ConfigMaps: from documents, or from folders as Kubernetes mounts them.

mod store;
mod watched;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use routemq_crds::{document::Documents, v1alpha1::KeyRef};

use self::store::Store;
pub(crate) use self::watched::Watched;

/// Where the values that specs refer to are found: documents first, then folders. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    secrets: Store,
    config_maps: Store,
}

/// What a reference names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Secret,
    ConfigMap,
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
    /// Adds a value of a Secret or a ConfigMap. Later values win.
    #[must_use]
    pub fn with_value(
        mut self,
        name: impl Into<String>,
        key: impl Into<String>,
        value: impl Into<Bytes>,
    ) -> Self {
        let (name, key, value) = (name.into(), key.into(), value.into());
        self.config_maps.add(name.clone(), key.clone(), value.clone());
        self.secrets.add(name, key, value);
        self
    }

    /// Adds a folder that holds a folder per Secret or ConfigMap, a file per key.
    #[must_use]
    pub fn with_folder(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.config_maps.add_folder(path.clone());
        self.secrets.add_folder(path);
        self
    }

    /// Adds a folder that holds a folder per ConfigMap, a file per key.
    #[must_use]
    pub fn with_config_maps(mut self, path: impl Into<PathBuf>) -> Self {
        self.config_maps.add_folder(path.into());
        self
    }

    /// The Secrets and ConfigMaps among `documents` that belong to `namespace`.
    pub fn from_documents(documents: &Documents, namespace: &str) -> Self {
        let here = |found: &Option<String>| found.as_deref().is_none_or(|it| it == namespace);
        let mut all = Self::default();
        let maps = documents.config_maps.iter().map(|it| &it.object);
        for map in maps.filter(|it| here(&it.metadata.namespace)) {
            let text = map.data.iter().flatten().map(|(key, text)| (key, text.clone().into()));
            let binary = map.binary_data.iter().flatten();
            let binary = binary.map(|(key, value)| (key, value.0.clone().into()));
            all.config_maps.add_all(map.metadata.name.as_deref(), text.chain(binary));
        }
        let secrets = documents.secrets.iter().map(|it| &it.object);
        for secret in secrets.filter(|it| here(&it.metadata.namespace)) {
            let binary = secret.data.iter().flatten();
            let binary = binary.map(|(key, value)| (key, value.0.clone().into()));
            let text = secret.string_data.iter().flatten();
            let text = text.map(|(key, text)| (key, text.clone().into()));
            all.secrets.add_all(secret.metadata.name.as_deref(), binary.chain(text));
        }
        all
    }

    /// The value of a Secret's key as it is now.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn get(&self, at: &KeyRef) -> Result<Bytes, SecretError> {
        self.secrets.get(at)
    }

    /// The value of a ConfigMap's key as it is now.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn get_config(&self, at: &KeyRef) -> Result<Bytes, SecretError> {
        self.config_maps.get(at)
    }

    /// A Secret's value as text, without the line end that editors and `echo` leave.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn text(&self, at: &KeyRef) -> Result<String, SecretError> {
        let value = self.get(at)?;
        Ok(String::from_utf8_lossy(&value).trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The value of a Secret's or ConfigMap's key, parsed, and parsed again when its file changes.
    pub(crate) fn watch<T>(
        &self,
        kind: Kind,
        at: &KeyRef,
        parse: fn(&[u8]) -> Result<T, String>,
    ) -> Result<Watched<T>, SecretError> {
        Watched::new(self.store(kind), at, parse)
    }

    /// The folder that a Secret is mounted at, where it is; documents come first.
    pub fn mounted(&self, name: &str) -> Option<PathBuf> {
        self.secrets.mounted(name)
    }

    /// Whether anything of that name is there. Kubernetes mounts what is optional and missing as an empty folder.
    pub(crate) fn knows(&self, kind: Kind, name: &str) -> bool {
        self.store(kind).knows(name)
    }

    /// Whether that key is there.
    pub(crate) fn has(&self, kind: Kind, name: &str, key: &str) -> bool {
        self.store(kind).has(name, key)
    }

    fn store(&self, kind: Kind) -> &Store {
        match kind {
            Kind::Secret => &self.secrets,
            Kind::ConfigMap => &self.config_maps,
        }
    }
}

fn read(path: &Path) -> Result<Bytes, SecretError> {
    std::fs::read(path).map(Bytes::from).map_err(|error| SecretError::Unreadable {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        })
    }
}

// === Debug without secrets ===

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("secrets", &self.secrets)
            .field("config_maps", &self.config_maps)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str, key: &str) -> KeyRef {
        KeyRef { name: name.to_owned(), key: key.to_owned() }
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
    fn only_the_routes_own_namespace_counts_and_kinds_are_told_apart() {
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
metadata: {name: keys, namespace: fleet}
data: {a: configuration, c: anywhere}
";
        let documents = Documents::parse("x.yaml", yaml).unwrap();
        let secrets = Secrets::from_documents(&documents, "fleet");
        assert_eq!(secrets.text(&at("keys", "a")).unwrap(), "ours");
        assert!(secrets.get(&at("keys", "b")).is_err());
        assert!(secrets.get(&at("keys", "c")).is_err(), "a ConfigMap is no Secret");
        assert_eq!(secrets.get_config(&at("keys", "a")).unwrap(), "configuration");
        assert_eq!(secrets.get_config(&at("keys", "c")).unwrap(), "anywhere");
        let theirs = Secrets::from_documents(&documents, "other");
        assert_eq!(theirs.text(&at("keys", "b")).unwrap(), "theirs");
    }

    #[test]
    fn a_folder_of_config_maps_holds_no_secrets() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("schemas")).unwrap();
        std::fs::write(folder.path().join("schemas/status"), "{}").unwrap();
        let secrets = Secrets::default().with_config_maps(folder.path());
        assert!(secrets.has(Kind::ConfigMap, "schemas", "status"));
        assert!(!secrets.knows(Kind::Secret, "schemas"));
        assert_eq!(secrets.get_config(&at("schemas", "status")).unwrap(), "{}");
    }

    #[cfg(unix)]
    #[test]
    fn an_empty_folder_is_nothing_as_kubernetes_mounts_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let mount = folder.path().join("login");
        std::fs::create_dir_all(mount.join("..2026_01_01")).unwrap();
        std::os::unix::fs::symlink("..2026_01_01", mount.join("..data")).unwrap();
        let secrets = Secrets::default().with_folder(folder.path());
        assert!(!secrets.knows(Kind::Secret, "login"));
        std::fs::write(mount.join("..2026_01_01/username"), "anna").unwrap();
        std::os::unix::fs::symlink("..data/username", mount.join("username")).unwrap();
        assert!(secrets.knows(Kind::Secret, "login"));
        assert!(secrets.has(Kind::Secret, "login", "username"));
        assert!(!secrets.has(Kind::Secret, "login", "password"));
    }

    #[test]
    fn secrets_are_never_shown() {
        let secrets = Secrets::default().with_value("login", "password", "hunter2");
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }
}
