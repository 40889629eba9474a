//! Messages with a mark of their own: retained ones, and those that expire.

use std::time::Duration;

use routemq_tests::{Bed, Database, PATIENCE, ensure, eventually, readings};
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{Publish, PublishProperties},
};

fn reading(id: u32, expiry: Option<u32>) -> Publish {
    let properties =
        PublishProperties { message_expiry_interval: expiry, ..PublishProperties::default() };
    let topic = format!("readings/d/{id}");
    Publish::new(topic, QoS::AtLeastOnce, "{\"value\": 1}", Some(properties))
}

async fn ids(bed: &Bed) -> Vec<String> {
    bed.rows().texts("SELECT CAST(id AS CHAR) FROM readings ORDER BY id").await
}

async fn become_rows(bed: &Bed, expected: &[&str]) {
    eventually("the rows are there", PATIENCE, async || {
        let ids = ids(bed).await;
        ensure(ids == expected, || format!("{ids:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_message_that_expires_while_no_worker_runs_is_not_handled() {
    let bed = Bed::start(Database::mariadb().await).await;
    let mut worker = bed.run(&readings(""), 1).await;
    assert_eq!(worker.terminate(PATIENCE).await.code(), Some(0));
    let mut publisher = bed.client("publisher").await;
    for (id, expiry) in [(1, Some(1)), (2, None), (3, Some(3600))] {
        publisher.send(reading(id, expiry)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    worker.restart();
    become_rows(&bed, &["2", "3"]).await;
}

#[tokio::test]
async fn a_message_that_expires_while_the_database_is_away_is_dropped_and_not_tried_again() {
    let mut bed = Bed::start(Database::mariadb().await).await;
    let mut dead = bed.client("dead").await;
    dead.subscribe("dead/#", QoS::AtLeastOnce).await;
    let _worker =
        bed.run(&readings("  delivery: {deadLetter: {topic: \"dead/{route}\"}}\n"), 1).await;
    bed.database.stop().await;
    let mut publisher = bed.client("publisher").await;
    for (id, expiry) in [(1, Some(2)), (2, None), (3, Some(3600))] {
        publisher.send(reading(id, expiry)).await;
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    bed.database.restart().await;
    become_rows(&bed, &["2", "3"]).await;
    bed.all_acknowledged("readings/", 3).await;
    assert!(
        dead.receive(Duration::from_millis(300)).await.is_none(),
        "an expired message is no failure"
    );
    assert_eq!(ids(&bed).await, ["2", "3"]);
}

/// MQTT 5 (4.8.2) forbids it on a share. mosquitto before 2.0.13 does it all the same, unless it is asked not to.
#[tokio::test]
async fn a_retained_message_is_not_handled_anew_by_each_worker_of_a_share() {
    let bed = Bed::start(Database::mariadb().await).await;
    let mut publisher = bed.client("publisher").await;
    publisher.send(Publish { retain: true, ..reading(1, None) }).await;
    let marked = "value: \"message.retain ? 1.0 : 0.0\"";
    let routes = readings("  workerCount: 2\n").replace("value: payload.value", marked);
    let _workers = bed.run(&routes, 2).await;
    publisher.send(Publish { retain: true, ..reading(2, None) }).await;
    publisher.send(reading(3, None)).await;
    become_rows(&bed, &["2", "3"]).await;
    let marked = bed.rows().count("SELECT COUNT(*) FROM readings WHERE value = 1").await;
    assert_eq!(marked, 0, "a message that has just been published is not a retained one");
}

/// A plain subscription gets it once, with its mark.
#[tokio::test]
async fn a_retained_message_is_handled_once_with_its_mark_where_there_is_no_share() {
    let bed = Bed::start(Database::mariadb().await).await;
    bed.client("publisher").await.send(Publish { retain: true, ..reading(1, None) }).await;
    let marked = "value: \"message.retain ? 1.0 : 0.0\"";
    let routes = readings("  shared: false\n").replace("value: payload.value", marked);
    let mut worker = bed.run(&routes, 1).await;
    become_rows(&bed, &["1"]).await;
    assert_eq!(bed.rows().count("SELECT COUNT(*) FROM readings WHERE value = 1").await, 1);
    // It belongs to the subscription, not to each connection.
    assert_eq!(worker.terminate(PATIENCE).await.code(), Some(0));
    worker.restart();
    bed.subscribed(2, &mut worker).await;
    bed.client("publisher").await.send(reading(2, None)).await;
    eventually("the next one is handled", PATIENCE, async || {
        let ids = ids(&bed).await;
        ensure(ids.contains(&"2".to_owned()), || format!("{ids:?}"))
    })
    .await;
    assert_eq!(ids(&bed).await, ["1", "2"]);
}
