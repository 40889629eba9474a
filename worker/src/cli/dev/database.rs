//! The SQLite file of `routemq dev`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::cli::failure::Failure;

/// Where rows go.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
}

impl File {
    pub(super) fn url(&self) -> String {
        format!("sqlite://{}", self.path.display())
    }
}

/// The file as given, or `.routemq/dev.db` in the working directory, whose folder is made.
pub(super) fn path(given: Option<PathBuf>) -> Result<File, Failure> {
    if let Some(path) = given {
        return usable(path);
    }
    let folder = Path::new(".routemq");
    let made = fs::create_dir_all(folder).and_then(|()| ignore(folder));
    made.map_err(|error| {
        Failure::world("cannot make the folder .routemq; name a file with --database")
            .because(&error)
    })?;
    usable(folder.join("dev.db"))
}

/// What `dev` leaves behind is nobody's commit.
fn ignore(folder: &Path) -> std::io::Result<()> {
    let file = folder.join(".gitignore");
    if file.exists() { Ok(()) } else { fs::write(file, "*\n") }
}

fn usable(path: PathBuf) -> Result<File, Failure> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if path.is_dir() {
        return Err(Failure::world(format!(
            "the database {} is a folder: name a file with --database",
            path.display()
        )));
    }
    if let Some(missing) = folder.filter(|folder| !folder.is_dir()) {
        return Err(Failure::world(format!(
            "the folder {} of the database is not there: make it, or name another file with --database",
            missing.display()
        )));
    }
    Ok(File { path })
}
