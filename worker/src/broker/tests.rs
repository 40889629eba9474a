//! The broker's rules, through its state; the socket side is tested by the commands that use it.

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{
        Connect, ConnectProperties, Filter, Packet, PubAckReason, Publish, Subscribe,
        SubscribeProperties,
    },
};

use super::state::{End, Joined, Sent, State};

fn connect(clean: bool, expiry: u32, window: u16) -> Connect {
    let properties = ConnectProperties {
        session_expiry_interval: Some(expiry),
        receive_maximum: Some(window),
        ..ConnectProperties::default()
    };
    Connect {
        keep_alive: 0,
        client_id: String::new(),
        clean_start: clean,
        properties: Some(properties),
    }
}

fn join(state: &mut State, client: &str) -> Joined {
    state.connect(client, &connect(false, 60, 100), None)
}

fn subscribe(state: &mut State, client: &str, filter: &str, id: usize) {
    let properties = SubscribeProperties { id: Some(id), user_properties: Vec::new() };
    let wanted = Filter::new(filter, QoS::ExactlyOnce);
    state.subscribe(client, &Subscribe { pkid: 1, ..Subscribe::new(wanted, Some(properties)) });
}

fn message(topic: &str, payload: &str, qos: QoS) -> Publish {
    Publish::new(topic, qos, payload.to_owned(), None)
}

fn publish(state: &mut State, topic: &str, payload: &str) -> PubAckReason {
    state.publish("sender", &message(topic, payload, QoS::AtLeastOnce))
}

/// What the client gets now: payloads and identifiers.
fn got(state: &mut State, client: &str, joined: &Joined) -> Vec<(String, Vec<usize>)> {
    let mut out = BytesMut::new();
    assert_ne!(state.send(client, joined.connection, &mut out), Sent::TakenOver);
    packets(out)
}

fn packets(mut out: BytesMut) -> Vec<(String, Vec<usize>)> {
    let mut got = Vec::new();
    while let Ok(packet) = Packet::read(&mut out, None) {
        if let Packet::Publish(publish) = packet {
            let ids = publish.properties.map(|p| p.subscription_identifiers).unwrap_or_default();
            got.push((String::from_utf8(publish.payload.to_vec()).unwrap(), ids));
        }
    }
    got
}

#[test]
fn each_filter_of_a_share_is_dealt_round_robin_on_its_own() {
    let mut state = State::default();
    let members = ["a", "b", "c"];
    let joined = members.map(|name| join(&mut state, name));
    for name in members {
        subscribe(&mut state, name, "$share/g/x/+", 1);
        subscribe(&mut state, name, "$share/g/y/+", 2);
    }
    for n in 0..30 {
        publish(&mut state, &format!("x/{n}"), "x");
        publish(&mut state, &format!("y/{n}"), "y");
    }
    for (name, joined) in members.iter().zip(&joined) {
        let got = got(&mut state, name, joined);
        let count = |wanted: &str, id| got.iter().filter(|m| m.0 == wanted && m.1 == [id]).count();
        assert_eq!((count("x", 1), count("y", 2)), (10, 10), "{name}");
    }
}

#[test]
fn overlapping_filters_give_a_copy_each_with_its_identifier() {
    let mut state = State::default();
    let joined = join(&mut state, "a");
    subscribe(&mut state, "a", "$share/g/x/+", 1);
    subscribe(&mut state, "a", "$share/g/x/#", 2);
    publish(&mut state, "x/1", "m");
    let mut ids: Vec<_> = got(&mut state, "a", &joined).into_iter().flat_map(|m| m.1).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
}

#[test]
fn unsubscribing_one_filter_keeps_the_others_of_the_share() {
    let mut state = State::default();
    let joined = join(&mut state, "a");
    subscribe(&mut state, "a", "$share/g/x/+", 1);
    subscribe(&mut state, "a", "$share/g/y/+", 2);
    state.unsubscribe("a", &["$share/g/x/+".to_owned()]);
    assert_eq!(publish(&mut state, "x/1", "x"), PubAckReason::NoMatchingSubscribers);
    assert_eq!(publish(&mut state, "y/1", "y"), PubAckReason::Success);
    assert_eq!(got(&mut state, "a", &joined), [("y".to_owned(), vec![2])]);
}

