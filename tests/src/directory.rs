//! A directory that ends with the test, unless the test fails.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Deleted on drop; kept and named on standard error when the test is failing.
#[derive(Debug)]
pub struct Directory {
    inner: Option<tempfile::TempDir>,
    path: PathBuf,
}

impl Directory {
    /// A fresh one, `purpose` in its name. Other users may look in (a server may run as another user).
    pub fn new(purpose: &str) -> Self {
        let inner = tempfile::Builder::new()
            .prefix(&format!("routemq-{purpose}-"))
            .tempdir()
            .expect("the directory for temporary files takes a new directory");
        fs::set_permissions(inner.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = inner.path().to_owned();
        Self { inner: Some(inner), path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it and says where.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).unwrap();
        }
        fs::write(&path, content)
            .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(inner) = self.inner.take()
        {
            let path = inner.keep();
            eprintln!("kept for inspection: {}", path.display());
        }
    }
}
