//! Which Leases this worker may claim: what the operator mounts beside the table.

use std::{fs, path::PathBuf, time::Duration};

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
    /// The first of the next few.
    preferred: Option<String>,
}

#[derive(Deserialize)]
struct Mounted {
    leases: Vec<String>,
}

impl Names {
    /// Of the mounted `file`; `scratch` is a folder that belongs to the pod.
    pub fn new(file: PathBuf, scratch: Option<PathBuf>) -> Self {
        let memory = scratch.map(|folder| folder.join("slot"));
        let offset = fastrand::usize(..);
        Self { file, known: Vec::new(), memory, offset, preferred: None }
    }

    /// The same list for a task that holds nothing: it remembers nothing, and begins elsewhere.
    pub(super) fn of_anybody(&self) -> Self {
        Self {
            file: self.file.clone(),
            known: self.known.clone(),
            memory: None,
            offset: fastrand::usize(..),
            preferred: None,
        }
    }

    /// [`Self::next`] begins with this one.
    pub(super) fn prefer(&mut self, name: String) {
        self.preferred = Some(name);
    }

    /// The next `most` names: each call goes on where the last one stopped, round and round.
    pub(super) fn next(&mut self, most: usize) -> Vec<String> {
        let mut names = self.read();
        names.truncate(most);
        self.offset = self.offset.wrapping_add(names.len());
        if let Some(first) = self.preferred.take() {
            names.retain(|name| *name != first);
            names.insert(0, first);
        }
        names
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

    /// So much for each name of the last list.
    pub(super) fn for_each(&self, time: Duration) -> Duration {
        time.saturating_mul(u32::try_from(self.known.len()).unwrap_or(u32::MAX))
    }

    /// Whether the slot that this pod holds is known, if it holds one.
    pub(super) fn are_remembered(&self) -> bool {
        self.memory.is_some()
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
    fn a_few_names_at_a_time_come_round_to_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("slots.json");
        fs::write(&file, r#"{"leases":["a-slot-0","a-slot-1","a-slot-2","a-slot-3","a-slot-4"]}"#)
            .unwrap();
        let mut names = Names::new(file, None).of_anybody();
        let mut seen: Vec<_> = [names.next(2), names.next(2), names.next(1)].concat();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 5, "{seen:?}");
        assert_eq!(names.next(16).len(), 5, "none twice");
        names.prefer("a-slot-3".to_owned());
        assert_eq!(names.next(1)[0], "a-slot-3");
    }

    #[test]
    fn no_file_is_no_slot() {
        assert!(Names::new("nowhere/slots.json".into(), None).read().is_empty());
    }
}
