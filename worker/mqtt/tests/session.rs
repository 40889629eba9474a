//! What a session says and does, seen by a broker that plays by the rules.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise, its helpers as well"
)]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use routemq_mqtt::{
    ConnectionState, Credentials, End, FilterState, Gate, Login, Loss, QoS, SessionStatus,
    SharedLogin,
};
use rumqttc::v5::mqttbytes::v5::{
    self as mqtt, ConnAck, ConnectReturnCode, Packet, PubRel, SubscribeReasonCode,
};
use support::{
    Listener, SOON, config, connected, filter, is_waiting,
    stub::{Peer, Stub, connack, limits, publish},
};

fn login(username: Option<&str>, password: Option<&str>) -> Login {
    Login { username: username.map(str::to_owned), password: password.map(str::to_owned) }
}

fn reason(status: &SessionStatus) -> String {
    match &status.connection {
        ConnectionState::Waiting { reason, .. } => reason.clone(),
        other => panic!("not waiting: {other:?}"),
    }
}

// === CONNECT and CONNACK ===

#[tokio::test]
async fn connect_says_what_is_configured() {
    let stub = Stub::start().await;
    let mut own = config(stub.port, "slot-0");
    own.session_expiry = Duration::from_millis(7_200_500);
    own.receive_maximum = 33;
    own.maximum_packet_size = 4321;
    let _client = Listener::lazy(own);
    let (_peer, connect, login) = stub.greet(connack()).await;
    assert_eq!((connect.client_id.as_str(), connect.clean_start), ("slot-0", false));
    assert_eq!((connect.keep_alive, login), (15, None));
    let properties = connect.properties.unwrap();
    assert_eq!(properties.session_expiry_interval, Some(7201), "rounded up");
    assert_eq!(properties.receive_maximum, Some(33));
    assert_eq!(properties.max_packet_size, Some(4321));
    assert_eq!(properties.topic_alias_max, None, "aliases are not taken");
}

#[tokio::test]
async fn user_name_and_password_go_alone_or_together() {
    for (own, expected) in [
        (login(Some("anna"), Some("secret")), mqtt::Login::new("anna", "secret")),
        (login(Some("anna"), None), mqtt::Login::new("anna", "")),
        (login(None, Some("token")), mqtt::Login::new("", "token")),
    ] {
        let stub = Stub::start().await;
        let mut settings = config(stub.port, "worker");
        settings.credentials = Credentials::Static(own);
        let _client = Listener::lazy(settings);
        assert_eq!(stub.greet(connack()).await.2, Some(expected));
    }
}

#[tokio::test]
async fn a_renewed_login_is_read_at_the_next_attempt() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("username"), "anna\n").unwrap();
    std::fs::write(folder.path().join("password"), "old\n").unwrap();
    let stub = Stub::start().await;
    let mut settings = config(stub.port, "worker");
    settings.credentials = Credentials::Folder(folder.path().to_owned());
    let _client = Listener::lazy(settings);
    let (peer, _, first) = stub.greet(connack()).await;
    assert_eq!(first, Some(mqtt::Login::new("anna", "old")));
    std::fs::write(folder.path().join("password"), "new").unwrap();
    drop(peer);
    assert_eq!(stub.greet(connack()).await.2, Some(mqtt::Login::new("anna", "new")));
}

#[tokio::test]
async fn a_shared_login_that_is_replaced_goes_with_the_next_attempt() {
    let shared = SharedLogin::new(login(Some("anna"), Some("old")));
    let stub = Stub::start().await;
    let mut settings = config(stub.port, "worker");
    settings.credentials = Credentials::Shared(shared.clone());
    let _client = Listener::lazy(settings);
    let (peer, _, first) = stub.greet(connack()).await;
    assert_eq!(first, Some(mqtt::Login::new("anna", "old")));
    shared.set(login(Some("anna"), Some("new")));
    drop(peer);
    assert_eq!(stub.greet(connack()).await.2, Some(mqtt::Login::new("anna", "new")));
}

