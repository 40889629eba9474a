//! The session and the publisher against a real mosquitto.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise, its helpers as well"
)]

mod support;

use std::{collections::HashSet, time::Duration};

use futures::future::join_all;
use routemq_mqtt::{
    ConnectionState, End, FilterState, Outgoing, Properties, Published, Publisher, QoS,
    SessionStatus,
};
use support::{Listener, SOON, Seen, config, filter, mosquitto::Mosquitto, proxy::Proxy};

fn message(topic: &str, payload: impl Into<String>, qos: QoS) -> Outgoing {
    let payload: String = payload.into();
    Outgoing { topic: topic.into(), payload: payload.into(), qos, ..Outgoing::default() }
}

fn settled(status: &SessionStatus) -> bool {
    let settled = |state: &FilterState| matches!(state, FilterState::Granted { settled: true, .. });
    !status.filters.is_empty() && status.filters.values().all(settled)
}

/// How many different messages came.
fn distinct(seen: &Seen) -> usize {
    let payloads = seen.deliveries.iter().map(|delivery| &delivery.publish.payload);
    payloads.collect::<HashSet<_>>().len()
}

async fn publish_all(publisher: &Publisher, topic: &str, numbers: std::ops::Range<usize>) {
    let sent = numbers.map(|i| publisher.publish(message(topic, i.to_string(), QoS::AtLeastOnce)));
    for answer in join_all(sent).await {
        assert_eq!(answer, Ok(Published { no_subscribers: false }));
    }
}

#[tokio::test]
async fn a_shared_filter_is_granted_and_settled_by_the_barrier() {
    let broker = Mosquitto::start().await;
    let worker = Listener::eager(config(broker.port, "worker"));
    worker.handle.subscribe_to(vec![filter("$share/g/a/+", QoS::AtLeastOnce, 7)]).await;
    let status = worker.status("settled", settled).await;
    assert!(!status.no_barrier);
    worker.handle.barrier().await;
    assert_eq!(worker.payloads(), [""; 0], "a barrier message was handed over");
    worker.handle.stop(End::Keep, SOON).await;
}

#[tokio::test]
async fn every_quality_of_service_arrives_with_its_properties_and_identifier() {
    let broker = Mosquitto::start().await;
    let worker = Listener::eager(config(broker.port, "worker"));
    worker.handle.subscribe_to(vec![filter("$share/g/a/#", QoS::ExactlyOnce, 300)]).await;
    worker.status("settled", settled).await;
    let publisher = Publisher::spawn(config(broker.port, "sender"));
    let properties = Properties {
        response_topic: Some("answers/here".to_owned()),
        correlation_data: Some("id-1".into()),
        content_type: Some("text/plain".to_owned()),
        payload_is_utf8: Some(true),
        user: vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())],
        message_expiry: None,
    };
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let properties = Some(Box::new(properties.clone()));
        let outgoing = Outgoing { properties, ..message("a/b/c", "x", qos) };
        assert_eq!(publisher.publish(outgoing).await, Ok(Published { no_subscribers: false }));
    }
    worker.count(3).await;
    for (delivery, qos) in worker.seen().deliveries.iter().zip([0, 1, 2]) {
        let publish = &delivery.publish;
        assert_eq!((publish.qos as u8, &*publish.topic), (qos, "a/b/c"));
        assert_eq!(publish.subscriptions.iter().collect::<Vec<_>>(), [300]);
        assert_eq!(publish.properties.as_deref(), Some(&properties));
        assert_eq!(delivery.token.is_some(), qos > 0);
    }
    publisher.stop(SOON).await;
}

