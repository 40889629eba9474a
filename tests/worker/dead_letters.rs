//! What dead letters say, on the wire.

use routemq_worker::run::RunSettings;
use rumqttc::v5::mqttbytes::QoS;

use crate::bed::{Bed, PATIENCE, yaml};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_names_as_many_attempts_as_are_allowed() {
    let bed = Bed::start().await;
    let mut dead = bed.broker.client("dead").await;
    dead.subscribe("dead/#", QoS::AtLeastOnce).await;
    let delivery = "timeoutSeconds: 1, maxAttempts: 3, deadLetter: {topic: dead/letters}";
    let yaml = yaml(1, delivery, &[("stuck", "d/{id}", 60_000)]);
    let settings = RunSettings { observer: None, ..bed.settings() };
    let running = bed.run_with(&yaml, settings).await;
    bed.publish("d", 0..1).await;
    let letter = dead.receive(PATIENCE).await.expect("a dead letter comes");
    let property = |name: &str| {
        let found = letter.properties.user_properties.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(property("routemq-attempts"), Some("3"));
    assert_eq!(property("routemq-class"), Some("Timeout"));
    running.stop().await;
}
