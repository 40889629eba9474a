use std::time::Duration;

use routemq_tests::{Client, ClientConfig, Mosquitto, MosquittoConfig};
use rumqttc::v5::mqttbytes::QoS;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_message_goes_through_at_every_quality() {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let mut subscriber = broker.client("subscriber").await;
    subscriber.subscribe("a/+", QoS::ExactlyOnce).await;
    let mut publisher = broker.client("publisher").await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        publisher.publish("a/b", format!("{qos:?}"), qos).await;
        let received = subscriber.receive(5 * SECOND).await.expect("it comes");
        assert_eq!((received.text(), received.qos), (format!("{qos:?}"), qos));
    }
}

#[tokio::test]
async fn a_restarted_broker_has_the_session_and_its_messages() {
    let mut broker = Mosquitto::start(MosquittoConfig::default()).await;
    let durable = ClientConfig::new("durable").durable();
    let mut subscriber = Client::connect(broker.address(), durable.clone()).await;
    subscriber.subscribe("a", QoS::AtLeastOnce).await;
    subscriber.disconnect().await;
    broker.client("publisher").await.publish_all((0..10).map(|i| ("a", i.to_string())), 4).await;
    assert!(broker.stop().await.success());
    broker.restart().await;
    let mut subscriber = Client::connect(broker.address(), durable).await;
    assert!(subscriber.session_present());
    let texts: Vec<String> =
        subscriber.receive_all(SECOND).await.iter().map(routemq_tests::Received::text).collect();
    assert_eq!(texts, (0..10).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn unacknowledged_messages_come_again_marked_as_duplicates() {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let config = ClientConfig::new("durable").durable().manual_ack();
    let mut subscriber = Client::connect(broker.address(), config.clone()).await;
    subscriber.subscribe("a", QoS::AtLeastOnce).await;
    broker.client("publisher").await.publish("a", "1", QoS::AtLeastOnce).await;
    let first = subscriber.receive(5 * SECOND).await.expect("it comes");
    drop(subscriber);
    let mut subscriber = Client::connect(broker.address(), config).await;
    let again = subscriber.receive(5 * SECOND).await.expect("it comes again");
    assert_eq!((first.duplicate, again.duplicate), (false, true));
    subscriber.acknowledge(&again).await;
    assert!(subscriber.receive(SECOND / 5).await.is_none());
}

#[tokio::test]
async fn a_paused_broker_says_nothing_until_it_is_resumed() {
    let mut broker = Mosquitto::start(MosquittoConfig::default()).await;
    let mut client = broker.client("client").await;
    broker.pause();
    let publish = client.publish("a", "1", QoS::AtLeastOnce);
    let mut publish = std::pin::pin!(publish);
    assert!(tokio::time::timeout(SECOND / 2, &mut publish).await.is_err());
    broker.resume();
    tokio::time::timeout(5 * SECOND, publish).await.expect("it is answered now");
}

#[tokio::test]
async fn users_and_access_lists_are_enforced() {
    let broker = Mosquitto::start(MosquittoConfig {
        users: vec![("ann".to_owned(), "secret".to_owned())],
        acl: Some("user ann\ntopic readwrite open/#\n".to_owned()),
        ..MosquittoConfig::default()
    })
    .await;
    let login = Some(("ann".to_owned(), "secret".to_owned()));
    let config = ClientConfig { login, ..ClientConfig::new("ann") };
    let mut client = Client::connect(broker.address(), config).await;
    client.subscribe("#", QoS::AtLeastOnce).await;
    client.publish("open/1", "in", QoS::AtLeastOnce).await;
    assert_eq!(client.receive(5 * SECOND).await.expect("allowed").text(), "in");
}

#[tokio::test]
async fn the_broker_counts_its_clients() {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let _one = broker.client("one").await;
    routemq_tests::eventually("both are counted", 10 * SECOND, async || {
        let connected = broker.sys("clients/connected").await;
        routemq_tests::ensure(connected == "2", || format!("{connected} connected"))
    })
    .await;
}
