//! What README, docs and examples say is so: every `MqttRoute` in them compiles, every command in them exists.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this crate is test code: a step that fails is a test that fails"
)]

mod blocks;
mod faults;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use blocks::{Block, blocks, files};
use routemq_crds::document::Documents;
use routemq_tests::routemq_binary;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace")
}

/// README, CONTRIBUTING and docs.
fn prose() -> Vec<Block> {
    let mut pages = files(&workspace().join("docs"), "md");
    pages.extend(files(&workspace().join("examples"), "md"));
    pages.push(workspace().join("README.md"));
    pages.push(workspace().join("CONTRIBUTING.md"));
    let found: Vec<Block> = pages.iter().flat_map(|page| blocks(page)).collect();
    assert!(found.len() > 3, "no code blocks in the prose: are they read?");
    found
}

#[test]
fn every_mqtt_route_in_the_prose_compiles() {
    let routes: Vec<Block> = prose()
        .into_iter()
        .filter(|block| {
            block.language.starts_with("yaml") && block.text.contains("kind: MqttRoute")
        })
        .collect();
    assert!(!routes.is_empty(), "README shows at least one");
    let wrong: Vec<String> = routes.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a block, `file:line` of the block first.
fn wrong(block: &Block) -> Option<String> {
    let problems = match Documents::parse(block.place(), &block.text) {
        Ok(documents) => documents.compile().err()?,
        Err(problems) => problems,
    };
    let listed: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Some(format!("{}:\n  {}", block.place(), listed.join("\n  ")))
}

#[test]
fn every_example_passes_the_check() {
    let folder = workspace().join("examples");
    let mut examples: BTreeSet<PathBuf> = files(&folder, "yaml")
        .iter()
        .filter(|file| !file.to_string_lossy().ends_with(".test.yaml"))
        .filter_map(|file| file.parent().map(Path::to_owned))
        .collect();
    examples.insert(workspace().join("tests/bench/training.yaml"));
    for example in examples {
        if let Err(problems) = Documents::check(std::slice::from_ref(&example)) {
            let listed: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{}:\n{}", example.display(), listed.join("\n"));
        }
    }
}

/// It takes two builds: run by hand.
#[test]
fn the_script_that_builds_by_a_profile_can_be_read_and_tells_its_use() {
    let script = || Command::new(workspace().join("tests/bench/profile"));
    let help = script().arg("--help").output().unwrap();
    let usage = String::from_utf8_lossy(&help.stdout).into_owned();
    for program in ["routemq ", "routemq-bench ", "rustup component add llvm-tools"] {
        assert!(help.status.success() && usage.contains(program), "{program}: {usage}");
    }
    let unknown = script().arg("routemq-operator").output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn every_command_in_the_prose_exists_with_its_options() {
    let mut known = 0;
    for block in prose() {
        for line in block.text.lines() {
            if let Some(words) = routemq_words(line) {
                known += 1;
                check_command(&block, line, &words);
            }
        }
    }
    assert!(known > 0, "README shows commands");
}

/// The words after `routemq` (or `cargo run … --bin routemq --`) of a shell line, without its comment.
fn routemq_words(line: &str) -> Option<Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default().trim_start_matches(['$', ' ']);
    let words: Vec<&str> = line.split_whitespace().skip_while(|word| word.contains('=')).collect();
    let rest = match words.as_slice() {
        ["routemq", rest @ ..] => rest,
        ["cargo", "run", rest @ ..] if rest.contains(&"routemq") => {
            let dashes = rest.iter().position(|word| *word == "--")?;
            &rest[dashes + 1..]
        }
        _ => return None,
    };
    Some(rest.iter().take_while(|word| **word != "|").map(|&word| word.to_owned()).collect())
}

fn check_command(block: &Block, line: &str, words: &[String]) {
    let command = words.first().filter(|word| !word.starts_with('-'));
    let Some(command) = command else { return };
    // With its subcommand, where it has one.
    let named = words.iter().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()));
    let output = Command::new(routemq_binary()).args(named).arg("--help").output().unwrap();
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {line}: no such command", block.place());
    for option in words.iter().filter(|word| word.starts_with("--") && word.len() > 2) {
        let name = option.split('=').next().unwrap_or(option);
        assert!(help.contains(name), "{}: {line}: {command} has no {name}", block.place());
    }
}
