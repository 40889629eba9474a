//! Dead letters that the broker does not take, or takes for nobody.

use std::time::Duration;

use routemq_tests::{
    Bed, Broker, Database, MosquittoConfig, PATIENCE, WorkerProcess, ensure, eventually, messages,
    readings,
};
use rumqttc::v5::mqttbytes::QoS;

const SPEC: &str = "  delivery: {deadLetter: {topic: \"dead/{route}\"}}\n";
const WITHOUT: &str =
    "topic readwrite readings/#\ntopic readwrite routemq/#\ntopic read dead/#\ntopic read $SYS/#\n";

fn poison() -> (&'static str, &'static str) {
    ("readings/d/100001", "{\"value\": \"warm\"}")
}

#[tokio::test]
async fn a_dead_letter_that_the_broker_forbids_holds_its_message_until_it_is_allowed() {
    let broker = MosquittoConfig { acl: Some(WITHOUT.to_owned()), ..MosquittoConfig::default() };
    let mut bed = Bed::start_with(Database::mariadb().await, broker).await;
    let mut dead = bed.client("dead").await;
    dead.subscribe("dead/#", QoS::AtLeastOnce).await;
    let worker = bed.run(&readings(SPEC), 1).await;
    let mut publisher = bed.client("publisher").await;
    let (topic, payload) = poison();
    publisher.publish(topic, payload, QoS::AtLeastOnce).await;
    publisher.publish_all(messages(0..20), 20).await;
    bed.distinct_rows(20).await;
    assert!(dead.receive(Duration::from_secs(2)).await.is_none());
    let entries = bed.ledger.entries(topic);
    assert!(entries[topic].acknowledged.is_empty(), "acknowledged without a dead letter");
    assert!(worker.output().contains("dead letter"), "not told:\n{}", worker.output());
    let said = worker.output().lines().filter(|line| line.contains("dead letter")).count();
    assert!(said <= 3, "told {said} times");

    bed.broker.reload_acl(&format!("{WITHOUT}topic readwrite dead/#\n"));
    let letter = dead.receive(PATIENCE).await.expect("the dead letter comes");
    assert_eq!((letter.topic.as_str(), letter.text().as_str()), ("dead/reading", payload));
    bed.all_acknowledged("readings/", 21).await;
    assert!(dead.receive(Duration::from_millis(300)).await.is_none(), "one dead letter");
}

#[tokio::test]
async fn a_dead_letter_for_nobody_is_acknowledged_and_told() {
    let (_bed, worker) = for_nobody(Broker::mosquitto().await).await;
    eventually("it is told", PATIENCE, async || {
        let output = worker.output();
        ensure(output.contains("nobody subscribes"), || output)
    })
    .await;
}

/// rmqtt answers PUBACK with success, and not that nobody subscribes (0x10): nobody can tell.
#[tokio::test]
async fn a_dead_letter_for_nobody_is_acknowledged_where_the_broker_does_not_say_so_on_rmqtt() {
    let (_bed, worker) = for_nobody(Broker::rmqtt().await).await;
    assert!(
        !worker.output().contains("nobody subscribes"),
        "rmqtt says so now: see docs/delivery.md"
    );
}

async fn for_nobody(broker: Broker) -> (Bed, WorkerProcess) {
    let bed = Bed::start_on(broker, Database::mariadb().await).await;
    let worker = bed.run(&readings(SPEC), 1).await;
    let (topic, payload) = poison();
    let mut publisher = bed.client("publisher").await;
    publisher.publish(topic, payload, QoS::AtLeastOnce).await;
    bed.all_acknowledged("readings/", 1).await;
    (bed, worker)
}
