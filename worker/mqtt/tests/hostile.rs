//! A broker that breaks the rules: a clear error, the right DISCONNECT, another attempt, no panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise, its helpers as well"
)]

mod support;

use std::time::Duration;

use proptest::{prelude::*, test_runner::TestRunner};
use routemq_mqtt::{ConnectionState, Publisher, SessionStatus, Trouble};
use support::{Listener, config, stub::Stub};

fn waiting_for(words: &str) -> impl Fn(&SessionStatus) -> bool + '_ {
    move |status| matches!(&status.connection, ConnectionState::Waiting { reason, .. } if reason.contains(words))
}

/// PUBLISH of QoS 1 to `a`, packet 1, with these properties.
fn with_properties(properties: &[u8]) -> Vec<u8> {
    let len = u8::try_from(properties.len()).unwrap();
    let mut packet = vec![0x32, 6 + len, 0, 1, b'a', 0, 1, len];
    packet.extend(properties);
    packet
}

fn with_topic(topic: &[u8]) -> Vec<u8> {
    let len = u8::try_from(topic.len()).unwrap();
    let mut packet = vec![0x30, 3 + len, 0, len];
    packet.extend(topic);
    packet.push(0);
    packet
}

#[tokio::test]
async fn a_malformed_packet_ends_the_connection_with_its_reason_and_the_next_one_works() {
    let oversize = [0x30, 0xFF, 0xFF, 0x7F];
    let cases: Vec<(&str, Vec<u8>, u8)> = vec![
        ("a remaining length of five bytes", vec![0x30, 0x80, 0x80, 0x80, 0x80, 1], 0x81),
        ("a remaining length with padding", vec![0xD0, 0x80, 0x00], 0x81),
        ("a topic that is not UTF-8", with_topic(b"\xC3\x28"), 0x81),
        ("a topic with NUL", with_topic(b"a\0b"), 0x81),
        ("a topic with +", with_topic(b"a/+"), 0x90),
        ("a topic with #", with_topic(b"#"), 0x90),
        ("no topic and no alias", with_topic(b""), 0x82),
        ("topic alias 0", with_properties(&[0x23, 0, 0]), 0x94),
        ("an unknown topic alias", with_properties(&[0x23, 0, 9]), 0x94),
        ("a property twice", with_properties(&[0x01, 0, 0x01, 0]), 0x82),
        ("a content type twice", with_properties(&[3, 0, 1, b'x', 3, 0, 1, b'y']), 0x82),
        ("a property of CONNECT", with_properties(&[0x21, 0, 5]), 0x82),
        ("an unknown property", with_properties(&[0x7F, 0]), 0x81),
        ("a property cut short", with_properties(&[0x02, 0, 0]), 0x81),
        ("a user property that is not UTF-8", with_properties(&[38, 0, 1, 0xFF, 0, 0]), 0x81),
        ("subscription identifier 0", with_properties(&[0x0B, 0]), 0x82),
        ("properties longer than the packet", vec![0x30, 4, 0, 1, b'a', 9], 0x81),
        ("a topic longer than the packet", vec![0x30, 3, 0, 9, b'a'], 0x81),
        ("no properties at all", vec![0x30, 3, 0, 1, b'a'], 0x81),
        ("packet identifier 0", vec![0x32, 6, 0, 1, b'a', 0, 0, 0], 0x82),
        ("QoS 3", vec![0x36, 6, 0, 1, b'a', 0, 1, 0], 0x81),
        ("QoS 0 as a duplicate", vec![0x38, 4, 0, 1, b'a', 0], 0x81),
        ("a packet larger than announced", oversize.to_vec(), 0x95),
        ("packet type 0", vec![0x00, 0], 0x81),
        ("AUTH", vec![0xF0, 0], 0x82),
        ("CONNECT from a broker", vec![0x10, 0], 0x82),
        ("SUBSCRIBE from a broker", vec![0x82, 0], 0x82),
        ("PINGREQ from a broker", vec![0xC0, 0], 0x82),
        ("reserved flags of PUBACK", vec![0x41, 2, 0, 1], 0x81),
        ("reserved flags of PUBREL", vec![0x60, 2, 0, 1], 0x81),
        ("PINGRESP with a body", vec![0xD0, 1, 0], 0x81),
        ("an empty PUBACK", vec![0x40, 0], 0x81),
        ("a PUBREL of one byte", vec![0x62, 1, 0], 0x81),
        ("PUBREL with identifier 0", vec![0x62, 2, 0, 0], 0x82),
        ("a SUBACK that answers nothing", vec![0x90, 4, 0, 77, 0, 0], 0x82),
        ("a SUBACK without a code", vec![0x90, 3, 0, 1, 0], 0x81),
        ("a SUBACK with an unknown code", vec![0x90, 4, 0, 1, 0, 0x55], 0x81),
        ("an UNSUBACK that answers nothing", vec![0xB0, 4, 0, 77, 0, 0], 0x82),
        ("a PUBREC that answers nothing", vec![0x50, 2, 0, 7], 0x82),
        ("a second CONNACK", vec![0x20, 3, 0, 0, 0], 0x82),
        ("DISCONNECT with reserved flags", vec![0xE1, 0], 0x81),
    ];
    let stub = Stub::start().await;
    let client = Listener::eager(config(stub.port, "worker"));
    for (name, bytes, code) in cases {
        let mut peer = stub.welcome().await;
        // A good message before it is still handed over.
        let before = client.seen().deliveries.len();
        peer.raw(&[&[0x30, 5, 0, 1, b'g', 0, b'!'], bytes.as_slice()].concat()).await;
        let rest = peer.rest().await;
        assert_eq!(rest, [0xE0, 1, code], "{name}");
        assert_eq!(client.seen().deliveries.len(), before + 1, "{name}");
        client.status(name, waiting_for("the broker broke the protocol")).await;
    }
}

