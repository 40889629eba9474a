//! A process and its descendants, from /proc.

use std::{fs, thread, time::Duration};

use super::stat;

/// `root` first, then its descendants.
pub(super) fn with_descendants(root: u32) -> Vec<u32> {
    let parents = parents();
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

/// Waits (a second at most) until no thread of the process runs: SIGSTOP reaches them one by one, and a server of many
/// threads does some work yet on a busy machine.
#[expect(clippy::disallowed_methods, reason = "some milliseconds, where nothing can be awaited")]
pub(super) fn until_stopped(pid: u32) {
    for _ in 0..1000 {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return };
        let mut states = threads.flatten().map(|thread| stat::after_name(thread.path()));
        let stopped = |fields: Vec<String>| {
            fields.first().is_none_or(|state| ["T", "t", "Z"].contains(&state.as_str()))
        };
        if states.all(stopped) {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Every process of the machine with its parent.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect()
}

/// The fourth field.
fn parent(pid: u32) -> Option<u32> {
    stat::after_name(format!("/proc/{pid}")).get(1)?.parse().ok()
}
