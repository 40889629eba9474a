use proptest::prelude::*;

use super::*;

#[test]
fn a_refused_pattern_names_the_level_the_fault_and_the_fix() {
    let long = "a/".repeat(40_000);
    for (source, message) in [
        ("", "the pattern is empty; write at least one level, such as \"status\""),
        (
            "a/dev-{id}",
            "level 2 \"dev-{id}\" of \"a/dev-{id}\": a param must be a whole level; write it between slashes, such as \"dev/{id}\"",
        ),
        (
            "{id}x",
            "level 1 \"{id}x\" of \"{id}x\": a param must be a whole level; write it between slashes, such as \"dev/{id}\"",
        ),
        (
            "{a}{b}",
            "level 1 \"{a}{b}\" of \"{a}{b}\": a param must be a whole level; write it between slashes, such as \"dev/{id}\"",
        ),
        (
            "{a",
            "level 1 \"{a\" of \"{a\": a param must be a whole level; write it between slashes, such as \"dev/{id}\"",
        ),
        (
            "a/{}",
            "level 2 \"{}\" of \"a/{}\": a param needs a name, such as \"{id}\"; use \"+\" for a level without one",
        ),
        (
            "{1a}",
            "level 1 \"{1a}\" of \"{1a}\": \"1a\" is no name of a param; use letters, digits and \"_\", not a digit first",
        ),
        (
            "{a-b}",
            "level 1 \"{a-b}\" of \"{a-b}\": \"a-b\" is no name of a param; use letters, digits and \"_\", not a digit first",
        ),
        (
            "{é}",
            "level 1 \"{é}\" of \"{é}\": \"é\" is no name of a param; use letters, digits and \"_\", not a digit first",
        ),
        (
            "{a:string}",
            "level 1 \"{a:string}\" of \"{a:string}\": \"string\" is no type of param; use int, float or uuid, or \"{a}\" for any text",
        ),
        (
            "{a}/{a:int}",
            "level 2 of \"{a}/{a:int}\": the param \"a\" is there twice; rename one of them",
        ),
        (
            "#/a",
            "level 1 \"#\" of \"#/a\": \"#\" stands for all further levels, so it must be the last; use \"+\" for one level",
        ),
        (
            "{a...}/b",
            "level 1 \"{a...}\" of \"{a...}/b\": a tail takes all further levels, so it must be the last; use \"{a}\" for one level",
        ),
        (
            "a+/b",
            "level 1 \"a+\" of \"a+/b\": \"+\" must be a whole level; put a \"/\" around it or remove it",
        ),
        (
            "a/b#",
            "level 2 \"b#\" of \"a/b#\": \"#\" must be a whole level; put a \"/\" around it or remove it",
        ),
        (
            "a\0",
            "the pattern holds the character U+0000, which brokers refuse in a topic; remove it",
        ),
        (
            "a/\u{1f}",
            "the pattern holds the character U+001F, which brokers refuse in a topic; remove it",
        ),
        (
            "a/\u{9f}",
            "the pattern holds the character U+009F, which brokers refuse in a topic; remove it",
        ),
        (
            "a/\u{fffe}",
            "the pattern holds the character U+FFFE, which brokers refuse in a topic; remove it",
        ),
        (
            "$share/g/a",
            "\"$share/g/a\" begins with $share; leave it out: `shared` and `shareName` say who shares the subscription",
        ),
        (long.as_str(), "the pattern has 80000 bytes; MQTT allows 65535, so shorten it"),
    ] {
        let error = Pattern::parse(source).expect_err(source);
        assert_eq!(error.message, message, "{source}");
    }
}

