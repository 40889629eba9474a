//! `routemq pub` and `routemq sub`, with the embedded broker between them.

use std::{fs, io::Write as _, process::Stdio};

use routemq_worker::broker::Broker;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::program::{Running, command, ended, run};

/// A broker on a thread of its own; it ends with the test.
pub(crate) struct Place {
    broker: Broker,
    _runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let broker = runtime.block_on(async {
            Broker::start(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap()
        });
        Self { broker, _runtime: runtime, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = command(self.folder.path(), arguments);
        let address = self.broker.address();
        command.env("MQTT_BROKER", address.ip().to_string());
        command.env("MQTT_PORT", address.port().to_string());
        command
    }

    pub(crate) fn sub(&self, arguments: &[&str]) -> Running {
        let arguments: Vec<_> = ["sub"].iter().chain(arguments).copied().collect();
        let mut sub = Running::start(self.command(&arguments));
        sub.wait_for("watching");
        sub
    }

    pub(crate) fn publish(&self, arguments: &[&str]) {
        let arguments: Vec<_> = ["pub"].iter().chain(arguments).copied().collect();
        let ended = ended(&mut self.command(&arguments));
        assert_eq!(ended.code, 0, "{}", ended.err);
    }
}

#[test]
fn a_message_comes_with_everything_that_it_was_published_with() {
    let place = Place::new();
    let mut sub = place.sub(&["a/#", "--output", "json", "--count", "1"]);
    let properties = ["-D", "trace=1", "-D", "trace=2", "--response-topic", "answers/x"];
    place.publish(&[&["a/b", r#"{"n": 1}"#, "--qos", "1"], &properties[..]].concat());
    let line = sub.wait_for("a/b");
    let message: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(message["payload"]["n"], 1);
    assert_eq!(message["responseTopic"], "answers/x");
    assert_eq!(message["userProperties"], serde_json::json!([["trace", "1"], ["trace", "2"]]));
    assert_eq!(sub.end().0, 0);
}

#[test]
fn count_publishes_that_often_and_every_quality_arrives() {
    let place = Place::new();
    for qos in ["0", "1", "2"] {
        let sub = place.sub(&["x", "--count", "50", "--qos", qos]);
        place.publish(&["x", "hello", "--count", "50", "--qos", qos]);
        let (code, text) = sub.end();
        assert_eq!((code, text.matches("hello").count()), (0, 50), "qos {qos}: {text}");
    }
}

#[test]
fn payloads_come_from_files_and_standard_input() {
    let place = Place::new();
    fs::write(place.folder.path().join("payload"), [0xff, 0x00]).unwrap();
    let mut sub = place.sub(&["x", "--count", "2"]);
    place.publish(&["x", "-f", "payload"]);
    sub.wait_for("<2 bytes: ff00>");
    let mut command = place.command(&["pub", "x", "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"from a pipe").unwrap();
    assert!(child.wait().unwrap().success());
    sub.wait_for("from a pipe");
}

#[test]
fn a_retained_message_waits_for_a_later_watcher() {
    let place = Place::new();
    place.publish(&["kept", "value", "--retain"]);
    let (code, text) = place.sub(&["kept", "--count", "1"]).end();
    assert!(code == 0 && text.contains("value") && text.contains("retained"), "{text}");
}

#[test]
fn a_publish_that_nobody_hears_is_noted() {
    let place = Place::new();
    let ended = ended(&mut place.command(&["pub", "nobody", "x"]));
    assert!(ended.code == 0 && ended.err.contains("nobody subscribes"), "{}", ended.err);
}

#[test]
fn too_few_messages_in_time_are_3() {
    let place = Place::new();
    let (code, text) = place.sub(&["x", "--count", "1", "--timeout", "1"]).end();
    assert!(code == 3 && text.contains("within 1 s"), "{text}");
}

#[test]
fn a_filter_that_the_broker_refuses_is_1() {
    let place = Place::new();
    let ended = ended(&mut place.command(&["sub", "a/#/b"]));
    assert_eq!((ended.code, ended.err.lines().count()), (1, 1), "{}", ended.err);
    assert!(ended.err.contains("a/#/b"), "{}", ended.err);
}

#[test]
fn ctrl_c_ends_watching_with_0() {
    let place = Place::new();
    let sub = place.sub(&["x"]);
    sub.interrupt();
    assert_eq!(sub.end().0, 0);
}

#[test]
fn no_broker_is_one_line_and_3() {
    for arguments in [
        &["pub", "a", "b", "--broker", "127.0.0.1:1"],
        &["sub", "a", "--timeout", "9", "--broker=127.0.0.1:1"],
    ] {
        let ended = run(arguments);
        assert_eq!((ended.code, ended.err.lines().count()), (3, 1), "{}", ended.err);
        assert!(ended.err.contains("127.0.0.1:1"), "{}", ended.err);
    }
}

#[test]
fn what_is_wrong_with_the_input_is_one_line_and_1() {
    let place = Place::new();
    let rows: &[(&str, &[&str], &str)] = &[
        ("a wildcard topic", &["pub", "a/+", "x"], "not a topic to publish to"),
        ("a missing file", &["pub", "a", "-f", "nowhere"], "cannot read nowhere"),
        ("a bad broker", &["pub", "a", "x", "--broker", "http://x"], "--broker"),
    ];
    for (case, arguments, words) in rows {
        let ended = ended(&mut place.command(arguments));
        assert_eq!((ended.code, ended.err.lines().count()), (1, 1), "{case}: {}", ended.err);
        assert!(ended.err.contains(words), "{case}: {}", ended.err);
    }
}

#[test]
fn every_bad_variable_is_a_line() {
    let mut command = command(&std::env::temp_dir(), &["pub", "a", "b"]);
    command.env("MQTT_PORT", "x").env("LOG_LEVEL", "LOUD");
    let ended = ended(&mut command);
    assert_eq!((ended.code, ended.err.lines().count()), (1, 2), "{}", ended.err);
    assert!(ended.err.contains("MQTT_PORT") && ended.err.contains("LOG_LEVEL"), "{}", ended.err);
}