#[tokio::test]
async fn a_missing_login_is_said_and_awaited() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start().await;
    let mut settings = config(stub.port, "worker");
    settings.credentials = Credentials::Folder(folder.path().to_owned());
    let client = Listener::lazy(settings);
    let status = client.status("waiting", is_waiting).await;
    assert!(reason(&status).contains("neither username nor password"), "{status:?}");
    std::fs::write(folder.path().join("password"), "late").unwrap();
    assert_eq!(stub.greet(connack()).await.2, Some(mqtt::Login::new("", "late")));
}

#[tokio::test]
async fn a_refusal_is_said_in_words_with_the_way_to_mend_it() {
    use ConnectReturnCode as Code;
    for (code, words) in [
        (Code::BadUserNamePassword, ["bad user name or password (0x86)", "credentialsSecretRef"]),
        (Code::NotAuthorized, ["not authorized (0x87)", "access rules"]),
        (Code::UnsupportedProtocolVersion, ["unsupported protocol version (0x84)", "MQTT 5"]),
        (Code::ClientIdentifierNotValid, ["client identifier not valid (0x85)", "client id"]),
        (Code::Banned, ["banned (0x8a)", "administrator"]),
        (Code::QuotaExceeded, ["quota exceeded (0x97)", "limit"]),
        (Code::ServerMoved, ["server moved (0x9d)", "broker url"]),
    ] {
        let stub = Stub::start().await;
        let client = Listener::lazy(config(stub.port, "worker"));
        let _peer = stub.greet(ConnAck { code, ..connack() }).await;
        let said = reason(&client.status("a refusal", is_waiting).await);
        assert!(words.iter().all(|word| said.contains(word)), "{code:?}: {said}");
        stub.welcome().await;
        client.until("the next attempt", |seen| seen.connections == [(1, false)]).await;
    }
}

