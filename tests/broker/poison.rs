//! Messages that cannot be handled, and their neighbours that can.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use routemq_tests::{Broker, Client, Database, Received};
use rumqttc::v5::mqttbytes::QoS;

use crate::bed::{Bed, messages, readings};

const SPEC: &str = "  delivery: {maxAttempts: 2, deadLetter: {topic: \"dead/{route}\"}}\n";

struct Poison {
    name: &'static str,
    topic: &'static str,
    payload: Vec<u8>,
    class: &'static str,
}

fn poisons() -> Vec<Poison> {
    let deep = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
    let bad = |name, topic, payload: &[u8], class| Poison {
        name,
        topic,
        payload: payload.to_vec(),
        class,
    };
    vec![
        bad("not JSON", "readings/d/100001", b"{\"value\": ", "PayloadFormat"),
        bad("empty", "readings/d/100002", b"", "PayloadFormat"),
        bad("10,000 deep", "readings/d/100003", &deep, "PayloadFormat"),
        bad("invalid UTF-8", "readings/d/100004", b"{\"value\": \"\xff\xfe\"}", "PayloadFormat"),
        bad("a huge number", "readings/d/100008", b"{\"value\": 1e999}", "PayloadFormat"),
        bad("a key twice", "readings/d/100009", b"{\"value\": 1, \"value\": 2}", "PayloadFormat"),
        bad("NUL", "readings/d/100010", b"{\"value\": 1}\0", "PayloadFormat"),
        bad("NUL in a text", "readings/d/100011", b"{\"value\": \"a\0b\"}", "PayloadFormat"),
        bad("a missing field", "readings/d/100005", b"{\"other\": 1}", "Expression"),
        bad("text where a number belongs", "readings/d/100006", b"{\"value\": \"warm\"}", "Row"),
        bad("null where none may be", "readings/d/100007", b"{\"value\": null}", "Row"),
    ]
}

/// Requires JSON, so that the payload's format can be wrong.
fn json_readings() -> String {
    readings(SPEC).replace("      handlers:", "      payload: {format: Json}\n      handlers:")
}

fn property<'a>(letter: &'a Received, name: &str) -> &'a str {
    let found = letter.properties.user_properties.iter().find(|(key, _)| key == name);
    found.map_or_else(|| panic!("no {name} in {:?}", letter.properties), |(_, value)| value)
}

fn time(letter: &Received, name: &str) -> DateTime<Utc> {
    let text = property(letter, name);
    let time = DateTime::parse_from_rfc3339(text);
    time.unwrap_or_else(|error| panic!("{name}: {text}: {error}")).to_utc()
}

/// Received, then dead-lettered, all of it within the test.
fn tells_when(letter: &Received, start: DateTime<Utc>) {
    let received = time(letter, "routemq-first-received");
    let dead_lettered = time(letter, "routemq-dead-lettered-at");
    // Some milliseconds of leeway: the worker reads its clock once a turn.
    let before = start - TimeDelta::milliseconds(100);
    assert!(before <= received && received <= dead_lettered && dead_lettered <= Utc::now());
}

async fn dead_letters(bed: &Bed) -> Client {
    let mut dead = bed.client("dead").await;
    dead.subscribe("dead/#", QoS::AtLeastOnce).await;
    dead
}

/// Each poison lands in the dead letters untouched, with its class and attempts; the good messages around it are rows.
async fn poisons_and_neighbours(broker: Broker, database: Database) {
    let bed = Bed::start_on(broker, database).await;
    let mut dead = dead_letters(&bed).await;
    let _worker = bed.run(&json_readings(), 1).await;
    let mut publisher = bed.client("publisher").await;
    let (poisons, start) = (poisons(), Utc::now());
    for (i, poison) in poisons.iter().enumerate() {
        publisher.publish_all(messages(i * 20..i * 20 + 10), 20).await;
        publisher.publish(poison.topic, poison.payload.clone(), QoS::AtLeastOnce).await;
        publisher.publish_all(messages(i * 20 + 10..i * 20 + 20), 20).await;
    }
    let mut letters = Vec::new();
    for _ in &poisons {
        let letter = dead.receive(Duration::from_secs(30)).await;
        letters.push(letter.unwrap_or_else(|| panic!("only {} dead letters", letters.len())));
    }
    bed.distinct_rows(poisons.len() * 20).await;
    bed.all_acknowledged("readings/", poisons.len() * 21).await;
    for poison in &poisons {
        let letter = letters.iter().find(|l| property(l, "routemq-topic") == poison.topic);
        let letter = letter.unwrap_or_else(|| panic!("{}: no dead letter", poison.name));
        assert_eq!(letter.topic, "dead/reading", "{}", poison.name);
        assert_eq!(letter.payload, poison.payload, "{}", poison.name);
        let told = property(letter, "routemq-error");
        assert_eq!(property(letter, "routemq-class"), poison.class, "{}: {told}", poison.name);
        assert_eq!(property(letter, "routemq-route"), "reading", "{}", poison.name);
        assert_eq!(property(letter, "routemq-attempts"), "1", "{}", poison.name);
        assert!(!told.is_empty(), "{}", poison.name);
        tells_when(letter, start);
    }
    assert!(dead.receive(Duration::from_millis(300)).await.is_none(), "one dead letter each");
}

#[tokio::test]
async fn a_poison_message_goes_to_the_dead_letters_and_its_neighbours_pass_on_mariadb() {
    poisons_and_neighbours(Broker::mosquitto().await, Database::mariadb().await).await;
}

#[tokio::test]
async fn a_poison_message_goes_to_the_dead_letters_and_its_neighbours_pass_on_rmqtt() {
    poisons_and_neighbours(Broker::rmqtt().await, Database::mariadb().await).await;
}

#[tokio::test]
async fn a_poison_message_goes_to_the_dead_letters_and_its_neighbours_pass_on_postgres() {
    poisons_and_neighbours(Broker::mosquitto().await, Database::postgres().await).await;
}

#[tokio::test]
async fn large_payloads_are_handled_or_refused_and_the_next_message_passes() {
    let bed = Bed::start(Database::mariadb().await).await;
    let _worker = bed.run(&json_readings(), 1).await;
    let mut publisher = bed.client("publisher").await;
    for (n, size) in [(1, 900 * 1024), (2, 1024 * 1024), (3, 2 * 1024 * 1024)] {
        let payload = format!("{{\"value\": {n}, \"padding\": \"{}\"}}", "x".repeat(size));
        publisher.publish(&format!("readings/large/{n}"), payload, QoS::AtLeastOnce).await;
    }
    publisher.publish_all(messages(100..110), 20).await;
    // Up to the Maximum Packet Size of 1 MiB it comes and is a row; the broker keeps larger ones from the worker.
    bed.distinct_rows(11).await;
    assert_eq!(bed.rows().count("SELECT COUNT(*) FROM readings WHERE id = 1").await, 1);
}

#[tokio::test]
async fn what_matches_no_typed_param_is_acknowledged_without_work() {
    let bed = Bed::start(Database::mariadb().await).await;
    let _worker = bed.run(&readings(SPEC), 1).await;
    let mut publisher = bed.client("publisher").await;
    publisher.publish("readings/d/not-a-number", "{\"value\": 1}", QoS::AtLeastOnce).await;
    publisher.publish("readings//7", "{\"value\": 1}", QoS::AtLeastOnce).await;
    publisher.publish_all(messages(0..1), 1).await;
    bed.distinct_rows(1).await;
    bed.all_acknowledged("readings/", 3).await;
    assert_eq!(bed.row_count().await, 1);
}
