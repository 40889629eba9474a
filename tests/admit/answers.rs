//! Each document gets the answer that is written down, word for word.

use std::{collections::BTreeMap, env, fmt::Write as _, fs};

use routemq_tests::folder;

use crate::{
    documents::{Answer, admitted, answers},
    schema::messages,
};

/// Set to anything, what the API server says is written down anew; then read the difference.
const WRITE: &str = "ROUTEMQ_TEST_WRITE_ANSWERS";
const HEAD: &str = "\
# What `kubectl create --dry-run=server --validate=strict` prints of each document of crds/tests, on a real API server.
# A document of refused/ that is admitted here is refused by the compiler alone, and becomes Accepted=False.
# Written by ROUTEMQ_TEST_WRITE_ANSWERS=1 cargo test -p routemq-tests --test admit answer; read the difference before it is committed.
";

/// Blocks of a name, and below it an indented line each.
fn written() -> BTreeMap<String, Answer> {
    let text = fs::read_to_string(folder("tests/admit/answers.txt")).unwrap_or_default();
    let mut blocks: BTreeMap<String, Answer> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("  ") {
            Some(said) => blocks.entry(name.clone()).or_default().push(said.to_owned()),
            None => line.clone_into(&mut name),
        }
    }
    blocks
}

fn block(name: &str, answer: &Answer) -> String {
    format!("{name}\n  {}\n", answer.join("\n  "))
}

fn write(answers: &BTreeMap<String, Answer>) {
    let blocks: String = answers.iter().map(|(name, answer)| block(name, answer)).collect();
    fs::write(folder("tests/admit/answers.txt"), format!("{HEAD}{blocks}")).unwrap();
}

#[test]
fn each_document_gets_exactly_the_answer_that_is_written_down() {
    let answers = answers();
    if env::var_os(WRITE).is_some() {
        write(answers);
    }
    let written = written();
    let mut differences = String::new();
    for (name, answer) in answers {
        let expected = written.get(name).cloned().unwrap_or_default();
        if *answer != expected {
            write!(differences, "{}instead of\n{}", block(name, answer), block("", &expected))
                .unwrap();
        }
    }
    assert!(differences.is_empty(), "{WRITE}=1 writes them down anew:\n{differences}");
    assert!(written.keys().eq(answers.keys()), "answers.txt names documents that are gone");
}

#[test]
fn sound_documents_are_admitted_and_most_broken_ones_refused_by_the_api_server() {
    let count = |kind: &str, wanted: bool| {
        let of_kind = answers().iter().filter(|(name, _)| name.starts_with(kind));
        of_kind.filter(|(_, answer)| admitted(answer) == wanted).count()
    };
    assert_eq!(count("accepted", false), 0);
    assert!(count("accepted", true) >= 15, "{}", count("accepted", true));
    let by_server = |answer: &&Answer| {
        let said = answer.join("\n");
        said.starts_with("The MqttRoute ") || said.contains("(BadRequest)")
    };
    let refused = answers().values().filter(by_server).count();
    assert!(refused >= 40, "{refused}");
}

/// Every rule that is told in words of ours: the documents show that it is there and what it says.
#[test]
fn each_rule_in_words_is_met_by_a_document() {
    let said = answers().values().flatten().map(String::as_str).collect::<Vec<_>>().join("\n");
    let unmet: Vec<_> = messages().into_iter().filter(|message| !said.contains(message)).collect();
    assert!(unmet.is_empty(), "no document of crds/tests/refused meets:\n{}", unmet.join("\n"));
}