#[test]
fn the_receive_maximum_is_kept_until_an_acknowledgement() {
    let mut state = State::default();
    let joined = state.connect("a", &connect(true, 60, 2), None);
    subscribe(&mut state, "a", "x", 1);
    for n in 0..4 {
        publish(&mut state, "x", &n.to_string());
    }
    assert_eq!(got(&mut state, "a", &joined).len(), 2);
    assert_eq!(got(&mut state, "a", &joined).len(), 0);
    assert!(state.owned("a", joined.connection).unwrap().acknowledged(1));
    assert_eq!(got(&mut state, "a", &joined), [("2".to_owned(), vec![1])]);
}

#[test]
fn a_resumed_session_gets_again_what_it_did_not_acknowledge() {
    let mut state = State::default();
    let first = join(&mut state, "a");
    subscribe(&mut state, "a", "$share/g/x", 1);
    publish(&mut state, "x", "sent");
    assert_eq!(got(&mut state, "a", &first).len(), 1);
    state.disconnect("a", first.connection, End::Lost);
    publish(&mut state, "x", "waiting");
    let second = join(&mut state, "a");
    assert!(second.session_present);
    let mut out = BytesMut::new();
    state.owned("a", second.connection).unwrap().resend(&mut out);
    assert_eq!(packets(out), [("sent".to_owned(), vec![1])]);
    assert_eq!(got(&mut state, "a", &second), [("waiting".to_owned(), vec![1])]);
}

#[test]
fn what_an_ended_session_had_of_a_share_goes_to_the_others() {
    let mut state = State::default();
    let (a, b) = (join(&mut state, "a"), join(&mut state, "b"));
    subscribe(&mut state, "a", "$share/g/x", 1);
    subscribe(&mut state, "b", "$share/g/x", 1);
    for n in 0..4 {
        publish(&mut state, "x", &n.to_string());
    }
    assert_eq!(got(&mut state, "a", &a).len(), 2);
    state.disconnect("a", a.connection, End::Orderly { expiry: Some(0) });
    assert_eq!(got(&mut state, "b", &b).len(), 4);
}

#[test]
fn a_second_connection_of_a_client_takes_the_session_over() {
    let mut state = State::default();
    let first = join(&mut state, "a");
    let second = join(&mut state, "a");
    let mut out = BytesMut::new();
    assert_eq!(state.send("a", first.connection, &mut out), Sent::TakenOver);
    // The loser's end must not end the winner's session.
    state.disconnect("a", first.connection, End::Orderly { expiry: Some(0) });
    assert_eq!(state.send("a", second.connection, &mut out), Sent::All);
}

#[test]
fn a_clean_start_forgets_the_session() {
    let mut state = State::default();
    let first = join(&mut state, "a");
    subscribe(&mut state, "a", "x", 1);
    state.disconnect("a", first.connection, End::Lost);
    let second = state.connect("a", &connect(true, 0, 10), None);
    assert!(!second.session_present);
    assert_eq!(publish(&mut state, "x", "m"), PubAckReason::NoMatchingSubscribers);
}

#[test]
fn a_retained_message_waits_for_new_subscribers_but_not_for_shares() {
    let mut state = State::default();
    let (a, b) = (join(&mut state, "a"), join(&mut state, "b"));
    let kept = Publish { retain: true, ..message("x", "kept", QoS::AtLeastOnce) };
    state.publish("sender", &kept);
    subscribe(&mut state, "a", "x", 1);
    subscribe(&mut state, "b", "$share/g/x", 1);
    assert_eq!(got(&mut state, "a", &a).len(), 1);
    assert_eq!(got(&mut state, "b", &b).len(), 0);
    state.publish("sender", &Publish { payload: Bytes::new(), ..kept });
    let c = join(&mut state, "c");
    subscribe(&mut state, "c", "x", 1);
    assert_eq!(got(&mut state, "c", &c).len(), 0);
}

#[test]
fn an_expired_message_is_not_sent() {
    let mut state = State::default();
    let joined = join(&mut state, "a");
    subscribe(&mut state, "a", "x", 1);
    let properties = rumqttc::v5::mqttbytes::v5::PublishProperties {
        message_expiry_interval: Some(0),
        ..Default::default()
    };
    let short = Publish { properties: Some(properties), ..message("x", "m", QoS::AtLeastOnce) };
    state.publish("sender", &short);
    assert_eq!(got(&mut state, "a", &joined), []);
}
