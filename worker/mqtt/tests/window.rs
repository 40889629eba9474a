//! What a session takes in and owes: the receive window, acknowledgements in order, floods.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise, its helpers as well"
)]

mod support;

use std::time::{Duration, Instant};

use support::{
    Listener, config, connected, is_waiting,
    stub::{Stub, publish},
};
use tokio::time::timeout;

/// A broker that has not sent all by then waits for the session to read on.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Finishes all messages as they come, until `count` are.
async fn finish(client: &Listener, count: usize) {
    let mut done = 0;
    while done < count {
        client.count(done + 1).await;
        let tokens = client.tokens().split_off(done);
        done += tokens.len();
        client.acks.done_all(&tokens);
    }
}

#[tokio::test]
async fn acknowledgements_go_out_in_the_order_of_receipt() {
    let stub = Stub::start().await;
    let (client, mut peer) = connected(&stub).await;
    for (qos, id) in [(1, 10), (2, 20), (1, 30)] {
        peer.send(publish("a", qos, id, "x")).await;
    }
    client.count(3).await;
    let tokens = client.tokens();
    client.acks.done(tokens[2]);
    client.acks.done(tokens[1]);
    peer.silence(Duration::from_millis(50)).await;
    client.acks.done(tokens[0]);
    assert_eq!(peer.acks(3).await, [("PUBACK", 10), ("PUBREC", 20), ("PUBACK", 30)]);
}

#[tokio::test]
async fn no_more_than_the_receive_maximum_is_handed_over_whatever_the_broker_sends() {
    let stub = Stub::start().await;
    let (client, mut peer) = connected(&stub).await;
    for id in 1..=9 {
        peer.send(publish("a", 1, id, &id.to_string())).await;
    }
    peer.send(publish("a", 0, 0, "last")).await;
    client.count(5).await;
    assert_eq!(client.payloads(), ["1", "2", "3", "4", "last"]);
    client.acks.done(client.tokens()[0]);
    client.count(6).await;
    assert_eq!(peer.acks(1).await, [("PUBACK", 1)]);
    assert_eq!(client.payloads().last().map(String::as_str), Some("5"));
}

/// mosquitto before 2.0.13 sends all that it has queued when a session is resumed: a million messages, if that many are.
#[tokio::test]
async fn a_flood_beyond_the_receive_maximum_waits_unread_and_breaks_nothing() {
    let stub = Stub::start().await;
    let (client, mut peer) = connected(&stub).await;
    let (count, padding) = (20_000_u16, "x".repeat(1000));
    let mut flood = tokio::spawn(async move {
        for id in 1..=count {
            peer.send(publish("a", 1, id, &format!("{id} {padding}"))).await;
        }
        peer
    });
    client.count(4).await;
    // Neither end's buffers hold twenty megabytes: the broker cannot go on, and nothing breaks.
    assert!(timeout(STANDSTILL, &mut flood).await.is_err(), "all of it was read");
    finish(&client, usize::from(count)).await;
    let mut peer = flood.await.unwrap();
    let acks = peer.acks(usize::from(count)).await;
    assert!(acks.iter().map(|(_, id)| *id).eq(1..=count), "out of order");
    assert_eq!(client.seen().connections.len(), 1);
    let numbers = client.payloads();
    assert!(numbers.iter().zip(1..=count).all(|(text, id)| text.starts_with(&format!("{id} "))));
}

#[tokio::test]
async fn after_each_read_that_floods_its_receiver_a_session_rests_and_acknowledges_all_the_same() {
    let stub = Stub::start().await;
    let client = Listener::drowning(config(stub.port, "worker"));
    let mut peer = stub.welcome().await;
    let started = Instant::now();
    peer.send(publish("a", 1, 1, "owed")).await;
    for _ in 0..500 {
        peer.send(publish("a", 0, 0, &"x".repeat(1000))).await;
    }
    client.count(501).await;
    let (took, reads) = (started.elapsed(), client.seen().flushes);
    assert!(took >= 4 * Duration::from_millis(reads as u64 - 1), "{reads} reads in {took:?}");
    client.acks.done(client.tokens()[0]);
    assert_eq!(peer.acks(1).await, [("PUBACK", 1)]);
}

#[tokio::test]
async fn the_pulse_shows_what_is_unacknowledged_and_since_when() {
    let stub = Stub::start().await;
    let (client, mut peer) = connected(&stub).await;
    let pulse = client.handle.pulse();
    assert_eq!((pulse.unacknowledged(), pulse.oldest_unacknowledged()), (0, None));
    let sent = Instant::now();
    peer.send(publish("a", 1, 10, "first")).await;
    peer.send(publish("a", 1, 20, "second")).await;
    client.count(2).await;
    let tokens = client.tokens();
    client.acks.done(tokens[1]);
    peer.silence(Duration::from_millis(50)).await;
    assert_eq!(pulse.unacknowledged(), 2, "a later one is not acknowledged before the first");
    let oldest = pulse.oldest_unacknowledged().unwrap();
    assert!(oldest >= Duration::from_millis(50) && oldest <= sent.elapsed(), "{oldest:?}");
    client.acks.done(tokens[0]);
    assert_eq!(peer.acks(2).await, [("PUBACK", 10), ("PUBACK", 20)]);
    peer.send(publish("a", 0, 0, "a turn later")).await;
    client.count(3).await;
    assert_eq!((pulse.unacknowledged(), pulse.oldest_unacknowledged()), (0, None));
    peer.send(publish("a", 1, 30, "third")).await;
    client.count(4).await;
    drop(peer);
    client.status("lost", is_waiting).await;
    assert_eq!(pulse.unacknowledged(), 0, "nothing is owed to a connection that is gone");
    assert!(pulse.since_turn() < Duration::from_secs(20));
}

/// The receive maximum bounds their number; large ones are bounded in bytes as well.
#[tokio::test]
async fn messages_too_large_for_the_window_wait_unread_until_others_are_finished() {
    let stub = Stub::start().await;
    let mut settings = config(stub.port, "worker");
    settings.window_bytes = 2_000_000;
    let client = Listener::lazy(settings);
    let mut peer = stub.welcome().await;
    let (count, large) = (60_u16, "x".repeat(500_000));
    let mut flood = tokio::spawn(async move {
        for id in 1..=count {
            peer.send(publish("a", 1, id, &large)).await;
        }
        peer
    });
    client.count(4).await;
    let stands_still = timeout(STANDSTILL, &mut flood).await.is_err();
    let read = client.seen().deliveries.len();
    assert!((4..=6).contains(&read) && stands_still, "{read} messages read");
    finish(&client, usize::from(count)).await;
    assert_eq!(flood.await.unwrap().acks(usize::from(count)).await.len(), usize::from(count));
}
