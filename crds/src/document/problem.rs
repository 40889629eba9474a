use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::Position;

/// What is wrong with a document. Display: `file:line:column: field: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentProblem {
    /// The file, as it was given or found.
    pub file: PathBuf,
    /// Where in the file; `None`: the file as a whole.
    pub position: Option<Position>,
    /// The field's path, as Kubernetes writes it; empty where there is none (a syntax error).
    pub field: String,
    /// Names the value and the fix.
    pub message: String,
}

impl DocumentProblem {
    pub(super) fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            position: None,
            field: String::new(),
            message: message.into(),
        }
    }
}

impl fmt::Display for DocumentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(position) = self.position {
            write!(f, "{}:{}:", position.line, position.column)?;
        }
        if !self.field.is_empty() {
            write!(f, " {}:", self.field)?;
        }
        write!(f, " {}", self.message)
    }
}

impl std::error::Error for DocumentProblem {}

/// Problems of one file together, by line; files stay in the order in which they were read.
pub(super) fn in_order(mut problems: Vec<DocumentProblem>) -> Vec<DocumentProblem> {
    let mut files: Vec<PathBuf> = Vec::new();
    for problem in &problems {
        if !files.contains(&problem.file) {
            files.push(problem.file.clone());
        }
    }
    problems.sort_by_key(|p| (files.iter().position(|file| *file == p.file), p.position));
    problems
}
