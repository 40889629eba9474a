//! Files and folders of YAML documents, read as `kubectl apply` would read them.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use crate::v1alpha1::MqttRoute;

/// What was found under the given paths.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    /// The routes, in the order of files and documents.
    pub routes: Vec<Located<MqttRoute>>,
    /// Secrets that routes may refer to.
    pub secrets: Vec<Located<Secret>>,
    /// ConfigMaps that routes may refer to.
    pub config_maps: Vec<Located<ConfigMap>>,
    /// Documents of other kinds, skipped: one note each.
    pub notes: Vec<String>,
    /// Every file that was read (for watching).
    pub files: Vec<PathBuf>,
}

/// An object and where it stands.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The object.
    pub object: T,
    /// Its file.
    pub file: PathBuf,
    /// Its first line, 1-based.
    pub line: usize,
}
