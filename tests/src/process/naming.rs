//! Which processes name a path: in their command lines, or in what they see mounted.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The files called `file` in the process folders of /proc (`cmdline`, `mountinfo`) that hold `path`.
pub fn processes_naming(path: &Path, file: &str) -> Vec<PathBuf> {
    let name = path.as_os_str().as_encoded_bytes();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let files = entries.flatten().map(|process| process.path().join(file));
    let holds = |file: &PathBuf| {
        fs::read(file).is_ok_and(|text| text.windows(name.len()).any(|part| part == name))
    };
    files.filter(holds).collect()
}