#[tokio::test]
async fn a_publish_that_nobody_gets_says_so() {
    let broker = Mosquitto::start().await;
    let publisher = Publisher::spawn(config(broker.port, "sender"));
    let answer = publisher.publish(message("nobody/listens", "x", QoS::AtLeastOnce)).await;
    assert_eq!(answer, Ok(Published { no_subscribers: true }));
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_to_the_next_connection_of_the_session() {
    let broker = Mosquitto::start().await;
    let mut window = config(broker.port, "slot-0");
    window.receive_maximum = 5;
    let first = Listener::lazy(window.clone());
    first.handle.subscribe_to(vec![filter("$share/g/a", QoS::AtLeastOnce, 1)]).await;
    first.status("settled", settled).await;
    let publisher = Publisher::spawn(config(broker.port, "sender"));
    publish_all(&publisher, "a", 0..20).await;
    first.count(5).await;
    // Out of order: only the done prefix, 0 and 1, may be acknowledged.
    let tokens = first.tokens();
    first.acks.done_all(&[tokens[3], tokens[1], tokens[0]]);
    first.count(7).await;
    first.handle.stop(End::Keep, SOON).await;

    let second = Listener::eager(window);
    second.count(18).await;
    assert_eq!(second.seen().connections, [(1, true)]);
    let expected: Vec<String> = (2..20).map(|i| i.to_string()).collect();
    assert_eq!(second.payloads(), expected);
    assert!(second.seen().deliveries[..5].iter().all(|delivery| delivery.publish.duplicate));
}

#[tokio::test]
async fn an_adopter_drains_a_dead_members_session_and_ends_it() {
    let broker = Mosquitto::start().await;
    let shared = filter("$share/g/a", QoS::AtLeastOnce, 1);
    let dead = Listener::lazy(config(broker.port, "slot-1"));
    dead.handle.subscribe_to(vec![shared.clone()]).await;
    dead.status("settled", settled).await;
    dead.handle.stop(End::Keep, SOON).await;
    let publisher = Publisher::spawn(config(broker.port, "sender"));
    publish_all(&publisher, "a", 0..20).await;

    let mut window = config(broker.port, "slot-1");
    window.receive_maximum = 5;
    let adopter = Listener::eager(window);
    adopter.handle.leave(vec![shared.filter.to_string()]).await;
    assert!(adopter.handle.barrier().await, "nothing is proven");
    assert!(adopter.handle.status().borrow().filters.is_empty(), "filters are left");
    assert_eq!(adopter.payloads(), (0..20).map(|i| i.to_string()).collect::<Vec<_>>());
    assert!(adopter.handle.stop(End::Discard, SOON).await, "the broker was not told");

    let next = Listener::lazy(config(broker.port, "slot-1"));
    next.until("a connection", |seen| !seen.connections.is_empty()).await;
    assert_eq!(next.seen().connections, [(1, false)], "the session was not ended");
}

#[tokio::test]
async fn a_change_of_filters_under_load_loses_nothing() {
    let broker = Mosquitto::start().await;
    let worker = Listener::eager(config(broker.port, "worker"));
    worker.handle.subscribe_to(vec![filter("$share/g/a/+", QoS::AtLeastOnce, 1)]).await;
    worker.status("settled", settled).await;
    let publisher = Publisher::spawn(config(broker.port, "sender"));
    let load = publish_all(&publisher, "a/x", 0..3000);
    let change = async {
        worker.count(500).await;
        worker.handle.subscribe_to(vec![filter("$share/g/a/#", QoS::AtLeastOnce, 2)]).await;
        worker
            .status("the new filter settled, the old one gone", |status| {
                settled(status) && status.filters.len() == 1
            })
            .await;
    };
    tokio::join!(load, change);
    worker.handle.barrier().await;
    assert_eq!(distinct(&worker.seen()), 3000);
}

#[tokio::test]
async fn what_a_predecessor_held_and_nobody_wants_is_left() {
    let broker = Mosquitto::start().await;
    let wide = || filter("$share/g/a/#", QoS::AtLeastOnce, 1);
    let first = Listener::eager(config(broker.port, "worker"));
    first.handle.subscribe_to(vec![wide(), filter("b", QoS::AtLeastOnce, 2)]).await;
    first.status("settled", settled).await;
    first.handle.barrier().await;
    first.handle.stop(End::Keep, SOON).await;

    let publisher = Publisher::spawn(config(broker.port, "sender"));
    publish_all(&publisher, "b", 0..10).await;
    let second = Listener::eager(config(broker.port, "worker"));
    second.handle.subscribe_to(vec![wide()]).await;
    second.count(10).await;
    let alone = |status: &SessionStatus| settled(status) && status.filters.len() == 1;
    second.status("what the first one held is gone", alone).await;
    second.handle.barrier().await;
    let lost = publisher.publish(message("b", "x", QoS::AtLeastOnce)).await;
    assert_eq!(lost, Ok(Published { no_subscribers: true }));
    second.handle.stop(End::Discard, SOON).await;

    let reader = Listener::eager(config(broker.port, "reader"));
    reader.handle.subscribe_to(vec![filter("routemq/+/+", QoS::AtLeastOnce, 1)]).await;
    reader.status("settled", settled).await;
    let stranger = Listener::eager(config(broker.port, "worker"));
    stranger.handle.subscribe_to(vec![wide()]).await;
    stranger.status("settled", settled).await;
    assert_eq!(stranger.handle.status().borrow().filters.len(), 1);
}

#[tokio::test]
async fn a_barrier_that_the_access_rules_forbid_is_replaced_by_quiet() {
    let rules = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(rules.path(), "topic readwrite a/#\n").unwrap();
    let extra = format!("allow_anonymous true\nacl_file {}\n", rules.path().display());
    let broker = Mosquitto::with(&extra).await;
    let worker = Listener::eager(config(broker.port, "worker"));
    worker.handle.subscribe_to(vec![filter("$share/g/a/+", QoS::AtLeastOnce, 1)]).await;
    let status = worker.status("settled", settled).await;
    assert!(status.no_barrier);
}

#[tokio::test]
async fn random_breaks_of_the_connection_lose_nothing() {
    let broker = Mosquitto::start().await;
    let proxy = Proxy::to(broker.port).await;
    let worker = Listener::eager(config(proxy.port, "worker"));
    worker.handle.subscribe_to(vec![filter("$share/g/a", QoS::AtLeastOnce, 1)]).await;
    worker.status("settled", settled).await;
    let publisher = Publisher::spawn(config(broker.port, "sender"));
    let load = publish_all(&publisher, "a", 0..5000);
    let breaks = async {
        for round in 1..=8 {
            worker.count(round * 500).await;
            proxy.cut();
        }
    };
    tokio::join!(load, breaks);
    worker.until("all of them", |seen| distinct(seen) == 5000).await;
    assert!(worker.seen().connections.iter().skip(1).all(|(_, present)| *present));
    // What was acknowledged in vain is counted; what was acknowledged is not sent again.
    worker.handle.barrier().await;
    let before = worker.seen().deliveries.len();
    worker.handle.stop(End::Keep, SOON).await;
    let next = Listener::eager(config(broker.port, "worker"));
    next.handle.barrier().await;
    assert_eq!(worker.seen().deliveries.len(), before);
    assert_eq!(next.payloads(), [""; 0], "sent again after the last connection ended well");
}

#[tokio::test]
async fn unconfirmed_publishes_survive_a_broker_that_is_killed() {
    let mut broker = Mosquitto::start().await;
    let publisher = Publisher::spawn(config(broker.port, "sender"));
    publisher.connected().await;
    broker.kill();
    let waiting = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.publish(message("a", "x", QoS::AtLeastOnce)).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    broker.restart().await;
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_wrong_password_is_said_with_the_way_to_mend_it() {
    let passwords = tempfile::NamedTempFile::new().unwrap();
    let extra = format!("allow_anonymous false\npassword_file {}\n", passwords.path().display());
    let broker = Mosquitto::with(&extra).await;
    let worker = Listener::eager(config(broker.port, "worker"));
    let waiting = |status: &SessionStatus| {
        matches!(&status.connection, ConnectionState::Waiting { reason, .. }
            if reason.contains("not authorized") && reason.contains("credentialsSecretRef"))
    };
    worker.status("a refusal in words", waiting).await;
}
