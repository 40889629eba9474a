//! Programs that the beds need, found or asked for.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Folders that a normal user's PATH lacks on Debian and Ubuntu.
const MORE: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// Where `name` is; fails with the Debian `package` to install.
pub fn program(name: &str, package: &str) -> PathBuf {
    find(name).unwrap_or_else(|| {
        panic!(
            "this test needs the program {name} (package {package}): run ./tests/run, which installs it"
        )
    })
}

/// The first line that `program` prints for `--version` (or `flag`).
pub fn version_of(program: &Path, flag: &str) -> String {
    let output = Command::new(program).arg(flag).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
}

pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(MORE.iter().map(PathBuf::from))
        .chain(postgres_folders())
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Debian keeps PostgreSQL's server programs out of PATH; the newest first.
fn postgres_folders() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/usr/lib/postgresql") else { return Vec::new() };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|e| e.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders
}
