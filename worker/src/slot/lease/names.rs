//! Which Leases this worker may claim: what the operator mounts beside the table.

use std::{fs, path::PathBuf};

use serde::Deserialize;

/// `slots.json`, read again at each look, and what this pod held before.
#[derive(Debug)]
pub struct Names {
    file: PathBuf,
    /// The last good list: kubelet replaces the file while we read.
    known: Vec<String>,
    /// Survives a restart of the container, not of the pod; `None`: nothing does.
    memory: Option<PathBuf>,
    /// Where a fresh worker begins, so that siblings do not all ask for the first.
    offset: usize,
}

#[derive(Deserialize)]
struct Mounted {
    leases: Vec<String>,
}

impl Names {
    /// Of the mounted `file`; `scratch` is a folder that belongs to the pod.
    pub fn new(file: PathBuf, scratch: Option<PathBuf>) -> Self {
        let memory = scratch.map(|folder| folder.join("slot"));
        Self { file, known: Vec::new(), memory, offset: fastrand::usize(..) }
    }

    /// The names, in the order in which this worker should try them: the one it held, then from a place of its own on.
    pub(super) fn read(&mut self) -> Vec<String> {
        let mounted = fs::read(&self.file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(Mounted { leases }) = mounted {
            self.known = leases;
        }
        let held = self.held();
        let mut names = self.known.clone();
        let start = self.offset.checked_rem(names.len()).unwrap_or(0);
        names.rotate_left(start);
        names.sort_by_key(|name| super::view::index(name) != held || held.is_none());
        names
    }

    fn held(&self) -> Option<u32> {
        fs::read_to_string(self.memory.as_ref()?).ok()?.trim().parse().ok()
    }

    /// The hint costs nothing when it is lost: every Lease is looked at then.
    pub(super) fn remember(&self, index: u32) {
        if let Some(memory) = &self.memory {
            let _ = fs::write(memory, index.to_string());
        }
    }

    pub(super) fn forget(&self) {
        if let Some(memory) = &self.memory {
            let _ = fs::remove_file(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_that_was_held_is_tried_first_and_a_torn_file_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("slots.json");
        fs::write(&file, r#"{"leases":["a-slot-0","a-slot-1","a-slot-2"]}"#).unwrap();
        let mut names = Names::new(file.clone(), Some(folder.path().to_owned()));
        names.remember(2);
        assert_eq!(names.read()[0], "a-slot-2");
        fs::write(&file, r#"{"leases":["#).unwrap();
        assert_eq!(names.read().len(), 3);
        names.forget();
        let mut all = names.read();
        all.sort();
        assert_eq!(all, ["a-slot-0", "a-slot-1", "a-slot-2"]);
    }

    #[test]
    fn no_file_is_no_slot() {
        assert!(Names::new("nowhere/slots.json".into(), None).read().is_empty());
    }
}
