//! The examples as they stand: `routemq run` on their folders, with their `schema.sql`.

use std::{fs, path::PathBuf};

use routemq_tests::{Client, Database, WorkerConfig, WorkerProcess, ensure, eventually};
use rumqttc::v5::mqttbytes::QoS;
use serde_json::{Value, json};

use crate::bed::{Bed, PATIENCE};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples")).join(name)
}

/// Runs an example of so many workers.
async fn run(bed: &Bed, example: &str, workers: usize) -> WorkerProcess {
    let schema = fs::read_to_string(folder(example).join("schema.sql")).unwrap();
    for statement in schema.split(';').filter(|statement| statement.contains("CREATE")) {
        bed.rows().execute(statement).await;
    }
    let documents = Some(folder(example));
    let mut process = WorkerProcess::run(&WorkerConfig { documents, ..bed.config("") });
    bed.subscribed(workers, &mut process).await;
    eventually("every filter is held", PATIENCE, async || {
        let settled = process.output().matches("subscribed").count();
        ensure(settled >= workers, || process.output())
    })
    .await;
    process
}

async fn row(bed: &Bed, table: &str, condition: &str) {
    let count = format!("SELECT COUNT(*) FROM {table} WHERE {condition}");
    eventually("the row is there", PATIENCE, async || {
        let rows = bed.rows().count(&count).await;
        ensure(rows == 1, || format!("{rows} rows {condition}"))
    })
    .await;
}

async fn answer(client: &mut Client) -> (String, Value) {
    let received = client.receive(PATIENCE).await.expect("an answer comes");
    (received.topic.clone(), serde_json::from_str(&received.text()).unwrap())
}

async fn send(client: &mut Client, topic: &str, payload: Value) {
    client.publish(topic, payload.to_string(), QoS::AtLeastOnce).await;
}

async fn quickstart(database: Database) {
    let bed = Bed::start(database).await;
    let mut worker = run(&bed, "quickstart", 3).await;
    let mut client = bed.client("device").await;
    client.subscribe("devices/control/+/response", QoS::AtLeastOnce).await;
    client.subscribe("alerts/+", QoS::AtLeastOnce).await;

    send(&mut client, "devices/control/d-17", json!({"command": "restart"})).await;
    let accepted = json!({"status": "accepted", "command": "restart"});
    assert_eq!(answer(&mut client).await, ("devices/control/d-17/response".to_owned(), accepted));
    row(&bed, "device_commands", "device_id = 'd-17' AND command = 'restart'").await;

    send(&mut client, "devices/d-17/telemetry", json!({"temperature": 90.5})).await;
    let alert = json!({"device": "d-17", "temperature": 90.5});
    assert_eq!(answer(&mut client).await, ("alerts/d-17".to_owned(), alert));
    row(&bed, "telemetry", "device_id = 'd-17' AND temperature = 90.5").await;
    let status = worker.terminate(PATIENCE).await;
    assert!(status.success(), "{status}\n{}", worker.output());
}

#[tokio::test]
async fn the_quickstart_as_it_stands_answers_and_writes_rows_to_mariadb() {
    quickstart(Database::mariadb().await).await;
}

#[tokio::test]
async fn the_quickstart_as_it_stands_answers_and_writes_rows_to_postgres() {
    quickstart(Database::postgres().await).await;
}

/// What each example of the Python README does, seen from a device.
async fn python_readme(database: Database) {
    let bed = Bed::start(database).await;
    let _workers = run(&bed, "python-readme", 2 + 1 + 3 + 3 + 5).await;
    let mut client = bed.client("device").await;
    for filter in
        ["devices/+/control/response", "devices/config/+/update", "admin/reports/answers/+"]
    {
        client.subscribe(filter, QoS::AtLeastOnce).await;
    }
    let exchanges = [
        (
            ("devices/control/d-1", json!({"command": "restart"})),
            ("devices/d-1/control/response", json!({"status": "accepted", "command": "restart"})),
        ),
        (
            ("devices/control/d-1", json!({"command": "dance"})),
            ("devices/d-1/control/response", json!({"error": "Unknown command"})),
        ),
        (
            ("admin/devices/d-9/configure", json!({"api_key": "another-valid-key", "mode": "eco"})),
            ("devices/config/d-9/update", json!({"mode": "eco"})),
        ),
        (
            ("admin/reports/daily/2026-01-01", json!({"api_key": "your-secret-key"})),
            ("admin/reports/answers/2026-01-01", json!({"report": "daily", "date": "2026-01-01"})),
        ),
    ];
    // Without a known key: no answer, which the next one would show.
    send(&mut client, "admin/reports/daily/2025-01-01", json!({"api_key": "guessed"})).await;
    for ((topic, payload), (answered, expected)) in exchanges {
        send(&mut client, topic, payload).await;
        assert_eq!(answer(&mut client).await, (answered.to_owned(), expected), "{topic}");
    }

    let rows = [
        (
            "devices/status/d-1",
            json!({"status": "online"}),
            "device_status",
            "device_id = 'd-1' AND timestamp = 0",
        ),
        (
            "devices/d-2/status",
            json!({"status": "online", "timestamp": 12.5}),
            "device_status",
            "device_id = 'd-2' AND timestamp = 12.5",
        ),
        (
            "sensors/temperature/s-1",
            json!({"value": 21.5}),
            "sensor_readings",
            "sensor_id = 's-1' AND sensor_type = 'temperature' AND value = 21.5 AND unit = 'celsius'",
        ),
        (
            "sensors/temperature",
            json!({"value": 7}),
            "sensor_readings",
            "sensor_id = 'all' AND value = 7",
        ),
        (
            "sensors/humidity/s-2",
            json!({"value": 40}),
            "sensor_readings",
            "sensor_id = 's-2' AND unit = 'percent'",
        ),
        (
            "locations/hall/sensors/s-3/data",
            json!({"value": 1.5, "unit": "lux"}),
            "sensor_readings",
            "sensor_id = 'hall/s-3' AND unit = 'lux'",
        ),
        (
            "high-volume/data/s-4",
            json!({"value": 3}),
            "sensor_readings",
            "sensor_id = 's-4' AND sensor_type = 'high-volume'",
        ),
    ];
    for (topic, payload, table, condition) in rows {
        send(&mut client, topic, payload).await;
        row(&bed, table, condition).await;
    }
}

#[tokio::test]
async fn the_examples_of_the_python_readme_answer_and_write_rows_to_mariadb() {
    python_readme(Database::mariadb().await).await;
}

#[tokio::test]
async fn the_examples_of_the_python_readme_answer_and_write_rows_to_postgres() {
    python_readme(Database::postgres().await).await;
}
