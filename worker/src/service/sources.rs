//! Where a process finds its documents, and what they refer to.

use std::path::PathBuf;

use routemq_crds::document::{DocumentProblem, Documents};

use crate::{Secrets, run::Loaded};

/// Files and folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Of `MqttRoute`s, `Secret`s and `ConfigMap`s.
    pub paths: Vec<PathBuf>,
    /// A folder per Secret or ConfigMap, a file per key.
    pub secrets: Option<PathBuf>,
    /// A folder per ConfigMap, a file per key.
    pub config_maps: Option<PathBuf>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Each `MqttRoute`, compiled.
    pub loaded: Vec<Loaded>,
    /// Documents of other kinds, skipped: one note each.
    pub notes: Vec<String>,
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Documents are wrong.
    #[error("{}", listed(.0))]
    Problems(Vec<DocumentProblem>),
    /// Nothing to run is a mistake of the path, not a success.
    #[error(
        "no MqttRoute in {}: name a file or folder that holds one, or write a first one with routemq init",
        joined(.0)
    )]
    Nothing(Vec<PathBuf>),
}

impl Sources {
    /// Reads and compiles everything.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(&self) -> Result<Found, LoadError> {
        let documents = Documents::check(&self.paths).map_err(LoadError::Problems)?;
        let tables = documents.compile().map_err(LoadError::Problems)?;
        if tables.is_empty() {
            return Err(LoadError::Nothing(self.paths.clone()));
        }
        let loaded = tables.into_iter().zip(&documents.routes).map(|(table, route)| Loaded {
            secrets: self.secrets(&documents, &table.object.namespace),
            written: (&route.object).into(),
            table: table.object,
        });
        Ok(Found { loaded: loaded.collect(), notes: documents.notes.clone() })
    }

    /// The values that the `MqttRoute`s of `namespace` may refer to.
    pub fn secrets(&self, documents: &Documents, namespace: &str) -> Secrets {
        let mut secrets = Secrets::from_documents(documents, namespace);
        if let Some(folder) = &self.secrets {
            secrets = secrets.with_folder(folder);
        }
        match &self.config_maps {
            Some(folder) => secrets.with_config_maps(folder),
            None => secrets,
        }
    }
}

fn listed(problems: &[DocumentProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn joined(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}
