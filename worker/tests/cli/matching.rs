//! `routemq match`.

use serde_json::Value;

use crate::program::run;

fn matching(topic: &str) -> (i32, Value) {
    let ended = run(&["match", topic, "-f", "examples/python-readme", "--output", "json"]);
    let answer: Value = serde_json::from_str(&ended.out).unwrap();
    (ended.code, answer[0]["matches"][0].clone())
}

#[test]
fn the_winner_is_told_with_its_params_middleware_and_handlers() {
    let (code, found) = matching("admin/devices/d-17/configure");
    assert_eq!(code, 0);
    assert_eq!(found["route"], "configure-device");
    assert_eq!(found["params"]["device_id"], "d-17");
    assert_eq!(found["middleware"], serde_json::json!(["apiKey", "log"]));
    assert_eq!(found["handlers"][0], "publish devices/config/{device_id}/update");
    assert_eq!(found["filter"], "$share/python-readme.admin/admin/devices/+/configure");
}

#[test]
fn the_runner_up_and_the_level_that_decided_are_told() {
    let (_, found) = matching("devices/status/status");
    assert_eq!(
        (found["route"].as_str(), found["runnerUp"].as_str()),
        (Some("status"), Some("device-status"))
    );
    let why = found["why"].as_str().unwrap();
    assert!(
        why.contains("level 2") && why.contains("\"status\"") && why.contains("{device_id}"),
        "{why}"
    );
}

#[test]
fn text_is_aligned_and_names_everything() {
    let ended = run(&["match", "devices/control/d-17", "-f", "examples/quickstart"]);
    let want = "devices/control/d-17
  route       control of fleet/devices
  pattern     devices/control/{device_id}
  filter      $share/fleet.devices/devices/control/+ (qos 1)
  params      device_id=d-17
  why         the only route of its MqttRoute that matches
  middleware  log → rateLimit 100/60s
  handlers    publish devices/control/{device_id}/response (when payload.command in ['restart', 'shutdown']) → sql device_commands
";
    assert_eq!((ended.code, ended.out.as_str()), (0, want));
}

#[test]
fn a_topic_without_a_route_is_1_and_so_is_one_that_nobody_can_publish_to() {
    let none = run(&["match", "nowhere", "-f", "examples/quickstart"]);
    assert!(none.code == 1 && none.out.contains("no route"), "{none:?}");
    let wild = run(&["match", "a/+", "-f", "examples/quickstart"]);
    assert!(wild.code == 1 && wild.err.contains("not a topic to publish to"), "{wild:?}");
}

#[test]
fn several_topics_are_answered_and_one_without_a_route_makes_it_1() {
    let ended = run(&["match", "devices/control/d-1", "nowhere", "-f", "examples/quickstart"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.out.contains("route       control") && ended.out.contains("no route"),
        "{}",
        ended.out
    );
}
