//! Initialised data directories, fresh once and copied.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Directory, Owner, version_of};

/// Copies the template `name` for this version of `server` to `target` (which must not exist), fresh by `make` where
/// there is none yet.
pub(super) fn copy(
    name: &str,
    server: &Path,
    target: &Path,
    owner: Option<Owner>,
    make: impl FnOnce(&Path),
) {
    let version =
        version_of(server, "--version").replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let template = folder().join(format!("{name}-{version}"));
    if !template.is_dir() {
        let _one_at_a_time = lock(&template);
        if !template.is_dir() {
            create(&template, make);
        }
    }
    duplicate(&template, target);
    give(target, owner);
}

/// Beside what cargo builds, so that it goes with `cargo clean` and survives from run to run.
fn folder() -> PathBuf {
    let executable = env::current_exe().expect("a process knows its executable");
    let target = executable.ancestors().find(|folder| folder.ends_with("target"));
    target.map_or_else(env::temp_dir, Path::to_owned).join("test-templates")
}

/// Threads and processes that find no template wait here for the one that makes it.
fn lock(template: &Path) -> File {
    fs::create_dir_all(template.parent().expect("it has a folder")).unwrap();
    let lock = File::create(template.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    lock
}

/// Under its own name only when it is whole: whoever makes it may be killed.
fn create(template: &Path, make: impl FnOnce(&Path)) {
    let directory = Directory::new("template");
    let fresh = directory.path().join("data");
    make(&fresh);
    let near = template.with_extension("partial");
    let _ = fs::remove_dir_all(&near);
    duplicate(&fresh, &near);
    fs::rename(&near, template).unwrap();
}

fn duplicate(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").arg("--reflink=auto").arg(from).arg(to).status();
    assert!(status.unwrap().success(), "cannot copy {} to {}", from.display(), to.display());
}

/// Everything below `path` to `owner`.
pub(super) fn give(path: &Path, owner: Option<Owner>) {
    let Some(Owner { user, group }) = owner else { return };
    chown(path, Some(user), Some(group)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), owner);
        }
    }
}
