//! Files and folders of YAML documents, read as `kubectl apply` would read them.
//!
//! [`Documents::load`] refuses what an API server would: what is not YAML, an unknown field, a wrong
//! type, a value out of range. [`Documents::check`] also compiles each route. Both say every problem
//! at once, each with its file, line, column and field.

mod convert;
mod files;
mod kind;
mod number;
mod problem;
mod read;
mod rule;
mod schemas;
mod spelling;
mod tree;
mod walk;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};

pub use problem::DocumentProblem;
pub use tree::Position;

use crate::{compile::compile, table::Table, v1alpha1::MqttRoute};

/// What was found under the given paths.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    /// The routes, in the order of files and documents. Their namespace is never empty.
    pub routes: Vec<Located<MqttRoute>>,
    /// Secrets that routes may refer to; `stringData` is already merged into `data`.
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
    tree: Arc<tree::Node>,
    prefix: String,
}

impl<T> Located<T> {
    /// A problem of one of the object's fields (`spec.routes[2].topic`), at the line and column where
    /// the field stands, or the nearest field around it that is there.
    pub fn problem(&self, field: &str, message: impl Into<String>) -> DocumentProblem {
        DocumentProblem {
            file: self.file.clone(),
            position: Some(self.tree.locate(field)),
            field: format!("{}{field}", self.prefix),
            message: message.into(),
        }
    }

    fn carrying<U>(&self, object: U) -> Located<U> {
        let (file, line) = (self.file.clone(), self.line);
        Located { object, file, line, tree: Arc::clone(&self.tree), prefix: self.prefix.clone() }
    }
}

impl Documents {
    /// Reads files, and folders with everything below them: `*.yaml`, `*.yml` and `*.json` in the
    /// order of their names. What is hidden and fixtures (`*.test.yaml`) are passed over in folders.
    ///
    /// # Errors
    /// Every problem of structure, in the order of files and lines.
    pub fn load(paths: &[PathBuf]) -> Result<Self, Vec<DocumentProblem>> {
        let (documents, problems) = Self::read(paths);
        if problems.is_empty() { Ok(documents) } else { Err(problems) }
    }

    /// Gives `visit` each file that [`Self::load`] reads, with its content or with why it cannot be read.
    pub fn each_file(paths: &[PathBuf], mut visit: impl FnMut(&Path, Result<Vec<u8>, String>)) {
        for path in paths {
            files::each(path, &mut visit);
        }
    }

    /// Reads one file's content; `file` is what problems and notes call it.
    ///
    /// # Errors
    /// As [`Documents::load`].
    pub fn parse(
        file: impl AsRef<Path>,
        content: impl AsRef<[u8]>,
    ) -> Result<Self, Vec<DocumentProblem>> {
        let mut reading = convert::Reading::default();
        reading.add(file.as_ref(), content.as_ref());
        let (documents, problems) = reading.finish();
        if problems.is_empty() { Ok(documents) } else { Err(problems) }
    }

    /// Loads and compiles: all that can be known without a broker and a database.
    ///
    /// # Errors
    /// Problems of structure, and those of every route whose structure is sound.
    pub fn check(paths: &[PathBuf]) -> Result<Self, Vec<DocumentProblem>> {
        let (documents, mut problems) = Self::read(paths);
        problems.extend(documents.compile().err().unwrap_or_default());
        if problems.is_empty() { Ok(documents) } else { Err(problem::in_order(problems)) }
    }

    /// The route table of each `MqttRoute`.
    ///
    /// # Errors
    /// The compiler's problems, where their fields stand in the files.
    pub fn compile(&self) -> Result<Vec<Located<Table>>, Vec<DocumentProblem>> {
        let mut tables = Vec::new();
        let mut problems = Vec::new();
        for route in &self.routes {
            match compile(&route.object) {
                Ok(table) => tables.push(route.carrying(table)),
                Err(found) => {
                    let found = found.into_iter().map(|p| route.problem(&p.field, p.message));
                    problems.extend(found);
                }
            }
        }
        if problems.is_empty() { Ok(tables) } else { Err(problems) }
    }

    fn read(paths: &[PathBuf]) -> (Self, Vec<DocumentProblem>) {
        let mut reading = convert::Reading::default();
        for path in paths {
            files::each(path, &mut |file, content| match content {
                Ok(content) => reading.add(file, &content),
                Err(message) => reading.refuse(DocumentProblem::of_file(file, message)),
            });
        }
        reading.finish()
    }
}
