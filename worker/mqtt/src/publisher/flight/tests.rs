use super::*;
use crate::subscriptions::Offers;

fn accepted() -> Accepted {
    Accepted {
        session_present: false,
        offers: Offers { shared: true, wildcards: true, identifiers: true },
        receive_maximum: 10,
        maximum_packet_size: 200,
        maximum_qos: 2,
        retain: true,
    }
}

fn flight() -> Flight {
    let mut flight = Flight::default();
    flight.connected(&accepted(), 100);
    flight
}

fn message(topic: &str, qos: QoS) -> Outgoing {
    Outgoing { topic: topic.into(), qos, ..Outgoing::default() }
}

type Reply = oneshot::Receiver<Answer>;

fn push(flight: &mut Flight, message: Outgoing) -> Reply {
    let (reply, answer) = oneshot::channel();
    flight.push(Job::new(message, reply));
    answer
}

fn push_all(flight: &mut Flight, count: usize) -> Vec<Reply> {
    (0..count).map(|i| push(flight, message(&format!("t{i}"), QoS::AtLeastOnce))).collect()
}

/// The topics that go out.
fn send(flight: &mut Flight) -> Vec<String> {
    let mut out = BytesMut::new();
    flight.send(0, &mut out);
    let mut topics = Vec::new();
    while !out.is_empty() {
        let packet = rumqttc::v5::mqttbytes::v5::Packet::read(&mut out, None).unwrap();
        if let rumqttc::v5::mqttbytes::v5::Packet::Publish(publish) = packet {
            topics.push(String::from_utf8(publish.topic.to_vec()).unwrap());
        }
    }
    topics
}

fn disconnect(code: u8) -> Lost {
    Lost::by_disconnect(code, None)
}

#[test]
fn the_window_is_the_smaller_of_the_brokers_and_ours() {
    for (own, expected) in [(100, 10), (3, 3)] {
        let mut flight = Flight::default();
        flight.connected(&accepted(), own);
        let _replies = push_all(&mut flight, 20);
        assert_eq!(send(&mut flight).len(), expected);
        flight.puback(1, 0).unwrap();
        assert_eq!(send(&mut flight), [format!("t{expected}")]);
    }
}

#[test]
fn unconfirmed_messages_go_again_in_order_after_a_break() {
    let mut flight = flight();
    let mut replies = push_all(&mut flight, 5);
    send(&mut flight);
    flight.puback(2, 0).unwrap();
    flight.disconnected(&Lost::Closed);
    flight.connected(&accepted(), 100);
    replies.extend(push_all(&mut flight, 1));
    assert_eq!(send(&mut flight), ["t0", "t2", "t3", "t4", "t0"]);
    assert_eq!(replies[1].try_recv().unwrap(), Ok(Published { no_subscribers: false }));
}

#[test]
fn a_message_whose_caller_has_gone_is_sent_no_more_but_holds_its_place_until_confirmed() {
    let mut flight = flight();
    drop(push_all(&mut flight, 1));
    assert_eq!(send(&mut flight), [""; 0]);
    let replies = push_all(&mut flight, 1);
    assert_eq!(send(&mut flight), ["t0"]);
    drop(replies);
    assert!(!flight.is_empty());
    flight.puback(1, 0).unwrap();
    assert!(flight.is_empty());
}

#[test]
fn qos_0_is_confirmed_by_the_write() {
    let mut flight = flight();
    let mut reply = push(&mut flight, message("a", QoS::AtMostOnce));
    let mut out = BytesMut::new();
    flight.send(1000, &mut out);
    let end = 1000 + out.len() as u64;
    flight.written(end - 1);
    assert!(reply.try_recv().is_err());
    flight.written(end);
    assert_eq!(reply.try_recv().unwrap(), Ok(Published { no_subscribers: false }));
}

#[test]
fn qos_2_takes_both_round_trips() {
    let mut flight = flight();
    let mut reply = push(&mut flight, message("a", QoS::ExactlyOnce));
    send(&mut flight);
    let mut out = BytesMut::new();
    flight.pubrec(1, 0x10, &mut out).unwrap();
    assert_eq!(out[..], [0x62, 2, 0, 1]);
    assert!(reply.try_recv().is_err());
    flight.pubcomp(1).unwrap();
    assert_eq!(reply.try_recv().unwrap(), Ok(Published { no_subscribers: true }));
}

