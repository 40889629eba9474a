//! `routemq init`.

use std::fs;

use crate::program::run_in;

#[test]
fn what_it_writes_passes_check_and_a_second_time_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = run_in(folder.path(), &["init", "mine"]);
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(
        first.out.contains("wrote  mine/route.yaml") && first.out.contains("wrote  mine/.env"),
        "{}",
        first.out
    );
    let check = run_in(folder.path(), &["check", "mine"]);
    assert_eq!(
        (check.code, check.out.as_str()),
        (0, "ok: 1 MqttRoute with 1 route in 1 file\n"),
        "{}",
        check.err
    );

    let route = folder.path().join("mine/route.yaml");
    fs::write(&route, "mine").unwrap();
    fs::remove_file(folder.path().join("mine/.env")).unwrap();
    let second = run_in(folder.path(), &["init", "mine"]);
    assert!(
        second.out.contains("kept   mine/route.yaml") && second.out.contains("wrote  mine/.env"),
        "{}",
        second.out
    );
    assert_eq!(fs::read_to_string(route).unwrap(), "mine");
}

#[test]
fn a_folder_that_cannot_be_made_is_one_line_and_3() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let ended = run_in(folder.path(), &["init", "file/below"]);
    assert_eq!((ended.code, ended.err.lines().count()), (3, 1), "{}", ended.err);
}

#[test]
fn the_env_that_it_writes_is_one_that_run_can_read() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), &["init"]);
    // `pub` reads .env too; nothing listens on port 1, so the setting is all that can be wrong.
    let ended = run_in(folder.path(), &["pub", "a", "b", "--broker", "127.0.0.1:1"]);
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.starts_with("error: cannot connect to mqtt://127.0.0.1:1"), "{}", ended.err);
}
