//! `routemq check`.

use std::{fs, time::Instant};

use serde_json::Value;

use crate::program::{command, ended, run, run_in};

const BROKEN: &str = "apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {name: devices, namespace: fleet}
spec:
  routes:
    - name: control
      topic: control
      handlers: [{log: {mesage: topic}}]
    - name: status
      topic: status
      quality: 1
      handlers: [{log: {}}]
";

fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[test]
fn every_problem_is_a_line_with_file_line_and_column_and_the_end_is_1() {
    let folder = folder_with(&[("route.yaml", BROKEN)]);
    let check = run_in(folder.path(), &["check", "route.yaml"]);
    assert_eq!(check.code, 1);
    let lines: Vec<_> = check.out.lines().collect();
    assert!(
        lines.iter().any(|line| line.starts_with("route.yaml:8:") && line.contains("mesage")),
        "{}",
        check.out
    );
    assert!(
        lines.iter().any(|line| line.starts_with("route.yaml:11:") && line.contains("quality")),
        "{}",
        check.out
    );
    assert_eq!(check.err, format!("error: {} problems in 1 file\n", lines.len()));
}

#[test]
fn json_has_the_same_problems_in_fields() {
    let folder = folder_with(&[("route.yaml", BROKEN)]);
    let check = run_in(folder.path(), &["check", "route.yaml", "--output", "json"]);
    assert_eq!(check.code, 1);
    let report: Value = serde_json::from_str(&check.out).unwrap();
    assert_eq!(report["ok"], false);
    let problem = &report["problems"][0];
    assert_eq!((problem["file"].as_str(), problem["line"].as_u64()), (Some("route.yaml"), Some(8)));
    assert!(problem["message"].as_str().is_some_and(|text| !text.is_empty()));
}

#[test]
fn what_is_right_is_summed_up_and_what_is_skipped_is_noted() {
    let other = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n";
    let route =
        fs::read_to_string(crate::program::repository().join("examples/quickstart/devices.yaml"));
    let folder = folder_with(&[("a.yaml", &route.unwrap()), ("b.yaml", other)]);
    let check = run_in(folder.path(), &["check", "."]);
    assert_eq!((check.code, check.out.as_str()), (0, "ok: 1 MqttRoute with 2 routes in 2 files\n"));
    assert!(check.err.contains("note:") && check.err.contains("Service"), "{}", check.err);
}

#[test]
fn what_cannot_be_read_is_one_line_and_1() {
    let empty = tempfile::tempdir().unwrap();
    let rows = [("a missing file", "nowhere.yaml"), ("a folder without a route", ".")];
    for (case, path) in rows {
        let check = run_in(empty.path(), &["check", path]);
        assert_eq!(check.code, 1, "{case}");
        assert!(
            !check.err.contains("panicked") && !check.err.contains("RUST_BACKTRACE"),
            "{case}: {}",
            check.err
        );
        assert_eq!(check.err.lines().count(), 1, "{case}: {}", check.err);
    }
}

#[test]
fn check_match_and_help_are_quick() {
    let rows: [&[&str]; 3] = [
        &["check", "examples/python-readme"],
        &["match", "devices/control/d-1", "-f", "examples/python-readme"],
        &["--help"],
    ];
    // A debug build on a busy machine: the bar of 50 ms is for the release build.
    for arguments in rows {
        let times = (0..5).map(|_| {
            let start = Instant::now();
            run(arguments);
            start.elapsed().as_millis()
        });
        let best = times.min().unwrap();
        assert!(best < 500, "{arguments:?} took {best} ms");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = crate::program::repository();
    let mut head = std::process::Command::new("sh");
    let program = command(&folder, &[]).get_program().to_owned();
    head.arg("-c").arg(format!("{} crd | head -1", program.display())).current_dir(folder);
    let ended = ended(&mut head);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
}
