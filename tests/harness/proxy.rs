use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use routemq_tests::{
    Client, ClientConfig, Direction, Frame, Line, Mosquitto, MosquittoConfig, Proxy, Received,
    Verdict,
};
use rumqttc::v5::mqttbytes::QoS;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(10);

/// An echo server, a proxy before it, and a connection through both.
async fn echo() -> (Proxy, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    (proxy, stream)
}

async fn echoed(stream: &mut TcpStream, text: &[u8]) -> bool {
    stream.write_all(text).await.unwrap();
    let mut back = vec![0; text.len()];
    timeout(SHORT, stream.read_exact(&mut back)).await.is_ok()
}

#[tokio::test]
async fn what_is_swallowed_stays_lost_and_what_comes_after_passes() {
    let (proxy, mut stream) = echo().await;
    assert!(echoed(&mut stream, b"one").await);
    proxy.swallow();
    assert!(!echoed(&mut stream, b"two").await);
    proxy.heal();
    let mut back = [0; 5];
    stream.write_all(b"three").await.unwrap();
    timeout(LONG, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"three");
}

#[tokio::test]
async fn what_is_paused_comes_later() {
    let (proxy, mut stream) = echo().await;
    assert!(echoed(&mut stream, b"one").await);
    proxy.pause();
    assert!(!echoed(&mut stream, b"two").await);
    proxy.heal();
    let mut back = [0; 3];
    timeout(LONG, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"two");
}

#[tokio::test]
async fn a_slow_line_brings_everything_late_and_in_order() {
    let (proxy, mut stream) = echo().await;
    let (delay, jitter) = (Duration::from_millis(50), Duration::from_millis(30));
    proxy.behave(Line { delay, jitter, loss: 0.2 });
    let sent: Vec<u8> = (0..200).collect();
    let started = std::time::Instant::now();
    let (mut read, mut write) = stream.split();
    let write_each = async {
        for byte in &sent {
            write.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let mut back = vec![0; sent.len()];
    let both = async { tokio::join!(write_each, read.read_exact(&mut back)) };
    timeout(LONG, both).await.unwrap().1.unwrap();
    assert_eq!(back, sent);
    // Both ways; and what is sent together is on the way together.
    let took = started.elapsed();
    let shortest = 2 * delay.saturating_sub(jitter);
    assert!((shortest..LONG / 4).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_cut_resets_and_the_next_connection_is_served() {
    let (proxy, mut stream) = echo().await;
    assert!(echoed(&mut stream, b"one").await);
    proxy.cut();
    let error = timeout(LONG, stream.read(&mut [0; 1])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let mut next = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(echoed(&mut next, b"two").await);
}

#[tokio::test]
async fn a_tap_loses_one_chosen_puback_and_sees_every_packet() {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let proxy = Proxy::tapped(broker.address(), move |connection, direction, frame| {
        let lost = direction == Direction::ToBroker && frame.packet_id() == Some(2);
        if direction == Direction::ToBroker && frame.kind() == Frame::PUBACK {
            log.lock().unwrap().push((connection, frame.packet_id().unwrap()));
            return if lost { Verdict::Drop } else { Verdict::Pass };
        }
        Verdict::Pass
    })
    .await;
    let config = ClientConfig::new("subscriber").durable();
    let mut subscriber = Client::connect(proxy.address(), config.clone()).await;
    subscriber.subscribe("a", QoS::AtLeastOnce).await;
    broker.client("publisher").await.publish_all((1..=3).map(|i| ("a", i.to_string())), 1).await;
    assert_eq!(subscriber.receive_all(SHORT).await.len(), 3);
    drop(subscriber);
    let mut subscriber = Client::connect(proxy.address(), config).await;
    let again = subscriber.receive_all(SHORT).await;
    assert_eq!(again.iter().map(Received::text).collect::<Vec<_>>(), ["2"]);
    let acknowledged = seen.lock().unwrap().clone();
    assert_eq!(acknowledged, [(1, 1), (1, 2), (1, 3), (2, 2)]);
}

#[tokio::test]
async fn what_comes_after_half_a_connection_has_closed_still_comes() {
    let (_proxy, mut stream) = echo().await;
    let sent = vec![7; 1_000_000];
    let (mut read, mut write) = stream.split();
    let mut back = Vec::new();
    let write_all = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let ((), read) = timeout(LONG, async { tokio::join!(write_all, read.read_to_end(&mut back)) })
        .await
        .expect("it does not hang");
    assert_eq!(read.unwrap(), sent.len());
}
