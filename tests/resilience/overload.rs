//! More than a worker can do.

use std::time::{Duration, Instant};

use routemq_tests::{
    Bed, Client, Database, MosquittoConfig, PATIENCE, WorkerProcess, ensure, eventually, readings,
};
use rumqttc::v5::mqttbytes::QoS;
use tokio::time::{MissedTickBehavior, interval};

use crate::{lasting, per_second};

const MEGABYTE: u64 = 1024 * 1024;

/// A handler that takes 20 ms of a database connection; there are four.
fn slow_readings(spec: &str) -> String {
    let slow = "statement: \"INSERT INTO readings SELECT :id, :device, s.value FROM (SELECT :value + SLEEP(0.02) AS value) s\"\n            \
         binds: {id: params.id, device: params.device, value: payload.value}";
    let rows = "table: readings\n            columns: {id: params.id, device: params.device, value: payload.value}";
    let routes = readings(spec);
    assert!(routes.contains(rows), "{routes}");
    routes.replace(rows, slow)
}

/// What a worker takes idle, and what handlers make of the messages that are at work: beside the bound that it logs. (A
/// build for tests is fatter than one for pods.)
const BESIDE: u64 = 60 * MEGABYTE;

/// The bound of what waits, as the worker logs it when it starts, bytes.
fn logged_bound(log: &str) -> u64 {
    let (_, rest) = log.split_once("mebibytes=").unwrap_or_else(|| panic!("no bound in\n{log}"));
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    number.parse::<u64>().expect("digits are a number") * MEGABYTE
}

fn payload(bytes: usize) -> String {
    format!("{{\"value\": 1.5, \"padding\": \"{}\"}}", "x".repeat(bytes))
}

/// Publishes `per_second` for so long; the messages beyond 0 are its count.
async fn publish(client: &mut Client, per_second: usize, span: Duration, payload: &str) -> usize {
    let mut tick = interval(Duration::from_millis(50));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (start, mut published) = (Instant::now(), 0);
    while start.elapsed() < span {
        tick.tick().await;
        let more = per_second / 20;
        let batch = (published..published + more)
            .map(|n| (format!("readings/d-{}/{n}", n % 100), payload.to_owned()));
        client.publish_all(batch, 100).await;
        published += more;
    }
    published
}

fn most_memory(worker: &mut WorkerProcess) -> u64 {
    assert_eq!(worker.process().exit_status(), None, "{}", worker.output());
    worker.process().peak_resident_bytes()
}

#[tokio::test]
async fn ten_times_the_load_waits_with_the_broker_and_not_in_the_workers_memory() {
    let bed = Bed::start_with(Database::mariadb().await, MosquittoConfig::recent()).await;
    println!("on {}", bed.broker.name());
    let window = 500_u16;
    let spec = format!("  delivery: {{receiveMaximum: {window}, concurrency: 64}}\n");
    let mut worker = bed.run(&slow_readings(&spec), 1).await;
    let payload = payload(1000);
    let mut client = bed.client("publisher").await;
    let (span, started) = (lasting(9, 300), Instant::now());
    let published = publish(&mut client, 2000, span, &payload).await;
    let done = bed.acknowledged();
    let capacity = per_second(done, started.elapsed());
    assert!(done > 100 && published > 5 * done, "{published} offered, {done} done: no overload");
    let memory = most_memory(&mut worker);
    println!("{published} offered, {capacity:.0}/s done, {} MiB at most", memory / MEGABYTE);
    let bound = logged_bound(&worker.output()) + BESIDE;
    assert!(memory < bound, "{} MiB of {}", memory / MEGABYTE, bound / MEGABYTE);
    // And far below it, where messages are small: what counts is the window.
    let window_bytes = u64::from(window) * (1100 + 2048);
    assert!(memory < BESIDE + 4 * window_bytes, "{} MiB", memory / MEGABYTE);
    assert_eq!(bed.broker.sys("publish/messages/dropped").await, "0", "dropped by the broker");
    assert_eq!(bed.ledger.subscribed(), 1, "the worker lost its connection");
    if bed.broker.keeps_to_receive_maximum() {
        let sent = bed.ledger.count("readings/", |entry| !entry.sent.is_empty());
        assert!(sent <= bed.acknowledged() + usize::from(window), "beyond the window");
    }
    // It goes on, and an orderly stop does not wait for the queue.
    bed.reaches(done + 200).await;
    assert_eq!(worker.terminate(PATIENCE).await.code(), Some(0), "{}", worker.output());
    let rows = bed.row_count().await;
    assert!(rows >= bed.acknowledged(), "acknowledged without its row");
}

/// Half a gigabyte in number, were it not bounded in bytes.
#[tokio::test]
async fn large_messages_wait_with_the_broker_when_they_fill_the_window_in_bytes() {
    let mut bed = Bed::start(Database::mariadb().await).await;
    let mut worker = bed.run(&readings(""), 1).await;
    let bound = logged_bound(&worker.output());
    bed.database.pause();
    let payload = payload(600_000);
    let messages = (0..800).map(|n| (format!("readings/d-{}/{n}", n % 100), payload.clone()));
    bed.client("publisher").await.publish_all(messages, 20).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let memory = most_memory(&mut worker);
    println!("{} MiB at most", memory / MEGABYTE);
    // Beside what waits, the 64 messages at work are decoded.
    let at_work = 64 * 2 * 600_000;
    assert!(memory < bound + BESIDE + at_work, "{} MiB", memory / MEGABYTE);
    bed.database.resume();
    bed.distinct_rows(800).await;
    bed.all_acknowledged("readings/", 800).await;
    assert_eq!(bed.broker.sys("publish/messages/dropped").await, "0", "dropped by the broker");
    assert_eq!(bed.ledger.subscribed(), 1, "the worker lost its connection");
}

#[tokio::test]
async fn a_flood_of_qos_0_is_bounded_in_memory_and_the_connection_stays() {
    let broker =
        MosquittoConfig { extra: "max_keepalive 10\n".to_owned(), ..MosquittoConfig::default() };
    let bed = Bed::start_with(Database::mariadb().await, broker).await;
    let mut worker = bed
        .run(&slow_readings("").replace("topic: \"readings", "qos: 0\n      topic: \"readings"), 1)
        .await;
    let mut client = bed.client("flood").await;
    let payload = payload(4000);
    let (span, start) = (lasting(9, 120), Instant::now());
    let mut published = 0_u64;
    while start.elapsed() < span {
        for _ in 0..500 {
            client
                .publish(&format!("readings/d/{published}"), payload.clone(), QoS::AtMostOnce)
                .await;
            published += 1;
        }
        // An answer means that the broker has taken all before it.
        client.publish("elsewhere", "", QoS::AtLeastOnce).await;
    }
    let memory = most_memory(&mut worker);
    println!("{published} messages, {} MiB at most", memory / MEGABYTE);
    let flood = published * 4100;
    assert!(flood > 150 * MEGABYTE, "{} MiB are no flood", flood / MEGABYTE);
    // 32 MiB of messages may wait, and some whole read buffers of 128 KiB.
    assert!(memory < 60 * MEGABYTE + 3 * 32 * MEGABYTE, "{} MiB", memory / MEGABYTE);
    assert_eq!(bed.ledger.subscribed(), 1, "the worker lost its connection");
    assert!(!bed.broker.log().contains("exceeded timeout"), "{}", bed.broker.log());
    let rows = bed.row_count().await;
    eventually("it goes on", PATIENCE, async || {
        let now = bed.row_count().await;
        ensure(now > rows, || format!("{now} rows"))
    })
    .await;
}
