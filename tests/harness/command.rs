//! What the test command does on a machine that lacks something.

use std::{
    os::unix::fs::symlink,
    process::{Command, Output},
};

use routemq_tests::{Directory, folder, program};

/// What `tests/run` and `tests/cluster/build` call before they come to Go.
const PROGRAMS: &[&str] = &[
    "awk",
    "bash",
    "cargo",
    "cat",
    "cut",
    "dirname",
    "grep",
    "head",
    "id",
    "mkdir",
    "paste",
    "rustc",
    "sed",
    "sha256sum",
    "sort",
    "tail",
    "tr",
    "uname",
    "unshare",
    "cargo-fmt",
    "rustfmt",
    "cargo-clippy",
    "clippy-driver",
];

/// Runs a script of `tests/` where nothing is built yet and `PATH` has these programs, and no Go.
fn without_go(script: &str, arguments: &[&str], ci: &str) -> Output {
    let directory = Directory::new("without-go");
    for name in PROGRAMS {
        symlink(program(name, "coreutils, rustup"), directory.path().join(name)).unwrap();
    }
    Command::new(folder("tests").join(script))
        .args(arguments)
        .env("PATH", directory.path())
        .env("XDG_CACHE_HOME", directory.path().join("cache"))
        .env("ROUTEMQ_TEST_RUN_LOG", directory.path().join("log"))
        .env("CI", ci)
        .output()
        .unwrap()
}

/// Which Go, and how to get it.
fn assert_says_what_to_install(text: &str) {
    assert!(text.contains("needs Go 1."), "{text}");
    assert!(text.contains("apt-get install golang-go"), "{text}");
}

#[test]
fn without_go_it_is_said_which_version_is_needed_and_how_to_get_it() {
    let output = without_go("cluster/build", &["--can", "--node"], "");
    assert!(!output.status.success());
    assert_says_what_to_install(&String::from_utf8_lossy(&output.stderr));
}

#[test]
fn without_go_the_stages_on_kubernetes_are_skipped_and_named_in_the_last_lines() {
    let stages = ["--stage", "cluster", "--stage", "e2e"];
    let output = without_go("run", &stages, "");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.split("== what was run").nth(1).unwrap_or_default();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for skipped in ["the Kubernetes of tests/cluster", "the end-to-end suite"] {
        assert!(last.contains(&format!("skipped: {skipped} (building")), "{text}");
    }
    assert_says_what_to_install(last);
}

#[test]
fn continuous_integration_does_not_pass_over_a_missing_go() {
    let output = without_go("run", &["--stage", "cluster"], "true");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("result: failed: what CI must not skip was skipped"), "{text}");
}