/// It has a message for the session that is too large, and sends it anyway: each connection ends so, for ever.
#[tokio::test]
async fn a_broker_that_sends_what_is_too_large_again_and_again_is_tried_ever_more_seldom_and_told()
{
    let stub = Stub::start().await;
    let mut settings = config(stub.port, "worker");
    settings.max_backoff = Duration::from_secs(30);
    let client = Listener::eager(settings);
    let mut attempts = 0;
    let stubborn = async {
        loop {
            let mut peer = stub.welcome().await;
            peer.raw(&[0x30, 0xFF, 0xFF, 0x7F]).await;
            assert_eq!(peer.rest().await, [0xE0, 1, 0x95], "attempt {attempts}");
            attempts += 1;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(6), stubborn).await;
    // Pauses of at most 0.25, 0.5, 1, 2, 4 s, each anything between nothing and that.
    assert!((2..=20).contains(&attempts), "{attempts} attempts in six seconds");
    let told = |now: &SessionStatus| {
        let trouble = Trouble::BrokenProtocol;
        matches!(&now.connection, ConnectionState::Waiting { trouble: it, .. } if *it == trouble)
    };
    client.status("the trouble is told", told).await;
}

#[tokio::test]
async fn a_malformed_greeting_is_refused_and_tried_again() {
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a PUBLISH first", vec![0x30, 4, 0, 1, b'a', 0]),
        ("reserved flags", vec![0x20, 3, 2, 0, 0]),
        ("a refusal with a session", vec![0x20, 3, 1, 0x87, 0]),
        ("receive maximum 0", vec![0x20, 6, 0, 0, 3, 0x21, 0, 0]),
        ("maximum packet size 0", vec![0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 0]),
        ("maximum QoS 2", vec![0x20, 5, 0, 0, 2, 0x24, 2]),
        ("a property twice", vec![0x20, 7, 0, 0, 4, 0x24, 1, 0x24, 1]),
        ("one byte", vec![0x20, 1, 0]),
        ("a property of PUBLISH", vec![0x20, 6, 0, 0, 3, 0x23, 0, 1]),
    ];
    let stub = Stub::start().await;
    let client = Listener::eager(config(stub.port, "worker"));
    for (name, bytes) in cases {
        let mut peer = stub.accept().await;
        peer.packet().await;
        peer.raw(&bytes).await;
        let rest = peer.rest().await;
        assert!(matches!(rest[..], [0xE0, 1, 0x81 | 0x82]), "{name}: {rest:?}");
        client.status(name, waiting_for("no MQTT handshake: the broker broke the protocol")).await;
    }
    assert_eq!(client.handle.status().borrow().epoch, 0);
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_a_packet_is_tried_again() {
    let stub = Stub::start().await;
    let client = Listener::eager(config(stub.port, "worker"));
    for bytes in [&b""[..], &[0x32], &[0x32, 200, 1], &[0x32, 20, 0, 1, b'a']] {
        let mut peer = stub.welcome().await;
        peer.raw(bytes).await;
        drop(peer);
        client.status("closed", waiting_for("the broker closed the connection")).await;
    }
    assert_eq!(client.payloads(), [""; 0]);
}

#[test]
fn random_garbage_never_stops_a_client() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (stub, client, publisher) = runtime.block_on(async {
        let stub = Stub::start().await;
        let client = Listener::eager(config(stub.port, "worker"));
        (stub, client, Publisher::spawn(config(1, "nobody")))
    });
    let frame =
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(first, body)| {
            let len = u8::try_from(body.len()).unwrap();
            [vec![first, len], body].concat()
        });
    let bytes = prop_oneof![prop::collection::vec(any::<u8>(), 0..200), frame];
    let mut runner = TestRunner::new(ProptestConfig { cases: 200, ..ProptestConfig::default() });
    runner
        .run(&bytes, |bytes| {
            runtime.block_on(async {
                let mut peer = stub.welcome().await;
                peer.raw(&bytes).await;
            });
            Ok(())
        })
        .unwrap();
    runtime.block_on(async {
        let mut peer = stub.welcome().await;
        peer.raw(&[0x30, 8, 0, 1, b'z', 0, b'l', b'a', b's', b't']).await;
        client
            .until("alive", |seen| {
                seen.deliveries.last().is_some_and(|last| &last.publish.payload[..] == b"last")
            })
            .await;
        publisher.stop(Duration::ZERO).await;
    });
}
