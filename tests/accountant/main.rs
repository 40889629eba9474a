//! The accountant at work: a minute of faults, and three controls that it must catch.
//!
//! `ROUTEMQ_TEST_LONG=1` makes the minute ten.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this crate is test code: a step that fails is a test that fails"
)]

use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The same faults each time: a failure is a failure for everybody.
const SEED: &str = "7";

/// Runs the accountant; its exit code and its verdict.
fn soak(arguments: &[&str]) -> (Option<i32>, Value) {
    let evidence = concat!(env!("CARGO_TARGET_TMPDIR"), "/soak");
    let Output { status, stdout, .. } = Command::new(env!("CARGO_BIN_EXE_soak"))
        .args(["--output", "json", "--seed", SEED, "--slack", "3", "--evidence", evidence])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .expect("the accountant can be started");
    let verdict = String::from_utf8(stdout).expect("JSON is UTF-8");
    println!("{verdict}");
    let verdict = serde_json::from_str(&verdict).unwrap_or_else(|e| panic!("{verdict:?}: {e}"));
    (status.code(), verdict)
}

fn number(verdict: &Value, pointer: &str) -> u64 {
    verdict
        .pointer(pointer)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("{pointer}: {verdict}"))
}

#[test]
fn a_minute_of_faults_loses_nothing() {
    let long = std::env::var_os("ROUTEMQ_TEST_LONG").is_some();
    let length = if long { ["--seconds", "600"] } else { ["--seconds", "60"] };
    let (code, verdict) = soak(&[&length[..], &["--every", "3-8"]].concat());
    assert_eq!((code, &verdict["holds"]), (Some(0), &Value::Bool(true)), "{verdict:#}");
    assert!(number(&verdict, "/faults") >= 5, "too few faults to show anything: {verdict:#}");
    assert!(number(&verdict, "/accepted") > 20_000, "too small a load: {verdict:#}");
    assert_eq!(number(&verdict, "/sessions"), number(&verdict, "/slots"));
}

#[test]
fn half_a_minute_of_faults_loses_nothing_on_rmqtt() {
    let length = ["--broker", "rmqtt", "--seconds", "30", "--every", "3-6"];
    let (code, verdict) = soak(&length);
    assert_eq!((code, &verdict["holds"]), (Some(0), &Value::Bool(true)), "{verdict:#}");
    assert!(number(&verdict, "/faults") >= 3, "too few faults to show anything: {verdict:#}");
    assert!(number(&verdict, "/accepted") > 10_000, "too small a load: {verdict:#}");
    assert_eq!(number(&verdict, "/sessions"), number(&verdict, "/slots"));
}

#[test]
fn workers_with_random_client_ids_are_caught_losing_messages() {
    let control = ["--control", "random-client-ids", "--only", "kill", "--every", "1-2"];
    let (code, verdict) = soak(&[&["--seconds", "12"][..], &control].concat());
    assert_eq!(code, Some(1), "{verdict:#}");
    assert!(number(&verdict, "/broken/lost") > 0, "{verdict:#}");
    assert!(number(&verdict, "/broken/left on the broker") > 0, "{verdict:#}");
}

#[test]
fn an_acknowledgement_without_its_row_is_caught() {
    let control = ["--control", "skip-effects", "--only", "reset", "--every", "2-3"];
    let (code, verdict) = soak(&[&["--seconds", "8"][..], &control].concat());
    assert_eq!(code, Some(1), "{verdict:#}");
    let lost = number(&verdict, "/broken/lost");
    assert!(lost > 0 && number(&verdict, "/broken/wrong acknowledgements") >= lost, "{verdict:#}");
}

#[test]
fn an_acknowledgement_before_its_row_is_caught_though_nothing_is_lost() {
    let control = ["--control", "late-effects", "--only", "reset", "--every", "2-3"];
    let (code, verdict) = soak(&[&["--seconds", "8"][..], &control].concat());
    assert_eq!(code, Some(1), "{verdict:#}");
    assert_eq!(number(&verdict, "/broken/lost"), 0, "{verdict:#}");
    assert!(number(&verdict, "/broken/wrong acknowledgements") > 1000, "{verdict:#}");
}

#[test]
fn a_command_line_that_is_wrong_is_told_apart() {
    let wrong = Command::new(env!("CARGO_BIN_EXE_soak")).arg("--every=9-1").output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    let help = Command::new(env!("CARGO_BIN_EXE_soak")).arg("--help").output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("Exit codes: 0") && help.contains("Example:"), "{help}");
}
