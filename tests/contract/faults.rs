//! The table of faults in tests/README.md names tests that are there.

use std::{collections::BTreeSet, fs};

use crate::{blocks::files, workspace};

/// A line of the table.
struct Row {
    fault: String,
    /// What stands between backticks in its last column.
    names: Vec<String>,
    tests: String,
}

fn rows() -> Vec<Row> {
    let page = fs::read_to_string(workspace().join("tests/README.md")).unwrap();
    let (_, table) = page.split_once("## What is survived").expect("the table has its heading");
    let lines = table.lines().filter(|line| line.starts_with("| ")).skip(2);
    lines.map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let [fault, _, tests] = cells.as_slice() else { panic!("three cells, not {line:?}") };
    let names = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Row { fault: (*fault).to_owned(), names, tests: (*tests).to_owned() }
}

/// The names of all functions that are marked as tests.
fn tests() -> BTreeSet<String> {
    let folders = ["crds", "worker", "operator", "tests", "examples"];
    let sources = folders.iter().flat_map(|folder| files(&workspace().join(folder), "rs"));
    sources.flat_map(|source| marked(&fs::read_to_string(source).unwrap())).collect()
}

fn marked(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(rest) = line.trim_start_matches("async ").strip_prefix("fn ") {
            let name = rest.split('(').next().unwrap_or_default().to_owned();
            found.extend(std::mem::take(&mut is_test).then_some(name));
        }
    }
    found
}

#[test]
fn every_fault_has_tests_that_exist() {
    let (rows, tests) = (rows(), tests());
    assert!(rows.len() > 35 && tests.len() > 300, "{} rows, {} tests", rows.len(), tests.len());
    let documents: BTreeSet<String> = files(&workspace().join("crds/tests"), "yaml")
        .iter()
        .filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()))
        .collect();
    let exists = |name: &str| match name.split_once('.') {
        Some(_) => documents.contains(name),
        None => !name.contains('_') || tests.contains(name),
    };
    for row in rows {
        assert!(row.names.iter().any(|name| tests.contains(name)), "{}: no test", row.fault);
        let absent: Vec<&String> = row.names.iter().filter(|name| !exists(name)).collect();
        assert!(absent.is_empty(), "{}: there is no {absent:?} ({})", row.fault, row.tests);
    }
}

/// The rows of tests/faults.md: the fault, and the row of tests/README.md that meets it.
fn listed() -> Vec<(String, String)> {
    let page = fs::read_to_string(workspace().join("tests/faults.md")).unwrap();
    let lines = page.lines().filter(|line| line.starts_with("| "));
    let rows = lines.filter(|line| !line.starts_with("| fault") && !line.starts_with("| ---"));
    rows.map(|line| {
        let (fault, row) = line.trim_matches('|').rsplit_once(" | ").expect("two cells");
        (fault.trim().to_owned(), row.trim().to_owned())
    })
    .collect()
}

/// The list has two parts: worker, broker and database; operator.
const LISTED: usize = 39 + 15;

#[test]
fn every_listed_fault_has_its_row() {
    let titles: BTreeSet<String> = rows().into_iter().map(|row| row.fault).collect();
    let listed = listed();
    assert_eq!(listed.len(), LISTED, "rows of tests/faults.md");
    for (fault, row) in listed {
        assert!(titles.contains(&row), "{fault}: tests/README.md has no row {row:?}");
    }
}

/// Where the list itself lies beside the checkout, the copy is the same.
#[test]
fn the_list_of_faults_is_copied_word_for_word() {
    let Ok(original) = fs::read_to_string(workspace().join("../shared/faults.md")) else { return };
    for (fault, _) in listed() {
        assert!(original.contains(&fault), "{fault:?} is not in the list");
    }
}
