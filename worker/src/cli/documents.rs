//! Documents for commands: loaded, checked, problems printed where editors look for them.

use std::path::PathBuf;

use routemq_crds::document::{DocumentProblem, Documents};

use super::{failure::Failure, style};

/// Loads and compiles; problems become lines of standard output and one line of summary.
pub(crate) fn checked(paths: &[PathBuf]) -> Result<Documents, Failure> {
    Documents::check(paths).map_err(|problems| refused(&problems))
}

/// Prints `file:line:column: problem` for each, and gives the summary.
pub(crate) fn refused(problems: &[DocumentProblem]) -> Failure {
    for problem in problems {
        println!("{problem}");
    }
    Failure::input(summary(problems))
}

pub(crate) fn summary(problems: &[DocumentProblem]) -> String {
    let mut files: Vec<_> = problems.iter().map(|problem| &problem.file).collect();
    files.sort();
    files.dedup();
    let (problems, files) = (problems.len(), files.len());
    format!("{} in {}", style::count(problems, "problem"), style::count(files, "file"))
}

/// Nothing to run is a mistake of the path, not a success.
pub(crate) fn not_empty(documents: &Documents, paths: &[PathBuf]) -> Result<(), Failure> {
    if !documents.routes.is_empty() {
        return Ok(());
    }
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    Err(Failure::input(format!(
        "no MqttRoute in {}: name a file or folder that holds one, or write a first one with routemq init",
        paths.join(", ")
    )))
}