#[tokio::test]
async fn a_broker_of_an_older_version_is_recognised() {
    let stub = Stub::start().await;
    let client = Listener::lazy(config(stub.port, "worker"));
    let mut peer = stub.accept().await;
    peer.packet().await;
    peer.raw(&[0x20, 2, 0, 1]).await;
    let said = reason(&client.status("a refusal", is_waiting).await);
    assert!(said.contains("MQTT 5 is needed"), "{said}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_and_one_where_nobody_answers_are_said() {
    let client = Listener::lazy(config(support::mosquitto::free_port(), "worker"));
    let said = reason(&client.status("refused", is_waiting).await);
    assert!(said.contains("cannot reach 127.0.0.1:"), "{said}");

    let stub = Stub::start().await;
    let mut settings = config(stub.port, "worker");
    settings.connect_timeout = Duration::from_millis(100);
    let client = Listener::lazy(settings);
    let _peer = stub.accept().await;
    let said = reason(&client.status("timeout", is_waiting).await);
    assert!(said.contains("did not accept a connection within 100ms"), "{said}");
}

#[tokio::test]
async fn a_takeover_is_told_apart() {
    let stub = Stub::start().await;
    let client = Listener::lazy(config(stub.port, "worker"));
    let mut peer = stub.welcome().await;
    peer.raw(&[0xE0, 2, 0x8E, 0]).await;
    let status = client.status("waiting", is_waiting).await;
    assert!(matches!(&status.connection, ConnectionState::Waiting { reason, taken_over: true, .. }
            if reason.contains("client id")));
    let mut peer = stub.welcome().await;
    peer.raw(&[0xE0, 0]).await;
    let plain = |now: &SessionStatus| {
        matches!(now.connection, ConnectionState::Waiting { taken_over: false, .. })
    };
    client.status("an ordinary end", plain).await;
}

#[tokio::test]
async fn a_closed_gate_keeps_a_session_from_throwing_out_another() {
    let stub = Stub::start().await;
    let open = Arc::new(AtomicBool::new(true));
    let losses = Arc::new(Mutex::new(Vec::new()));
    let (gate, heard) = (Arc::clone(&open), Arc::clone(&losses));
    let mut settings = config(stub.port, "worker");
    settings.before_reconnect = Some(Gate::new(move |loss| {
        heard.lock().unwrap().push(loss);
        let open = gate.load(Ordering::Relaxed);
        async move { open }
    }));
    let client = Listener::lazy(settings);
    let mut peer = stub.welcome().await;
    // A takeover: with a gate it is the gate that knows.
    peer.raw(&[0xE0, 2, 0x8E, 0]).await;
    let mut peer = stub.welcome().await;
    open.store(false, Ordering::Relaxed);
    peer.raw(&[0xE0, 0]).await;
    let closed = |now: &SessionStatus| {
        matches!(now.connection, ConnectionState::Waiting { taken_over: true, .. })
    };
    client.status("the gate is closed", closed).await;
    let told = losses.lock().unwrap().clone();
    assert!(matches!(told[..], [Loss::TakenOver, Loss::Closed { .. }]), "{told:?}");
    open.store(true, Ordering::Relaxed);
    let again = tokio::time::timeout(Duration::from_millis(300), stub.accept()).await;
    assert!(again.is_err(), "it connected once more");
    client.handle.stop(End::Keep, Duration::from_secs(1)).await;
    client.status("stopped", |now| now.connection == ConnectionState::Stopped).await;
}

// === Subscriptions ===

#[tokio::test]
async fn each_filter_goes_in_a_packet_of_its_own_with_its_identifier() {
    let stub = Stub::start().await;
    let client = Listener::lazy(config(stub.port, "worker"));
    let wanted =
        vec![filter("$share/g/a", QoS::AtLeastOnce, 11), filter("b/+", QoS::ExactlyOnce, 12)];
    client.handle.subscribe_to(wanted).await;
    let mut peer = stub.welcome().await;
    let filters = peer.settle(2).await;
    assert_eq!(filters, [("$share/g/a".to_owned(), Some(11)), ("b/+".to_owned(), Some(12))]);
    let status = client.status("settled", |now| all_settled(now, 2)).await;
    let granted = FilterState::Granted { qos: QoS::ExactlyOnce, settled: true };
    assert_eq!(status.filters["b/+"], granted);
}

fn all_settled(status: &SessionStatus, count: usize) -> bool {
    let settled = |state: &FilterState| matches!(state, FilterState::Granted { settled: true, .. });
    status.filters.len() == count && status.filters.values().all(settled)
}

#[tokio::test]
async fn refusals_and_lower_grants_are_shown_for_their_filter() {
    let stub = Stub::start().await;
    let client = Listener::lazy(config(stub.port, "worker"));
    let wanted = vec![filter("a", QoS::AtLeastOnce, 1), filter("b", QoS::ExactlyOnce, 2)];
    client.handle.subscribe_to(wanted).await;
    let mut peer = stub.welcome().await;
    let barrier = subscribe(&mut peer).await;
    peer.suback(barrier.0, SubscribeReasonCode::Success(barrier.2)).await;
    let a = subscribe(&mut peer).await;
    peer.suback(a.0, SubscribeReasonCode::NotAuthorized).await;
    let b = subscribe(&mut peer).await;
    peer.suback(b.0, SubscribeReasonCode::Success(rumqttc::v5::mqttbytes::QoS::AtLeastOnce)).await;
    let status = client
        .status("answers", |now| now.filters.values().all(|state| *state != FilterState::Pending))
        .await;
    let refused = FilterState::Refused { code: 0x87, reason: "not authorized" };
    assert_eq!(status.filters["a"], refused);
    assert!(matches!(status.filters["b"], FilterState::Granted { qos: QoS::AtLeastOnce, .. }));
}

async fn subscribe(peer: &mut Peer) -> (u16, String, rumqttc::v5::mqttbytes::QoS) {
    match peer.packet().await {
        Packet::Subscribe(packet) => {
            let filter = &packet.filters[0];
            (packet.pkid, filter.path.clone(), filter.qos)
        }
        other => panic!("not a SUBSCRIBE: {other:?}"),
    }
}

#[tokio::test]
async fn what_the_broker_does_not_offer_is_refused_here_once_and_not_asked_for() {
    let stub = Stub::start().await;
    let client = Listener::lazy(config(stub.port, "worker"));
    let wanted = ["$share/g/a", "b/+", "c"].map(|name| filter(name, QoS::AtLeastOnce, 5)).to_vec();
    client.handle.subscribe_to(wanted).await;
    let properties = mqtt::ConnAckProperties {
        shared_subscription_available: Some(0),
        wildcard_subscription_available: Some(0),
        subscription_identifiers_available: Some(0),
        ..limits()
    };
    let (mut peer, _, _) = stub.greet(ConnAck { properties: Some(properties), ..connack() }).await;
    assert_eq!(peer.settle(1).await, [("c".to_owned(), None)]);
    let status = client
        .status("settled", |now| {
            now.filters.get("c")
                == Some(&FilterState::Granted { qos: QoS::AtLeastOnce, settled: true })
        })
        .await;
    assert!(matches!(status.filters["$share/g/a"], FilterState::Refused { code: 0x9E, .. }));
    assert!(matches!(status.filters["b/+"], FilterState::Refused { code: 0xA2, .. }));
    assert!(matches!(status.connection, ConnectionState::Connected { identifiers: false, .. }));
    peer.silence(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_gone_filter_stays_leaving_until_the_barrier_after_its_unsuback() {
    let stub = Stub::start().await;
    let client = Listener::eager(config(stub.port, "worker"));
    client.handle.subscribe_to(vec![filter("old", QoS::AtLeastOnce, 1)]).await;
    let mut peer = stub.welcome().await;
    peer.settle(1).await;
    client.status("settled", |now| all_settled(now, 1)).await;
    client.handle.subscribe_to(vec![filter("new", QoS::AtLeastOnce, 2)]).await;
    let (id, name, qos) = subscribe(&mut peer).await;
    assert_eq!(name, "new", "the new one first");
    peer.suback(id, SubscribeReasonCode::Success(qos)).await;
    let Packet::Unsubscribe(unsubscribe) = peer.packet().await else { panic!("no UNSUBSCRIBE") };
    assert_eq!(unsubscribe.filters, ["old"]);
    peer.send(publish("old", 1, 9, "queued")).await;
    peer.unsuback(unsubscribe.pkid).await;
    client.count(1).await;
    // The acknowledgement and the barrier, whichever comes first.
    let (mut acknowledged, mut barrier) = (false, None);
    while !acknowledged || barrier.is_none() {
        match peer.packet().await {
            Packet::PubAck(ack) => acknowledged = ack.pkid == 9,
            Packet::Publish(publish) => barrier = Some(publish),
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(client.handle.status().borrow().filters["old"], FilterState::Leaving);
    peer.echo(barrier.unwrap()).await;
    client.status("gone", |now| all_settled(now, 1) && now.filters.contains_key("new")).await;
    assert_eq!(client.payloads(), ["queued"], "the barrier was handed over");
}

// === Acknowledgements ===

#[tokio::test]
async fn an_acknowledgement_for_an_earlier_connection_is_discarded_and_counted() {
    let stub = Stub::start().await;
    let (client, mut peer) = connected(&stub).await;
    peer.send(publish("a", 1, 1, "of the first connection")).await;
    client.count(1).await;
    drop(peer);
    let mut peer = stub.greet(ConnAck { session_present: true, ..connack() }).await.0;
    peer.send(publish("a", 1, 1, "another under the same identifier")).await;
    client.count(2).await;
    let tokens = client.tokens();
    assert_eq!((tokens[0].epoch, tokens[1].epoch), (1, 2));
    client.acks.done(tokens[0]);
    client.status("counted", |now| now.late_acks == 1).await;
    peer.silence(Duration::from_millis(50)).await;
    client.acks.done(tokens[1]);
    assert_eq!(peer.acks(1).await, [("PUBACK", 1)]);
    assert_eq!(client.seen().connections, [(1, false), (2, true)]);
    assert_eq!(client.seen().lost, [1]);
}

#[tokio::test]
async fn qos_2_is_handed_over_once_across_connections() {
    let stub = Stub::start().await;
    let (client, mut peer) = connected(&stub).await;
    peer.send(publish("a", 2, 7, "once")).await;
    client.count(1).await;
    client.acks.done(client.tokens()[0]);
    assert_eq!(peer.acks(1).await, [("PUBREC", 7)]);
    // The broker never saw it, and sends the message again.
    drop(peer);
    let mut peer = stub.greet(ConnAck { session_present: true, ..connack() }).await.0;
    peer.send(publish("a", 2, 7, "once")).await;
    assert_eq!(peer.acks(1).await, [("PUBREC", 7)]);
    peer.send(Packet::PubRel(PubRel::new(7, None))).await;
    assert_eq!(peer.acks(1).await, [("PUBCOMP", 7)]);
    peer.send(Packet::PubRel(PubRel::new(7, None))).await;
    let Packet::PubComp(unknown) = peer.packet().await else { panic!("no PUBCOMP") };
    assert_eq!(unknown.reason, mqtt::PubCompReason::PacketIdentifierNotFound);
    peer.send(publish("a", 2, 7, "a new one")).await;
    client.count(2).await;
    assert_eq!(client.payloads(), ["once", "a new one"]);
}

// === Keep-alive ===

#[tokio::test]
async fn a_quiet_connection_is_kept_alive_and_a_dead_one_is_noticed() {
    let stub = Stub::start().await;
    let mut settings = config(stub.port, "worker");
    settings.keep_alive = Duration::from_millis(400);
    let client = Listener::lazy(settings);
    let mut peer = stub.welcome().await;
    for _ in 0..3 {
        assert!(matches!(peer.packet().await, Packet::PingReq(_)));
        peer.send(Packet::PingResp(mqtt::PingResp)).await;
    }
    let since = Instant::now();
    let said = reason(&client.status("dead", is_waiting).await);
    assert!(said.contains("did not answer"), "{said}");
    assert!(since.elapsed() < Duration::from_millis(1200), "{:?}", since.elapsed());
    assert!(matches!(peer.next().await, Some(Packet::PingReq(_))));
    stub.welcome().await;
}

#[tokio::test]
async fn the_brokers_keep_alive_replaces_ours() {
    let stub = Stub::start().await;
    let _client = Listener::lazy(config(stub.port, "worker"));
    let properties = mqtt::ConnAckProperties { server_keep_alive: Some(1), ..limits() };
    let (mut peer, _, _) = stub.greet(ConnAck { properties: Some(properties), ..connack() }).await;
    let since = Instant::now();
    assert!(matches!(peer.packet().await, Packet::PingReq(_)));
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

// === The end ===

#[tokio::test]
async fn stop_flushes_what_is_done_and_says_what_becomes_of_the_session() {
    for (end, farewell) in
        [(End::Keep, &[0xE0, 1, 0][..]), (End::Discard, &[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0])]
    {
        let stub = Stub::start().await;
        let (client, mut peer) = connected(&stub).await;
        for id in 1..=3 {
            peer.send(publish("a", 1, id, "x")).await;
        }
        client.count(3).await;
        client.handle.stop_taking().await;
        peer.send(publish("a", 1, 4, "too late")).await;
        peer.send(publish("a", 0, 0, "too late")).await;
        let tokens = client.tokens();
        client.acks.done_all(&[tokens[1], tokens[0]]);
        let stop = client.handle.stop(end, SOON);
        let (rest, _) = tokio::join!(peer.rest(), stop);
        let acks = [0x40, 2, 0, 1, 0x40, 2, 0, 2];
        assert_eq!(rest, [&acks, farewell].concat(), "{end:?}");
        assert_eq!(client.payloads(), ["x", "x", "x"]);
        client.status("stopped", |now| now.connection == ConnectionState::Stopped).await;
    }
}

#[tokio::test]
async fn stop_ends_also_without_a_connection_and_within_its_patience() {
    let client = Listener::lazy(config(support::mosquitto::free_port(), "worker"));
    client.status("waiting", is_waiting).await;
    assert!(!client.handle.stop(End::Discard, SOON).await, "nobody could be told");
    assert_eq!(client.handle.status().borrow().connection, ConnectionState::Stopped);
    // After the end nothing hangs.
    client.handle.subscribe_to(vec![filter("a", QoS::AtLeastOnce, 1)]).await;
    assert!(!client.handle.barrier().await, "nothing is proven");
}
