//! Documents that are refused, each with its exact message, and documents that are accepted.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use routemq_crds::document::{DocumentProblem, Documents};

fn files(folder: &str) -> io::Result<Vec<PathBuf>> {
    // Relative to the crate, where cargo runs tests: some messages name the file.
    let entries = fs::read_dir(Path::new("tests").join(folder))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    files.sort();
    Ok(files)
}

/// The lines `# expect: line:column: field: message` at the top of a file.
fn expected(file: &Path) -> io::Result<Vec<String>> {
    let content = fs::read(file)?;
    let text = String::from_utf8_lossy(&content);
    let lines = text.lines().filter_map(|line| line.strip_prefix("# expect: "));
    Ok(lines.map(str::to_owned).collect())
}

fn without_file(problem: &DocumentProblem) -> String {
    let shown = problem.to_string();
    shown.strip_prefix(&format!("{}:", problem.file.display())).unwrap_or(&shown).trim().to_owned()
}

fn got(file: &Path) -> Vec<String> {
    let problems = Documents::check(&[file.to_owned()]).err().unwrap_or_default();
    problems.iter().map(without_file).collect()
}

fn block(title: &str, lines: &[String]) -> String {
    format!("  {title}\n    {}\n", lines.join("\n    "))
}

#[test]
fn each_broken_document_is_refused_with_its_message() {
    let mut failures = Vec::new();
    let files = files("refused").unwrap();
    for file in &files {
        let (expected, got) = (expected(file).unwrap(), got(file));
        if expected.is_empty() || expected != got {
            failures.extend([
                block(&file.display().to_string(), &[]),
                block("expected", &expected),
                block("got", &got),
            ]);
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.concat());
    assert!(files.len() >= 60, "only {} broken documents", files.len());
}

#[test]
fn each_sound_document_is_accepted() {
    let mut failures = Vec::new();
    let files = files("accepted").unwrap();
    for file in &files {
        let got = got(file);
        if !got.is_empty() {
            failures.push(block(&file.display().to_string(), &got));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.concat());
    assert!(files.len() >= 15, "only {} sound documents", files.len());
}
