//! The SQLite file of a command: as given, or one in `.routemq`.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};

use super::failure::Failure;

/// Where rows go.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
}

impl File {
    #[cfg(feature = "dev-broker")]
    pub(crate) fn url(&self) -> String {
        format!("sqlite://{}", self.path.display())
    }
}

/// A file that a command keeps, and the option that names another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// In the folder `.routemq` of the working directory.
    pub(crate) name: &'static str,
    /// As people write it.
    pub(crate) option: &'static str,
}

impl Place {
    /// The file as given, or its own in `.routemq`, which is made.
    pub(crate) fn path(self, given: Option<PathBuf>) -> Result<File, Failure> {
        if let Some(path) = given {
            return self.usable(path);
        }
        let folder = Path::new(".routemq");
        let made = fs::create_dir_all(folder).and_then(|()| ignore(folder));
        made.map_err(|error| {
            let option = self.option;
            Failure::world(format!("cannot make the folder .routemq; name a file with {option}"))
                .because(&error)
        })?;
        self.usable(folder.join(self.name))
    }

    fn usable(self, path: PathBuf) -> Result<File, Failure> {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if path.is_dir() {
            return Err(Failure::world(format!(
                "the database {} is a folder: name a file with {}",
                path.display(),
                self.option
            )));
        }
        if let Some(missing) = folder.filter(|folder| !folder.is_dir()) {
            return Err(Failure::world(format!(
                "the folder {} of the database is not there: make it, or name another file with {}",
                missing.display(),
                self.option
            )));
        }
        // An empty file is a database: SQLite would make one too.
        let opened = OpenOptions::new().append(true).create(true).open(&path);
        match opened {
            Ok(_) => Ok(File { path }),
            Err(error) => Err(Failure::world(format!(
                "the database {} cannot be written: allow it (chmod u+w), or name another file with {}",
                path.display(),
                self.option
            ))
            .because(&error)),
        }
    }
}

/// What commands leave behind is nobody's commit.
fn ignore(folder: &Path) -> std::io::Result<()> {
    let file = folder.join(".gitignore");
    if file.exists() { Ok(()) } else { fs::write(file, "*\n") }
}
