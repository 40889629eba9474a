//! A control group that limits memory, as a container's does: beyond it the kernel kills.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the kernel's control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// A group of its own; removed on drop, when its processes have ended.
#[derive(Debug)]
pub struct MemoryLimit {
    folder: PathBuf,
}

impl MemoryLimit {
    /// For at most so many bytes, without swap. `None`, and why on standard error, where no group can be made: without
    /// root, or in a container that may not.
    pub fn new(bytes: u64) -> Option<Self> {
        let name = format!("routemq-{}-{}", std::process::id(), fastrand::u32(..));
        let made = version_1(&name, bytes).or_else(|first| {
            version_2(&name, bytes).map_err(|second| format!("version 1: {first}; 2: {second}"))
        });
        match made {
            Ok(folder) => Some(Self { folder }),
            Err(why) => {
                eprintln!("skipped: a limit of memory (no control group: {why})");
                None
            }
        }
    }

    /// A program and its arguments that becomes another in the end, within the limit.
    pub fn wrapper(&self) -> Vec<String> {
        let procs = self.folder.join("cgroup.procs");
        let script = format!("echo $$ > {} && exec \"$0\" \"$@\"", procs.display());
        vec!["/bin/sh".to_owned(), "-c".to_owned(), script]
    }
}

impl Drop for MemoryLimit {
    #[expect(clippy::disallowed_methods, reason = "a drop cannot await, and the test is over")]
    fn drop(&mut self) {
        // A process that was killed a moment ago may not have left it yet.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

fn version_1(name: &str, bytes: u64) -> Result<PathBuf, String> {
    let folder = Path::new(ROOT).join("memory").join(name);
    limited(&folder, "memory.limit_in_bytes", bytes)?;
    // Where swap is counted at all.
    let _ = fs::write(folder.join("memory.memsw.limit_in_bytes"), bytes.to_string());
    Ok(folder)
}

fn version_2(name: &str, bytes: u64) -> Result<PathBuf, String> {
    // It may be on already, or not ours to switch on: then the next step says so.
    let _ = fs::write(Path::new(ROOT).join("cgroup.subtree_control"), "+memory");
    let folder = Path::new(ROOT).join(name);
    limited(&folder, "memory.max", bytes)?;
    let _ = fs::write(folder.join("memory.swap.max"), "0");
    Ok(folder)
}

fn limited(folder: &Path, file: &str, bytes: u64) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    fs::create_dir(folder).map_err(failed)?;
    fs::write(folder.join(file), bytes.to_string()).map_err(|error| {
        let _ = fs::remove_dir(folder);
        failed(error)
    })
}
