//! `stat` of proc(5), of a process or of one of its threads.

use std::{fs, path::Path};

/// What stands after the name in brackets, which may hold anything: the third field (the state) first. Nothing where it
/// is gone.
pub(super) fn after_name(folder: impl AsRef<Path>) -> Vec<String> {
    let stat = fs::read_to_string(folder.as_ref().join("stat")).unwrap_or_default();
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().map(str::to_owned).collect()
}