#[test]
fn refusals_reach_their_caller_in_words() {
    let refused = |code, topic: &str, reason| {
        Err(PublishError::Refused { topic: topic.into(), code, reason })
    };
    let mut flight = flight();
    let mut by_puback = push(&mut flight, message("a", QoS::AtLeastOnce));
    let mut by_pubrec = push(&mut flight, message("b", QoS::ExactlyOnce));
    send(&mut flight);
    flight.puback(1, 0x87).unwrap();
    flight.pubrec(2, 0x97, &mut BytesMut::new()).unwrap();
    assert_eq!(by_puback.try_recv().unwrap(), refused(0x87, "a", "not authorized"));
    assert_eq!(by_pubrec.try_recv().unwrap(), refused(0x97, "b", "quota exceeded"));
    assert!(flight.is_empty());
}

#[test]
fn what_cannot_be_sent_is_refused_without_asking_and_its_neighbours_pass() {
    let mut flight = Flight::default();
    flight.connected(&Accepted { maximum_qos: 1, retain: false, ..accepted() }, 10);
    let retained = Outgoing { retain: true, ..message("a", QoS::AtLeastOnce) };
    let large = Outgoing { payload: vec![0; 300].into(), ..message("a", QoS::AtLeastOnce) };
    for (bad, expected) in [
        (message("a/+", QoS::AtLeastOnce), "topic name invalid"),
        (message("", QoS::AtLeastOnce), "topic name invalid"),
        (message("a", QoS::ExactlyOnce), "QoS not supported"),
        (retained, "retain not supported"),
        (large, "larger than the broker's maximum packet size of 200"),
        (message(&"x".repeat(70_000), QoS::AtLeastOnce), "larger"),
    ] {
        let mut reply = push(&mut flight, bad);
        let good = push(&mut flight, message("good", QoS::AtLeastOnce));
        assert_eq!(send(&mut flight), ["good"], "{expected}");
        let error = reply.try_recv().unwrap().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        flight.puback(flight.last_id, 0).unwrap();
        drop(good);
    }
}

#[test]
fn answers_to_nothing_are_faults() {
    let mut flight = flight();
    let _reply = push(&mut flight, message("a", QoS::AtLeastOnce));
    send(&mut flight);
    assert!(flight.puback(9, 0).is_err());
    assert!(flight.pubcomp(1).is_err(), "PUBCOMP for QoS 1");
    assert!(flight.puback(1, 0).is_ok());
    assert!(flight.puback(1, 0).is_err(), "twice");
}

#[test]
fn the_one_message_that_makes_the_broker_disconnect_is_found_and_refused() {
    let mut flight = flight();
    let mut replies = push_all(&mut flight, 3);
    // The broker hates t1, and disconnects whenever it comes.
    for _ in 0..20 {
        flight.connected(&accepted(), 100);
        loop {
            let topics = send(&mut flight);
            if topics.is_empty() {
                break;
            }
            if topics.iter().any(|topic| topic == "t1") {
                flight.disconnected(&disconnect(reason::PACKET_TOO_LARGE));
                break;
            }
            for id in flight.sent.keys().copied().collect::<Vec<_>>() {
                flight.puback(id, 0).unwrap();
            }
        }
    }
    let answers: Vec<Answer> = replies.iter_mut().map(|reply| reply.try_recv().unwrap()).collect();
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert!(matches!(answers[1], Err(PublishError::Refused { code: 0x95, .. })));
}

#[test]
fn a_broker_that_goes_away_refuses_nothing() {
    let mut flight = flight();
    let mut replies = push_all(&mut flight, 1);
    for _ in 0..10 {
        send(&mut flight);
        flight.disconnected(&disconnect(0x8B));
        flight.disconnected(&Lost::Closed);
        flight.connected(&accepted(), 100);
    }
    assert!(replies[0].try_recv().is_err(), "answered");
    assert_eq!(send(&mut flight), ["t0"]);
}
