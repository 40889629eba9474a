//! Documents that are refused, each with its exact message, and documents that are accepted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use routemq_crds::document::{DocumentProblem, Documents};

fn files(folder: &str) -> Vec<PathBuf> {
    // Relative to the crate, where cargo runs tests: some messages name the file.
    let folder = Path::new("tests").join(folder);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The lines `# expect: line:column: field: message` at the top of a file.
fn expected(file: &Path) -> Vec<String> {
    let content = fs::read(file).unwrap();
    let text = String::from_utf8_lossy(&content);
    text.lines().filter_map(|line| line.strip_prefix("# expect: ")).map(str::to_owned).collect()
}

fn without_file(problem: &DocumentProblem) -> String {
    let shown = problem.to_string();
    shown.strip_prefix(&format!("{}:", problem.file.display())).unwrap_or(&shown).trim().to_owned()
}

fn got(file: &Path) -> Vec<String> {
    let problems = Documents::load(&[file.to_owned()]).err().unwrap_or_default();
    problems.iter().map(without_file).collect()
}

fn block(title: &str, lines: &[String]) -> String {
    format!("  {title}\n    {}\n", lines.join("\n    "))
}

#[test]
fn each_broken_document_is_refused_with_its_message() {
    let mut failures = String::new();
    let files = files("refused");
    for file in &files {
        let (expected, got) = (expected(file), got(file));
        if expected.is_empty() || expected != got {
            failures += &format!("{}\n", file.display());
            failures += &block("expected", &expected);
            failures += &block("got", &got);
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(files.len() >= 60, "only {} broken documents", files.len());
}

#[test]
fn each_sound_document_is_accepted() {
    let mut failures = String::new();
    let files = files("accepted");
    for file in &files {
        let got = got(file);
        if !got.is_empty() {
            failures += &format!("{}\n{}", file.display(), block("got", &got));
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(files.len() >= 15, "only {} sound documents", files.len());
}
