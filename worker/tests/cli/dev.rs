//! `routemq dev`: the main job, end to end.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Command, Stdio},
};

use sqlx::{Connection, Row, SqliteConnection};

use crate::program::{Running, command, ended, repository, run_in};

/// A folder with a copy of the quickstart's route.
fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let route = repository().join("examples/quickstart/devices.yaml");
    fs::create_dir(folder.path().join("routes")).unwrap();
    fs::copy(route, folder.path().join("routes/devices.yaml")).unwrap();
    folder
}

/// `dev` on a free port, and the broker's URL.
fn start(folder: &Path, more: &[&str]) -> (Running, String) {
    let arguments: Vec<_> = ["dev", "routes", "--port", "0"].iter().chain(more).copied().collect();
    let mut dev = Running::start(command(folder, &arguments));
    let line = dev.wait_for("mqtt://127.0.0.1:");
    let broker = line.split_whitespace().last().unwrap().to_owned();
    dev.wait_for("ready");
    (dev, broker)
}

fn publish(folder: &Path, broker: &str, topic: &str, payload: &str) {
    let ended = run_in(folder, &["pub", topic, payload, "--broker", broker]);
    assert_eq!(ended.code, 0, "{}", ended.err);
}

async fn rows(database: &Path) -> Vec<(String, String)> {
    let url = format!("sqlite://{}", database.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let query = sqlx::query("SELECT device_id, command FROM device_commands ORDER BY 1");
    let rows = query.fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn a_published_message_is_routed_answered_and_stored_and_ctrl_c_says_so() {
    let folder = place();
    let (mut dev, broker) = start(folder.path(), &[]);
    let banner = dev.seen.join("\n");
    for words in [
        ".routemq/dev.db",
        "$share/fleet.devices/devices/control/+",
        "routemq pub devices/control/device-",
    ] {
        assert!(banner.contains(words), "{words} in {banner}");
    }
    let arguments = ["sub", "devices/control/+/response", "--count", "1", "--broker", &broker];
    let mut sub = Running::start(command(folder.path(), &arguments));
    sub.wait_for("watching");
    publish(folder.path(), &broker, "devices/control/d-17", r#"{"command":"restart"}"#);
    sub.wait_for("accepted");
    let line = dev.wait_for("devices/control/d-17");
    assert!(
        line.contains("control")
            && line.contains("device_id=d-17")
            && line.contains("done")
            && line.contains(" ms"),
        "{line}"
    );
    dev.wait_for("→ devices/control/d-17/response");
    dev.wait_for("+1 device_commands");
    dev.interrupt();
    let (code, text) = dev.end();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("finished") && text.contains("rows are in .routemq/dev.db"), "{text}");
    let stored = rows(&folder.path().join(".routemq/dev.db")).await;
    assert_eq!(stored, [("d-17".to_owned(), "restart".to_owned())]);
}

#[test]
fn three_workers_of_one_share_each_take_some() {
    let folder = place();
    let (mut dev, _) = start(folder.path(), &["--simulate", "50/s"]);
    for worker in ["  w0 ", "  w1 ", "  w2 "] {
        dev.wait_for(worker);
    }
    dev.terminate();
    let (code, text) = dev.end();
    assert!(code == 0 && text.contains("taken by worker  w0  w1  w2"), "{text}");
}

#[test]
fn the_same_seed_makes_the_same_messages() {
    let topics = |_| {
        let folder = place();
        let (mut dev, _) = start(folder.path(), &["--simulate", "20/s", "--seed", "7"]);
        let lines: Vec<_> = (0..6).map(|_| dev.wait_for("device_id=")).collect();
        let mut topics: Vec<_> = lines
            .iter()
            .filter_map(|line| line.split_whitespace().nth(3))
            .map(str::to_owned)
            .collect();
        topics.sort();
        topics
    };
    assert_eq!(topics(1), topics(2));
}

#[test]
fn a_good_save_is_taken_up_and_a_bad_one_leaves_the_last_good_table() {
    let folder = place();
    let file = folder.path().join("routes/devices.yaml");
    let good = fs::read_to_string(&file).unwrap();
    let (mut dev, broker) = start(folder.path(), &[]);

    fs::write(
        &file,
        good.replace("topic: \"control/{device_id}\"", "topic: \"control/{device_id\""),
    )
    .unwrap();
    dev.wait_for("routes/devices.yaml:");
    dev.wait_for("not reloaded: 1 problem in 1 file; the last good one goes on");
    publish(folder.path(), &broker, "devices/control/d-1", r#"{"command":"restart"}"#);
    dev.wait_for("devices/control/d-1");

    fs::write(
        &file,
        good.replace("topic: \"control/{device_id}\"", "topic: \"command/{device_id}\""),
    )
    .unwrap();
    dev.wait_for("reloaded: fleet.devices");
    let sent = [
        "pub",
        "devices/command/d-2",
        r#"{"command":"restart"}"#,
        "--count",
        "20",
        "--rate",
        "20",
        "--broker",
        &broker,
    ];
    assert_eq!(run_in(folder.path(), &sent).code, 0);
    dev.wait_for("devices/command/d-2");
    dev.interrupt();
    assert_eq!(dev.end().0, 0);
}

#[test]
fn what_cannot_start_is_one_line_with_the_way_out() {
    let folder = place();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    fs::write(folder.path().join("not-a-database"), "plain text, not a database at all, long enough to have a header of its own, which SQLite refuses to read").unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    let rows: &[(&str, &[&str], i32, &[&str])] = &[
        ("a port in use", &["routes", "--port", &port], 3, &["is in use", "--port 0"]),
        ("a missing file", &["nowhere.yaml", "--port", "0"], 1, &["problem"]),
        (
            "a file that is no database",
            &["routes", "--port", "0", "--database", "not-a-database"],
            3,
            &["not-a-database"],
        ),
        (
            "a folder as database",
            &["routes", "--port", "0", "--database", "folder"],
            3,
            &["is a folder", "--database"],
        ),
        (
            "a database in no folder",
            &["routes", "--port", "0", "--database", "no/x.db"],
            3,
            &["make it"],
        ),
    ];
    for (case, arguments, code, words) in rows {
        let arguments: Vec<_> = ["dev"].iter().chain(*arguments).copied().collect();
        let ended = run_in(folder.path(), &arguments);
        assert_eq!(ended.code, *code, "{case}: {}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{case}: {}", ended.err);
        for word in *words {
            assert!(ended.err.contains(word), "{case}: {}", ended.err);
        }
        assert!(!ended.err.contains("panicked"), "{case}: {}", ended.err);
    }
}

/// `dev` as somebody whom file permissions bind: root would write all the same.
fn bound(folder: &Path, arguments: &[&str]) -> Command {
    let plain = command(folder, arguments);
    if !fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        return plain;
    }
    let mut bound = Command::new("setpriv");
    bound.args(["--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all"]);
    bound.arg(plain.get_program()).args(plain.get_args()).current_dir(folder);
    bound.env_clear().env("RUST_BACKTRACE", "1").stdin(Stdio::null());
    bound
}

#[test]
fn a_database_that_may_not_be_written_is_one_line_with_the_way_out() {
    let folder = place();
    let path = folder.path().join("rows.db");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let arguments = ["dev", "routes", "--port", "0", "--database", "rows.db"];
    let ended = ended(&mut bound(folder.path(), &arguments));
    assert_eq!((ended.code, ended.err.lines().count()), (3, 1), "{}", ended.err);
    for words in ["rows.db", "cannot be written", "chmod u+w", "--database"] {
        assert!(ended.err.contains(words), "{words}: {}", ended.err);
    }
}

#[test]
fn a_file_that_is_not_there_is_named_with_its_problem() {
    let folder = place();
    let ended = run_in(folder.path(), &["dev", "nowhere.yaml", "--port", "0"]);
    assert_eq!(ended.code, 1, "{}", ended.err);
    let said = format!("{}{}", ended.out, ended.err);
    assert!(said.contains("nowhere.yaml") && said.contains("no such file or folder"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn a_column_that_a_saved_route_adds_is_added_to_the_table() {
    let folder = place();
    let file = folder.path().join("routes/devices.yaml");
    let route = fs::read_to_string(&file).unwrap();
    let (mut dev, broker) = start(folder.path(), &[]);
    publish(folder.path(), &broker, "devices/control/d-1", r#"{"command":"restart"}"#);
    dev.wait_for("+1 device_commands");
    let more = "command: payload.command\n              reason: \"'none'\"";
    fs::write(&file, route.replacen("command: payload.command\n", &format!("{more}\n"), 1))
        .unwrap();
    dev.wait_for("reloaded: fleet.devices");
    publish(folder.path(), &broker, "devices/control/d-2", r#"{"command":"restart"}"#);
    dev.wait_for("+1 device_commands");
    dev.interrupt();
    assert_eq!(dev.end().0, 0);
    let stored = rows(&folder.path().join(".routemq/dev.db")).await;
    assert_eq!(stored.len(), 2, "{stored:?}");
}

#[test]
fn a_secret_that_is_missing_is_named_with_how_to_supply_it_and_a_folder_supplies_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("routes")).unwrap();
    let admin = fs::read_to_string(repository().join("examples/python-readme/admin.yaml")).unwrap();
    let (route, _) = admin.split_once("\n---\n").unwrap();
    fs::write(folder.path().join("routes/admin.yaml"), route).unwrap();
    let ended = run_in(folder.path(), &["dev", "routes", "--port", "0"]);
    assert_eq!((ended.code, ended.err.lines().count()), (1, 1), "{}", ended.err);
    for word in ["\"admin-keys\"", "\"keys\"", "--secrets"] {
        assert!(ended.err.contains(word), "{}", ended.err);
    }

    fs::create_dir_all(folder.path().join("mounted/admin-keys")).unwrap();
    fs::write(folder.path().join("mounted/admin-keys/keys"), "one\n").unwrap();
    let (mut dev, broker) = start(folder.path(), &["--secrets", "mounted"]);
    publish(folder.path(), &broker, "admin/users/u-1/permissions", r#"{"api_key":"two"}"#);
    dev.wait_until("a rejection", |line| {
        line.contains("rejected") && line.contains("Unauthorized")
    });
    publish(folder.path(), &broker, "admin/users/u-1/permissions", r#"{"api_key":"one"}"#);
    dev.wait_until("done", |line| line.contains("permissions") && line.contains("done"));
}

#[test]
fn a_spec_with_its_own_broker_and_database_is_run_here_and_that_is_said() {
    let folder = place();
    let file = folder.path().join("routes/devices.yaml");
    let route = fs::read_to_string(&file).unwrap();
    let own = "spec:\n  broker: {url: mqtts://far.away}\n  database: {urlSecretRef: {name: x, key: url}}\n";
    fs::write(&file, route.replace("spec:\n", own)).unwrap();
    let (dev, _) = start(folder.path(), &[]);
    let banner = dev.seen.join("\n");
    assert!(banner.contains("spec.broker and spec.database are not used here"), "{banner}");
}

#[test]
fn what_init_writes_runs_under_dev() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), &["init", "routes"]);
    let (mut dev, _) = start(folder.path(), &["--simulate", "20/s"]);
    dev.wait_for("+1 device_status");
    dev.interrupt();
    assert_eq!(dev.end().0, 0);
}
