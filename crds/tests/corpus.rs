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

/// The complaint, without position and field.
fn said(expected: &str) -> &str {
    const FIELDS: [&str; 6] = ["spec", "metadata", "apiVersion", "kind", "data", "routes"];
    let rest = expected.splitn(3, ':').nth(2).unwrap_or_default().trim();
    match rest.split_once(": ") {
        Some((field, said)) if FIELDS.iter().any(|known| field.starts_with(known)) => said,
        _ => rest,
    }
}

/// What was written: in quotes, a name in braces or after a colon, a number, or a kind of value.
fn names_a_value(said: &str) -> bool {
    said.contains(['"', '{'])
        || said.contains(|c: char| c.is_ascii_digit())
        || said.contains(", got ")
        || said.contains(" :")
        || said.starts_with('.')
}

/// Where nothing was written, or too much at once, or what must not be repeated.
fn has_no_value(said: &str) -> bool {
    const NONE: [&str; 14] = [
        "is required",
        "is empty",
        "must have ",
        "must not have ",
        "must not stand ",
        "is not an object",
        "is not a field that is known",
        "is not base64",
        "has a YAML tag",
        "holds more than one statement",
        "an alias ",
        "not YAML, ",
        "topic is already set",
        "the groups enclose each other",
    ];
    NONE.iter().any(|words| said.starts_with(words))
}

/// After the complaint stands what to do about it.
fn names_a_fix(said: &str) -> bool {
    said.split_once([';', ':', ',']).is_some_and(|(_, fix)| !fix.trim().is_empty())
}

#[test]
fn each_message_names_the_field_the_value_and_the_fix() {
    let mut failures = Vec::new();
    for file in files("refused").unwrap() {
        for message in expected(&file).unwrap() {
            let said = said(&message);
            if !(names_a_value(said) || has_no_value(said)) || !names_a_fix(said) {
                failures.push(format!("{}: {said}", file.display()));
            }
        }
    }
    assert!(failures.is_empty(), "without a value or a fix:\n{}", failures.join("\n"));
}
