//! A volume as a kubelet keeps it: files are links through `..data` to a folder that is replaced whole.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// One mounted Secret or ConfigMap.
#[derive(Debug)]
pub(crate) struct Mount {
    path: PathBuf,
    generation: u32,
}

impl Mount {
    /// An empty one: what Kubernetes mounts for what is optional and missing.
    pub(crate) fn empty(path: impl Into<PathBuf>) -> Self {
        let mut mount = Self { path: path.into(), generation: 0 };
        mount.replace(&[]);
        mount
    }

    pub(crate) fn new(path: impl Into<PathBuf>, files: &[(&str, &str)]) -> Self {
        let mut mount = Self::empty(path);
        mount.replace(files);
        mount
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a new folder, lets `..data` point there in one step, and tidies up.
    pub(crate) fn replace(&mut self, files: &[(&str, &str)]) {
        self.generation += 1;
        let name = format!("..{}", self.generation);
        let folder = self.path.join(&name);
        fs::create_dir_all(&folder).unwrap();
        let files: BTreeMap<&str, &str> = files.iter().copied().collect();
        for (key, content) in &files {
            fs::write(folder.join(key), content).unwrap();
        }
        let new = self.path.join("..data_tmp");
        symlink(&name, &new).unwrap();
        fs::rename(&new, self.path.join("..data")).unwrap();
        self.links(&files);
        let before = self.path.join(format!("..{}", self.generation - 1));
        let _ = fs::remove_dir_all(before);
    }

    fn links(&self, files: &BTreeMap<&str, &str>) {
        for key in files.keys() {
            // It is there already where the key was.
            let _ = symlink(Path::new("..data").join(key), self.path.join(key));
        }
        for entry in fs::read_dir(&self.path).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with("..") && !files.contains_key(name.as_str()) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}
