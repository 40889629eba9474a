//! `routemq run`, with the embedded broker as the real one and SQLite as the database.

use std::fs;

use crate::program::{command, ended};

const ROUTE: &str = "apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {name: NAME, namespace: fleet}
spec:
  routes:
    - name: all
      topic: \"x/{rest...}\"
      handlers: [{log: {}}]
";

#[test]
fn two_objects_in_one_share_with_an_equal_filter_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        let file = folder.path().join(name).with_extension("yaml");
        fs::write(file, ROUTE.replace("NAME", name)).unwrap();
    }
    let mut command = command(folder.path(), &["run", "."]);
    command.env("MQTT_GROUP_NAME", "together").env("MQTT_BROKER", "127.0.0.1:1");
    let ended = ended(&mut command);
    assert_eq!((ended.code, ended.err.lines().count()), (1, 1), "{}", ended.err);
    for word in ["fleet/one", "fleet/two", "\"together\"", "x/#", "shareName", "MQTT_GROUP_NAME"] {
        assert!(ended.err.contains(word), "{word}: {}", ended.err);
    }
}

#[test]
fn what_is_wrong_with_the_input_is_one_line_and_1() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("one.yaml"), ROUTE.replace("NAME", "one")).unwrap();
    let rows: &[(&str, &[&str], &str)] = &[
        ("a missing file", &["run", "nowhere"], "problem"),
        ("a slot that is not there", &["run", ".", "--slot", "7"], "slot 7"),
    ];
    for (case, arguments, words) in rows {
        let mut command = command(folder.path(), arguments);
        command.env("MQTT_BROKER", "127.0.0.1:1").env("LOG_LEVEL", "ERROR");
        let ended = ended(&mut command);
        assert_eq!(ended.code, 1, "{case}: {}", ended.err);
        assert!(ended.err.contains(words), "{case}: {}", ended.err);
    }
}
