//! Help, versions, usage errors.

use crate::program::run;

const COMMANDS: [&str; 10] =
    ["dev", "run", "init", "check", "match", "pub", "sub", "dlq", "crd", "completions"];

#[test]
fn the_help_lists_every_command_that_works_and_no_other() {
    let help = run(&["--help"]);
    assert_eq!(help.code, 0);
    for name in COMMANDS {
        assert!(help.out.contains(&format!("\n  {name} ")), "{name} in {}", help.out);
    }
    assert!(!help.out.contains("\n  test "), "{}", help.out);
}

#[test]
fn every_command_explains_itself_with_an_example() {
    for name in COMMANDS.iter().chain(&["version"]) {
        let help = run(&[name, "--help"]);
        assert_eq!(help.code, 0, "{name}");
        assert!(help.out.contains("Example"), "{name}: {}", help.out);
        assert!(help.out.contains(&format!("routemq {name}")), "{name}: {}", help.out);
    }
}

#[test]
fn lines_of_help_fit_a_terminal() {
    for name in COMMANDS {
        let help = run(&[name, "--help"]);
        let (usage, _) = help.out.split_once("Example").unwrap();
        let long = usage.lines().find(|line| line.chars().count() > 110);
        assert_eq!(long, None, "{name}");
    }
}

#[test]
fn mistakes_of_usage_end_with_2_and_say_how_it_is_used() {
    let rows: &[(&str, &[&str])] = &[
        ("no command", &[]),
        ("an unknown command", &["fly"]),
        ("an unknown option", &["check", "--fly", "x"]),
        ("no path", &["check"]),
        ("no file to match", &["match", "a/b"]),
        ("a bad rate", &["dev", "x", "--simulate", "fast"]),
        ("a bad port", &["dev", "x", "--port", "99999"]),
        ("a bad quality of service", &["pub", "a", "b", "--qos", "3"]),
        ("a property without a value", &["pub", "a", "b", "--user-property", "x"]),
        ("a seed without a simulation", &["dev", "x", "--seed", "1"]),
    ];
    for (case, arguments) in rows {
        let ended = run(arguments);
        assert_eq!(ended.code, 2, "{case}: {}", ended.err);
        assert!(
            ended.err.contains("Usage") || ended.err.contains("--help"),
            "{case}: {}",
            ended.err
        );
    }
}

#[test]
fn the_version_is_there_for_people_and_programs() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(run(&["version"]).out, format!("routemq {version}\n"));
    let json: serde_json::Value =
        serde_json::from_str(&run(&["version", "--output", "json"]).out).unwrap();
    assert_eq!(json["version"], version);
}

#[test]
fn the_crd_is_the_generated_file() {
    let file = crate::program::repository().join("crds/mqttroutes.routemq.io.yaml");
    assert_eq!(run(&["crd"]).out, std::fs::read_to_string(file).unwrap());
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(&["completions", shell]);
        assert!(ended.code == 0 && ended.out.contains("simulate"), "{shell}");
    }
}
