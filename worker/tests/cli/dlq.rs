//! `routemq dlq`, with the embedded broker and dead letters as workers write them.

use serde_json::Value;

use crate::{
    program::{Ended, ended, run},
    pubsub::Place,
};

/// Properties of a dead letter that a worker wrote.
fn story(topic: &str, class: &str) -> Vec<String> {
    [
        format!("routemq-topic={topic}"),
        "routemq-route=control".to_owned(),
        format!("routemq-class={class}"),
        "routemq-error=the payload is not JSON".to_owned(),
        "routemq-attempts=1".to_owned(),
        "routemq-dead-lettered-at=2026-01-02T03:04:05.678Z".to_owned(),
        "trace=7".to_owned(),
    ]
    .into_iter()
    .flat_map(|property| ["-D".to_owned(), property])
    .collect()
}

fn dead_letter(place: &Place, topic: &str, payload: &str, class: &str) {
    let story = story(topic, class);
    let mut arguments = vec!["dead/control", payload];
    arguments.extend(story.iter().map(String::as_str));
    place.publish(&arguments);
}

fn dlq(place: &Place, arguments: &[&str]) -> Ended {
    let arguments: Vec<_> = ["dlq"].iter().chain(arguments).copied().collect();
    ended(&mut place.command(&arguments))
}

/// A place whose store has two letters, of two classes.
fn with_two_letters() -> Place {
    let place = Place::new();
    assert_eq!(dlq(&place, &["ls"]).code, 0);
    dead_letter(&place, "devices/control/d-17", "{", "PayloadFormat");
    dead_letter(&place, "devices/control/d-18", "{}", "Row");
    place
}

#[test]
fn the_first_look_says_from_when_on_letters_are_kept() {
    let place = Place::new();
    let first = dlq(&place, &["ls"]);
    assert_eq!((first.code, first.out.as_str()), (0, "no dead letters\n"));
    assert!(first.err.contains("from now on") && first.err.contains("dead/#"), "{}", first.err);
}

#[test]
fn letters_wait_at_the_broker_and_are_listed_with_class_and_topic() {
    let place = with_two_letters();
    let listed = dlq(&place, &["ls"]);
    for words in
        ["PayloadFormat", "devices/control/d-18", "the payload is not JSON", "2 dead letters"]
    {
        assert!(listed.out.contains(words), "{words} in {}", listed.out);
    }
    let offline = dlq(&place, &["ls", "--offline", "--class", "Row", "--output", "json"]);
    let entry: Value = serde_json::from_str(offline.out.trim()).unwrap();
    assert_eq!((&entry["id"], &entry["topic"]), (&2.into(), &"devices/control/d-18".into()));
}

#[test]
fn a_letter_is_shown_whole() {
    let place = with_two_letters();
    let shown = dlq(&place, &["show", "1"]);
    for words in ["2026-01-02T03:04:05.678Z", "trace=7", "\n{\n", "dead/control"] {
        assert!(shown.out.contains(words), "{words} in {}", shown.out);
    }
    let missing = dlq(&place, &["show", "9"]);
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("no dead letter 9"), "{}", missing.err);
}

#[test]
fn a_replay_sends_the_original_once_and_marks_it() {
    let place = with_two_letters();
    let mut sub = place.sub(&["devices/#", "--output", "json", "--count", "1"]);
    let replayed = dlq(&place, &["replay", "--class", "Row", "--yes"]);
    assert_eq!(
        (replayed.code, replayed.out.as_str()),
        (0, "replayed 1 dead letter\n"),
        "{}",
        replayed.err
    );
    let line = sub.wait_for("d-18");
    let message: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        message["userProperties"],
        serde_json::json!([["trace", "7"], ["routemq-replays", "1"]])
    );
    let left = dlq(&place, &["ls", "--output", "json"]);
    assert!(left.out.contains("d-17") && !left.out.contains("d-18"), "{}", left.out);
    let marked = dlq(&place, &["ls", "--replayed", "--output", "json"]);
    assert!(marked.out.contains("d-18") && !marked.out.contains("d-17"), "{}", marked.out);
}

#[test]
fn a_replay_that_nobody_hears_stays() {
    let place = with_two_letters();
    let replayed = dlq(&place, &["replay", "1", "--yes"]);
    assert_eq!(replayed.code, 1, "{}", replayed.err);
    assert!(replayed.err.contains("nobody subscribes"), "{}", replayed.err);
    assert!(dlq(&place, &["ls"]).out.contains("d-17"));
}

#[test]
fn a_replay_and_a_removal_ask_first_and_want_to_be_told_which() {
    let place = with_two_letters();
    let rows: &[(&str, &[&str], i32, &str)] = &[
        ("a replay of nothing", &["replay"], 1, "--all"),
        ("a removal of nothing", &["rm"], 1, "--replayed"),
        ("nobody to ask", &["replay", "--all"], 1, "--yes"),
        ("nobody to ask of a removal", &["rm", "1"], 1, "--yes"),
        ("a dry run", &["replay", "--all", "--dry-run"], 0, ""),
    ];
    for (case, arguments, code, words) in rows {
        let ended = dlq(&place, arguments);
        assert_eq!(ended.code, *code, "{case}: {}", ended.err);
        assert!(ended.err.contains(words), "{case}: {}", ended.err);
    }
    assert!(dlq(&place, &["ls"]).out.contains("2 dead letters"), "nothing was done");
    assert_eq!(dlq(&place, &["rm", "1", "--yes"]).out, "removed 1 dead letter\n");
    assert!(dlq(&place, &["ls"]).out.contains("1 dead letter:"));
}

#[test]
fn a_message_that_came_back_three_times_is_left_unless_forced() {
    let place = Place::new();
    dlq(&place, &["ls"]);
    place.publish(&["dead/x", "1", "-D", "routemq-topic=a/b", "-D", "routemq-replays=3"]);
    let left = dlq(&place, &["replay", "--all", "--yes"]);
    assert_eq!(left.code, 1);
    assert!(left.err.contains("--force"), "{}", left.err);
    let _sub = place.sub(&["a/#"]);
    let forced = dlq(&place, &["replay", "--all", "--yes", "--force"]);
    assert_eq!(forced.code, 0, "{}", forced.err);
}

#[test]
fn every_step_explains_itself_with_an_example() {
    for step in ["ls", "show", "replay", "rm"] {
        let help = run(&["dlq", step, "--help"]);
        assert_eq!(help.code, 0);
        assert!(help.out.contains(&format!("routemq dlq {step}")), "{}", help.out);
    }
}
