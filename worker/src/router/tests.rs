use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::cases::CASES;
use super::*;
use routemq_crds::topic::Pattern;

fn patterns(sources: &[impl AsRef<str>]) -> Vec<Pattern> {
    sources.iter().map(|s| Pattern::parse(s.as_ref()).expect("a good pattern")).collect()
}

fn found<'t>(patterns: &[Pattern], topic: &'t str) -> Option<(usize, Vec<&'t str>)> {
    let mut captures = Captures::default();
    let index = Matcher::new(patterns).find(topic, &mut captures);
    let values = (0..captures.len()).map(|i| captures.get(topic, i)).collect();
    assert!(index.is_some() || captures.is_empty(), "captures without a match: {topic}");
    index.map(|index| (index, values))
}

/// The most specific of all that match, by trying each.
fn oracle<'t>(patterns: &[Pattern], topic: &'t str) -> Option<(usize, Vec<&'t str>)> {
    let matching = patterns.iter().enumerate();
    matching
        .filter_map(|(index, pattern)| Some((index, pattern, pattern.captures(topic)?)))
        .min_by(|(i, a, _), (j, b, _)| a.compare_specificity(b).then(i.cmp(j)))
        .map(|(index, _, captures)| (index, captures))
}

#[test]
fn every_case_of_the_table_holds() {
    assert!(CASES.len() >= 120, "{} cases", CASES.len());
    for (name, sources, topic, expected) in CASES {
        let patterns = patterns(sources);
        let expected = expected.map(|(index, values)| (index, values.to_vec()));
        assert_eq!(found(&patterns, topic), expected, "{name}");
        assert_eq!(oracle(&patterns, topic), expected, "{name}, by the oracle");
    }
}

#[test]
fn the_names_of_the_cases_are_unique() {
    let names: std::collections::HashSet<_> = CASES.iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), CASES.len());
}

#[test]
fn the_longest_topic_matches_and_a_longer_one_does_not() {
    let long = "x".repeat(65_533);
    let set = patterns(&["a/{p}", "{rest...}", "a/b"]);
    let topic = format!("a/{long}");
    assert_eq!(found(&set, &topic), Some((0, vec![long.as_str()])));
    assert_eq!(found(&set, &format!("{topic}y")), None);
}

#[test]
fn a_topic_of_nothing_but_slashes_is_walked_level_by_level() {
    let topic = "/".repeat(65_535);
    let any = vec!["+"; 65_536 / 2].join("/");
    assert_eq!(found(&patterns(&["#"]), &topic), Some((0, vec![])));
    assert_eq!(found(&patterns(&["{rest...}"]), &topic), Some((0, vec![topic.as_str()])));
    assert_eq!(found(&patterns(&["{a}/#"]), &topic), None);
    assert_eq!(found(&patterns(&[any.as_str()]), &topic), None);
    assert_eq!(found(&patterns(&[any.as_str()]), &topic[..65_536 / 2 - 1]), Some((0, vec![])));
}

#[test]
fn more_params_than_stand_inline_are_captured() {
    let names: Vec<String> = (0..40).map(|i| format!("{{p{i}}}")).collect();
    let values: Vec<String> = (0..40).map(|i| i.to_string()).collect();
    let topic = values.join("/");
    let (index, captured) = found(&patterns(&[names.join("/")]), &topic).expect("a match");
    assert_eq!((index, captured), (0, values.iter().map(String::as_str).collect()));
}

/// Each level may be taken by three edges: 3^1000 ways for a search that forgot where it was.
#[test]
fn a_thousand_levels_of_overlapping_patterns_take_no_exponential_time() {
    let mut seed = fastrand::Rng::with_seed(7);
    let mut sources = vec![vec!["+"; 1_000].join("/") + "/end"];
    for _ in 0..256 {
        let level = |i: usize| match seed.u8(0..4) {
            0 => "1".to_owned(),
            1 => format!("{{i{i}:int}}"),
            2 => format!("{{f{i}:float}}"),
            _ => "+".to_owned(),
        };
        sources.push((0..1_000).map(level).collect::<Vec<_>>().join("/") + "/never");
    }
    let set = patterns(&sources);
    let matcher = Matcher::new(&set);
    let topic = vec!["1"; 1_000].join("/") + "/end";
    let started = Instant::now();
    assert_eq!(matcher.find(&topic, &mut Captures::default()), Some(0));
    // Milliseconds; forgetting costs longer than the universe is old. The rest is for a machine that is busy.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

/// Longer than what a node holds.
const LONG: &str = "a-literal-that-does-not-fit-into-a-node";

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a",
        "b",
        "",
        LONG,
        "1",
        "1.5",
        "$a",
        "+",
        "{p}",
        "{p:int}",
        "{p:float}",
    ])
}

prop_compose! {
    fn pattern()(levels in prop::collection::vec(level(), 1..5), tail in 0..4) -> Option<Pattern> {
        let mut levels: Vec<String> =
            levels.iter().enumerate().map(|(i, l)| l.replace("{p", &format!("{{p{i}"))).collect();
        match tail {
            0 => levels.push("#".into()),
            1 => levels.push("{rest...}".into()),
            _ => {}
        }
        // A single empty level is no pattern.
        Pattern::parse(&levels.join("/")).ok()
    }
}

fn topic() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "", LONG, "1", "1.5", "$a", "c", "é"]);
    prop::collection::vec(level, 1..6).prop_map(|levels| levels.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_matcher_finds_the_most_specific_of_all_that_match(
        set in prop::collection::vec(pattern(), 1..24),
        topics in prop::collection::vec(topic(), 1..16),
    ) {
        let set: Vec<Pattern> = set.into_iter().flatten().collect();
        for topic in &topics {
            prop_assert_eq!(found(&set, topic), oracle(&set, topic), "{}", topic);
        }
    }

    #[test]
    fn any_text_is_answered_as_by_the_oracle(topic in "\\PC{0,40}|[/a+#$]{0,12}") {
        let set = patterns(&["#", "{a}/{b}", "/+", "a/{r...}", "{n:int}/#", "$a/#"]);
        prop_assert_eq!(found(&set, &topic), oracle(&set, &topic));
    }
}
