//! `routemq run`, with the embedded broker as the real one and SQLite as the database.

use std::{fs, path::Path};

use routemq_worker::broker::Broker;
use sqlx::{Connection, Row, SqliteConnection};
use tokio::net::TcpListener;

use crate::program::{Running, command, ended, repository, run_in};

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

async fn create_tables(database: &Path) {
    let url = format!("sqlite://{}?mode=rwc", database.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let schema = fs::read_to_string(repository().join("examples/quickstart/schema.sql")).unwrap();
    for statement in schema.split(';').filter(|statement| statement.contains("CREATE")) {
        sqlx::query(sqlx::AssertSqlSafe(statement.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

async fn count(database: &Path) -> i64 {
    let url = format!("sqlite://{}", database.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let query = sqlx::query("SELECT count(*) FROM device_commands");
    query.fetch_one(&mut connection).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_a_row_and_sigterm_drains_with_0_in_the_format_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
    let database = folder.path().join("rows.db");
    create_tables(&database).await;
    let routes = repository().join("examples/quickstart");
    let mut command = command(folder.path(), &["run", routes.to_str().unwrap()]);
    command.env("MQTT_BROKER", broker.url());
    command.env("DATABASE_URL", format!("sqlite://{}", database.display()));
    command.env("LOG_FORMAT", "%(levelname)-8s|%(message)s");
    let mut running = Running::start(command);
    running.wait_for("INFO    |starting workers");
    let url = broker.url();
    // Heard by a worker: the subscription is there.
    let sent = [
        "pub",
        "devices/control/d-1",
        r#"{"command":"restart"}"#,
        "--count",
        "50",
        "--broker",
        &url,
    ];
    let heard = || {
        let ended = run_in(
            folder.path(),
            &["pub", "devices/control/d-1", "x", "--qos", "0", "--broker", &url],
        );
        let probe =
            run_in(folder.path(), &["pub", "devices/d-1/telemetry", "{}", "--broker", &url]);
        ended.code == 0 && !probe.err.contains("nobody subscribes")
    };
    assert!((0..100).any(|_| heard()), "no worker subscribed");
    assert_eq!(run_in(folder.path(), &sent).code, 0);
    running.terminate();
    let (code, text) = running.end();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("|finished route=control") && text.contains("|stopped"), "{text}");
    let left = text.split("left_to_the_broker=").nth(1).and_then(|it| it.split_whitespace().next());
    let left: i64 = left.unwrap().parse().unwrap();
    assert_eq!(count(&database).await + left, 50, "{text}");
}
