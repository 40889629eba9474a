//! The publisher, seen by the broker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise, its helpers as well"
)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use routemq_mqtt::{Outgoing, PublishError, Published, Publisher, QoS};
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, Packet, PubAck, PubAckReason, PubComp, PubRec,
};
use support::{
    SOON, config,
    stub::{Peer, Stub, connack, limits},
};

const ACCEPTED: Published = Published { no_subscribers: false };

fn message(payload: &str, qos: QoS) -> Outgoing {
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    Outgoing { topic: "a".into(), payload, qos, ..Outgoing::default() }
}

fn start(publisher: &Publisher, outgoing: Outgoing) -> tokio::task::JoinHandle<Answer> {
    let publisher = publisher.clone();
    tokio::spawn(async move { publisher.publish(outgoing).await })
}

type Answer = Result<Published, PublishError>;

async fn published(peer: &mut Peer) -> (u16, String) {
    match peer.packet().await {
        Packet::Publish(publish) => {
            assert!(!publish.dup, "a new session knows no duplicates");
            (publish.pkid, String::from_utf8(publish.payload.to_vec()).unwrap())
        }
        other => panic!("not a PUBLISH: {other:?}"),
    }
}

#[tokio::test]
async fn unconfirmed_messages_are_sent_again_on_the_next_connection() {
    let stub = Stub::start().await;
    let publisher = Publisher::spawn(config(stub.port, "sender"));
    let (mut peer, connect, _) = stub.greet(connack()).await;
    assert!(connect.clean_start);
    assert_eq!(connect.properties.unwrap().session_expiry_interval, Some(0));
    let mut answers = Vec::new();
    let mut ids = Vec::new();
    for payload in ["1", "2", "3"] {
        answers.push(start(&publisher, message(payload, QoS::AtLeastOnce)));
        let (id, sent) = published(&mut peer).await;
        assert_eq!(sent, payload);
        ids.push(id);
    }
    peer.send(Packet::PubAck(PubAck::new(ids[1], None))).await;
    assert_eq!(answers.remove(1).await.unwrap(), Ok(ACCEPTED));
    drop(peer);
    let mut peer = stub.welcome().await;
    for payload in ["1", "3"] {
        let (id, sent) = published(&mut peer).await;
        assert_eq!(sent, payload);
        peer.send(Packet::PubAck(PubAck::new(id, None))).await;
    }
    for answer in answers {
        assert_eq!(answer.await.unwrap(), Ok(ACCEPTED));
    }
}

#[tokio::test]
async fn qos_2_is_released_before_it_is_confirmed_and_qos_0_needs_no_answer() {
    let stub = Stub::start().await;
    let publisher = Publisher::spawn(config(stub.port, "sender"));
    let mut peer = stub.welcome().await;
    assert_eq!(publisher.publish(message("0", QoS::AtMostOnce)).await, Ok(ACCEPTED));
    assert_eq!(published(&mut peer).await, (0, "0".to_owned()));
    let answer = start(&publisher, message("2", QoS::ExactlyOnce));
    let (id, _) = published(&mut peer).await;
    peer.send(Packet::PubRec(PubRec::new(id, None))).await;
    let Packet::PubRel(release) = peer.packet().await else { panic!("no PUBREL") };
    assert_eq!(release.pkid, id);
    assert!(!answer.is_finished());
    peer.send(Packet::PubComp(PubComp::new(id, None))).await;
    assert_eq!(answer.await.unwrap(), Ok(ACCEPTED));
}

#[tokio::test]
async fn no_more_is_in_flight_than_the_broker_takes() {
    let stub = Stub::start().await;
    let publisher = Publisher::spawn(config(stub.port, "sender"));
    let properties = ConnAckProperties { receive_max: Some(2), ..limits() };
    let (mut peer, _, _) = stub.greet(ConnAck { properties: Some(properties), ..connack() }).await;
    let all = join_all((0..5).map(|_| publisher.publish(message("x", QoS::AtLeastOnce))));
    let broker = async {
        let mut ids = vec![published(&mut peer).await.0, published(&mut peer).await.0];
        for _ in 0..3 {
            peer.silence(Duration::from_millis(30)).await;
            peer.send(Packet::PubAck(PubAck::new(ids.remove(0), None))).await;
            ids.push(published(&mut peer).await.0);
        }
        for id in ids {
            peer.send(Packet::PubAck(PubAck::new(id, None))).await;
        }
    };
    let (answers, ()) = tokio::join!(all, broker);
    assert_eq!(answers, [const { Ok::<_, PublishError>(ACCEPTED) }; 5]);
}

#[tokio::test]
async fn a_dropped_future_frees_its_place_when_the_broker_confirms() {
    let stub = Stub::start().await;
    let mut own = config(stub.port, "sender");
    own.receive_maximum = 1;
    let publisher = Publisher::spawn(own);
    let mut peer = stub.welcome().await;
    let given_up = start(&publisher, message("given up", QoS::AtLeastOnce));
    let (id, _) = published(&mut peer).await;
    given_up.abort();
    let next = start(&publisher, message("next", QoS::AtLeastOnce));
    peer.silence(Duration::from_millis(50)).await;
    peer.send(Packet::PubAck(PubAck::new(id, None))).await;
    let (id, payload) = published(&mut peer).await;
    assert_eq!(payload, "next");
    peer.send(Packet::PubAck(PubAck::new(id, None))).await;
    assert_eq!(next.await.unwrap(), Ok(ACCEPTED));
}

#[tokio::test]
async fn a_refusal_reaches_its_caller() {
    let stub = Stub::start().await;
    let publisher = Publisher::spawn(config(stub.port, "sender"));
    let mut peer = stub.welcome().await;
    let answer = start(&publisher, message("x", QoS::AtLeastOnce));
    let (pkid, _) = published(&mut peer).await;
    let refusal = PubAck { pkid, reason: PubAckReason::NotAuthorized, properties: None };
    peer.send(Packet::PubAck(refusal)).await;
    let error = answer.await.unwrap().unwrap_err().to_string();
    assert_eq!(error, "the broker refused the publish to \"a\": not authorized (0x87)");
}

#[tokio::test]
async fn stop_waits_for_what_is_under_way() {
    let stub = Stub::start().await;
    let publisher = Publisher::spawn(config(stub.port, "sender"));
    let mut peer = stub.welcome().await;
    let answer = start(&publisher, message("x", QoS::AtLeastOnce));
    let (id, _) = published(&mut peer).await;
    let broker = async {
        peer.silence(Duration::from_millis(50)).await;
        peer.send(Packet::PubAck(PubAck::new(id, None))).await;
        peer.rest().await
    };
    let (rest, ()) = tokio::join!(broker, publisher.stop(SOON));
    assert_eq!(rest, [0xE0, 1, 0]);
    assert_eq!(answer.await.unwrap(), Ok(ACCEPTED));
    assert_eq!(publisher.publish(message("x", QoS::AtLeastOnce)).await, Err(PublishError::Stopped));
}

#[tokio::test]
async fn stop_gives_up_after_its_patience_and_says_so_to_whoever_waits() {
    let publisher = Publisher::spawn(config(support::mosquitto::free_port(), "sender"));
    let answer = start(&publisher, message("x", QoS::AtLeastOnce));
    tokio::task::yield_now().await;
    publisher.stop(Duration::from_millis(50)).await;
    assert_eq!(answer.await.unwrap(), Err(PublishError::Stopped));
    publisher.connected().await;
}
