//! The release program: how big, how quick, how much memory. Ignored by a plain `cargo test`, which has a debug program;
//! `./tests/run --stage release` builds the release program and runs them.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this crate is test code: a step that fails is a test that fails"
)]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use routemq_tests::{
    Database, Directory, Mosquitto, MosquittoConfig, WorkerConfig, WorkerProcess, ensure,
    eventually, routemq_binary,
};
use rumqttc::v5::mqttbytes::QoS;

const MEGABYTE: u64 = 1_000_000;

const ROUTES: &str = "\
apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {name: readings, namespace: bed}
spec:
  routes:
    - name: reading
      topic: \"readings/{device}/{id:int}\"
      handlers:
        - sql: {table: readings, columns: {id: params.id, device: params.device}}
    - name: ping
      topic: ping
      handlers: [{publish: {topic: pong, payload: \"'pong'\"}}]
";

fn routes(directory: &Directory) -> PathBuf {
    directory.write("routes.yaml", ROUTES)
}

#[test]
#[ignore = "needs the release program"]
fn the_program_is_below_30_megabytes() {
    let bytes = fs::metadata(routemq_binary()).unwrap().len();
    println!("{bytes} bytes");
    assert!(bytes < 30 * MEGABYTE, "{bytes} bytes");
}

/// The best of ten: what the program takes, not what else the machine does meanwhile.
fn best_time(arguments: &[&str]) -> Duration {
    let binary = routemq_binary();
    let times = (0..10).map(|_| {
        let start = Instant::now();
        let output = Command::new(&binary).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        start.elapsed()
    });
    times.min().expect("ten times")
}

#[test]
#[ignore = "needs the release program"]
fn help_check_and_match_answer_within_50_milliseconds() {
    let directory = Directory::new("release");
    let file = routes(&directory);
    let file = file.to_str().expect("the path is text");
    for arguments in [&["--help"][..], &["check", file], &["match", "readings/d-1/7", "-f", file]] {
        let time = best_time(arguments);
        println!("{arguments:?}: {time:?}");
        assert!(time < Duration::from_millis(50), "{arguments:?}: {time:?}");
    }
}

/// In bytes: where the program is laid out by what runs (`worker/layout/cc`), and elsewhere.
fn most_memory_of_an_idle_worker() -> u64 {
    let laid_out = cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"));
    let megabytes = if laid_out { 15 } else { 20 };
    megabytes * MEGABYTE
}

#[tokio::test]
#[ignore = "needs the release program"]
async fn an_idle_worker_takes_less_than_15_megabytes_and_20_where_it_is_not_laid_out() {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let database = Database::mariadb().await;
    let table = "CREATE TABLE readings (id BIGINT, device VARCHAR(40))";
    database.rows().execute(table).await;
    let mut worker = WorkerProcess::run(&WorkerConfig {
        routes: ROUTES.to_owned(),
        broker: Some(broker.url()),
        database: Some(database.url()),
        ..WorkerConfig::default()
    });
    let mut client = broker.client("client").await;
    client.subscribe("pong", QoS::AtLeastOnce).await;
    eventually("the worker answers", Duration::from_secs(30), async || {
        client.publish("ping", "", QoS::AtLeastOnce).await;
        let answer = client.receive(Duration::from_millis(200)).await;
        ensure(answer.is_some(), || "no answer".to_owned())
    })
    .await;
    let bytes = worker.process().resident_bytes();
    println!("{bytes} bytes resident");
    assert!(bytes < most_memory_of_an_idle_worker(), "{bytes} bytes");
}

/// The first command that a newcomer types, in a folder that holds nothing: messages within two seconds, rows, an orderly end.
#[test]
#[ignore = "needs the release program"]
fn dev_shows_the_first_message_within_2_seconds_and_says_what_it_finished() {
    let directory = Directory::new("release");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart");
    let started = Instant::now();
    let mut dev = Command::new(routemq_binary())
        .args(["dev", example, "--simulate", "5/s", "--port", "0"])
        .current_dir(directory.path())
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut seen = Vec::new();
    let mut first = None;
    let lines = BufReader::new(dev.stdout.take().unwrap()).lines().map_while(Result::ok);
    for line in lines {
        if first.is_none() && line.contains(" ms") && line.contains("device_id=") {
            first = Some(started.elapsed());
            let pid = dev.id().to_string();
            assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        }
        seen.push(line);
    }
    let (status, text) = (dev.wait().unwrap(), seen.join("\n"));
    let first = first.unwrap_or_else(|| panic!("no message:\n{text}"));
    println!("first message after {first:?}");
    assert!(first < Duration::from_secs(2), "{first:?}\n{text}");
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(text.contains(".routemq/dev.db") && text.contains("finished"), "{text}");
    assert!(directory.path().join(".routemq/dev.db").is_file());
}
