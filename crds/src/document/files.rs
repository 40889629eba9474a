//! Which files a path means, and what is in them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The largest file that is read: an API server takes 1.5 MiB an object.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// How deep folders are walked (a symbolic link may lead back up).
const MAX_FOLDER_DEPTH: usize = 16;

/// Takes a file with its content, or with why it cannot be read.
type Visit<'v> = dyn FnMut(&Path, Result<Vec<u8>, String>) + 'v;

/// Gives `visit` each file under `path` with its content, or with why it cannot be read.
pub(super) fn each(path: &Path, visit: &mut Visit<'_>) {
    walk(path, 0, visit);
}

fn walk(path: &Path, depth: usize, visit: &mut Visit<'_>) {
    if !path.is_dir() {
        return visit(path, content(path));
    }
    match entries(path) {
        _ if depth > MAX_FOLDER_DEPTH => visit(path, Err(too_deep())),
        Ok(entries) => entries.iter().for_each(|entry| walk(entry, depth + 1, visit)),
        Err(error) => visit(path, Err(unreadable(&error))),
    }
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| is_document(path) || (path.is_dir() && !is_hidden(path)));
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn is_hidden(path: &Path) -> bool {
    name(path).starts_with('.')
}

fn is_document(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    path.is_file()
        && !is_hidden(path)
        && matches!(extension, "yaml" | "yml" | "json")
        && !is_fixture(path)
}

/// `*.test.yaml` is for `routemq test`.
fn is_fixture(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| Path::new(stem).extension().is_some_and(|e| e == "test"))
}

fn content(path: &Path) -> Result<Vec<u8>, String> {
    let size = fs::metadata(path).map_err(|error| unreadable(&error))?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!(
            "has {size} bytes, at most {MAX_FILE_BYTES} are read: split it into several files"
        ));
    }
    fs::read(path).map_err(|error| unreadable(&error))
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or folder: check the path".to_owned(),
        io::ErrorKind::PermissionDenied => "may not be read: check its permissions".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

fn too_deep() -> String {
    format!(
        "is more than {MAX_FOLDER_DEPTH} folders deep: name the files or a folder nearer to them"
    )
}