#[test]
fn a_pattern_knows_its_filter_params_and_key() {
    for (source, filter, params) in [
        ("a/b", "a/b", vec![]),
        ("a/{x}/+/{n:int}/{rest...}", "a/+/+/+/#", vec!["x", "n", "rest"]),
        ("/{x}/", "/+/", vec!["x"]),
        ("$share", "", vec![]),
        ("$sharex/#", "$sharex/#", vec![]),
    ] {
        let Ok(pattern) = Pattern::parse(source) else {
            assert_eq!(source, "$share");
            continue;
        };
        assert_eq!((pattern.filter().as_str(), pattern.params()), (filter, params), "{source}");
    }
    let key = |source| Pattern::parse(source).expect("good").key();
    assert_eq!(key("a/{x}/{r...}"), key("a/+/#"));
    assert_ne!(key("a/{x:int}"), key("a/{x}"));
    assert_ne!(key("a/{x:int}"), key("a/{x:float}"));
}

#[test]
fn specificity_orders_level_by_level_from_the_left() {
    let ordered = [
        "a",
        "a/b",
        "a/b/#",
        "a/{i:int}",
        "a/{u:uuid}",
        "a/{f:float}",
        "a/{p}/b",
        "a/{r...}",
        "{p}/b",
        "#",
    ];
    let patterns: Vec<Pattern> = ordered.iter().map(|s| Pattern::parse(s).expect("good")).collect();
    let mut sorted = patterns.clone();
    sorted.reverse();
    sorted.sort_by(Pattern::compare_specificity);
    assert_eq!(sorted, patterns);
}

/// Each line of the document's example blocks: `pattern | topic | what comes out`.
#[test]
fn every_example_of_the_document_holds() {
    let document = include_str!("../../../docs/topics.md");
    let examples =
        document.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 4);
    let mut count = 0;
    for line in examples {
        let cells: Vec<String> =
            line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let pattern = Pattern::parse(&cells[0]);
        let said = match (&pattern, cells[1].as_str()) {
            (Err(_), "") => "refused".to_owned(),
            (Err(error), _) => error.message.clone(),
            (Ok(pattern), topic) => said(pattern, topic),
        };
        assert_eq!(said, cells[2], "{line}");
        count += 1;
    }
    assert!(count >= 30, "{count} examples");
}

fn said(pattern: &Pattern, topic: &str) -> String {
    let Some(values) = pattern.captures(topic) else { return "no match".to_owned() };
    let pairs = pattern.params().into_iter().zip(values);
    let shown: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    if shown.is_empty() { "match".to_owned() } else { shown.join(", ") }
}

const FILTER: &str = "([ab+]|\\$a|)(/[ab+]|/){0,3}(/#)?|#";

fn topics() -> Vec<String> {
    let levels = ["a", "b", "", "$a", "c"];
    let mut all: Vec<String> = levels.iter().map(|level| (*level).to_owned()).collect();
    let mut last = all.clone();
    for _ in 0..4 {
        last = last.iter().flat_map(|t| levels.map(|level| format!("{t}/{level}"))).collect();
        all.extend(last.clone());
    }
    all.retain(|topic| !topic.is_empty());
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn overlap_and_cover_are_what_all_topics_say(a in FILTER, b in FILTER) {
        prop_assume!(!a.is_empty() && !b.is_empty());
        let (of_a, of_b) = (Pattern::parse(&a).expect("good"), Pattern::parse(&b).expect("good"));
        let topics = topics();
        let overlap = topics.iter().any(|t| of_a.matches(t) && of_b.matches(t));
        let covers = topics.iter().all(|t| !of_b.matches(t) || of_a.matches(t));
        prop_assert_eq!(filters_overlap(&a, &b), overlap);
        prop_assert_eq!(filter_covers(&a, &b), covers);
        for topic in topics.iter().step_by(7) {
            prop_assert_eq!(filter_matches(&a, topic), of_a.matches(topic), "{}", topic);
        }
    }

    #[test]
    fn arbitrary_text_parses_or_is_refused(source in "\\PC{0,40}|[a/{}:.+#]{0,12}") {
        if let Ok(pattern) = Pattern::parse(&source) {
            prop_assert_eq!(pattern.source(), source);
        }
    }
}
