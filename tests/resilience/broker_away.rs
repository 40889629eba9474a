//! A broker that is away, for a moment or for long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use routemq_tests::{
    Bed, Broker, Client, ClientConfig, Database, MosquittoConfig, PATIENCE, ensure, eventually,
    messages, readings,
};
use rumqttc::v5::mqttbytes::QoS;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::lasting;

/// Restarts three times with messages on the way and in the queue.
#[tokio::test]
async fn a_broker_that_ends_in_good_order_is_resumed_with_its_sessions_and_loses_nothing() {
    let mut bed = Bed::start(Database::mariadb().await).await;
    let mut workers = bed.run(&readings("  workerCount: 2\n"), 2).await;
    let each = 500;
    for round in 0..3 {
        bed.database.pause();
        let range = round * each..(round + 1) * each;
        bed.client("publisher").await.publish_all(messages(range), 200).await;
        let before = bed.ledger.subscribed();
        bed.broker.restart().await;
        bed.database.resume();
        bed.subscribed(before + 2, &mut workers).await;
        bed.distinct_rows((round + 1) * each).await;
        bed.all_acknowledged("readings/", (round + 1) * each).await;
    }
    // Besides the workers each process has a connection to publish over, which is new each time.
    let present = bed.ledger.sessions_present().into_iter().filter(|present| *present).count();
    assert_eq!(present, 3 * 2, "sessions found again");
    assert!(bed.ledger.strays().is_empty(), "{:?}", bed.ledger.strays());
}

/// Sessions that live in the broker's memory are lost with it: workers say so, and join again.
#[tokio::test]
async fn a_broker_that_forgets_its_sessions_is_joined_again_and_everything_it_takes_then_is_handled_on_rmqtt()
 {
    let mut bed = Bed::start_on(Broker::rmqtt().await, Database::mariadb().await).await;
    let mut workers = bed.run(&readings("  workerCount: 2\n"), 2).await;
    for round in 0..3 {
        let before = bed.ledger.subscribed();
        if round % 2 == 0 {
            let _ = bed.broker.stop().await;
        } else {
            bed.broker.kill();
        }
        bed.broker.restart().await;
        bed.subscribed(before + 2, &mut workers).await;
        let range = round * 200..(round + 1) * 200;
        bed.client("publisher").await.publish_all(messages(range), 100).await;
        bed.distinct_rows((round + 1) * 200).await;
        bed.all_acknowledged("readings/", (round + 1) * 200).await;
    }
    let output = workers.output();
    assert!(output.contains("the broker lost the session"), "not told:\n{output}");
    assert!(bed.ledger.strays().is_empty(), "{:?}", bed.ledger.strays());
}

/// What mosquitto has not written when it is killed is lost for everybody: an independent consumer with a session of
/// its own tells what was.
#[tokio::test]
async fn a_killed_broker_loses_for_workers_only_what_it_loses_for_others() {
    let broker = MosquittoConfig { autosave_changes: 1, ..MosquittoConfig::default() };
    let mut bed = Bed::start_with(Database::mariadb().await, broker).await;
    let mut worker = bed.run(&readings(""), 1).await;
    assert_eq!(worker.terminate(PATIENCE).await.code(), Some(0));
    let control = ClientConfig::new("control").durable();
    let mut consumer = Client::connect(bed.broker.address(), control.clone()).await;
    consumer.subscribe("readings/#", QoS::AtLeastOnce).await;
    consumer.disconnect().await;
    bed.client("publisher").await.publish_all(messages(0..500), 20).await;
    bed.broker.kill();
    bed.broker.restart().await;
    let mut consumer = Client::connect(bed.broker.address(), control).await;
    let kept = consumer.receive_all(Duration::from_secs(1)).await.len();
    assert!(kept > 100, "{kept} messages kept: the test shows nothing");
    worker.restart();
    eventually("the worker has what the consumer has", PATIENCE, async || {
        let rows = bed.row_count().await;
        ensure(rows + 1 >= kept, || format!("{rows} of {kept}"))
    })
    .await;
}

/// Accepts and closes at once, as a load balancer without a broker behind it; counts.
async fn nobody(address: std::net::SocketAddr) -> (Arc<AtomicUsize>, JoinHandle<()>) {
    let listener = TcpListener::bind(address).await.expect("the broker has left its port");
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let task = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, SeqCst);
        }
    });
    (attempts, task)
}

/// Pauses double from 250 ms to 30 s, each anything between nothing and that: so many attempts are to be expected of a
/// connection, and three times as many are never seen.
fn most_attempts(span: Duration) -> usize {
    let doubling = 8;
    let held = usize::try_from(span.as_secs() / 15).unwrap();
    3 * (doubling + held)
}

#[tokio::test]
async fn a_broker_away_for_long_is_tried_ever_more_seldom_with_little_work_and_few_words() {
    let mut bed = Bed::start(Database::mariadb().await).await;
    let mut worker = bed.run(&readings(""), 1).await;
    bed.client("publisher").await.publish_all(messages(0..10), 10).await;
    bed.distinct_rows(10).await;
    bed.broker.stop().await;
    let (attempts, task) = nobody(bed.broker.address()).await;
    let (lines, used) = (worker.output().lines().count(), worker.process().processor_time());
    let away = lasting(12, 600);
    tokio::time::sleep(away).await;

    let said = worker.output().lines().count() - lines;
    // Two connections: the session's, and the one that handlers publish over. Recalled every five minutes.
    let reminders = usize::try_from(away.as_secs() / 300).unwrap();
    assert!(said <= 2 * (1 + reminders) + 4, "{said} lines:\n{}", worker.output());
    let attempts = attempts.load(SeqCst);
    assert!((2..=2 * most_attempts(away)).contains(&attempts), "{attempts} attempts in {away:?}");
    let used = worker.process().processor_time().saturating_sub(used);
    assert!(used < away.div_f64(100.0) + Duration::from_millis(100), "{used:?} of {away:?}");

    task.abort();
    let _ = task.await;
    let (before, back) = (bed.ledger.subscribed(), Instant::now());
    bed.broker.restart().await;
    bed.subscribed(before + 1, &mut worker).await;
    // The longest pause, and what a busy machine adds.
    assert!(back.elapsed() < Duration::from_secs(35), "back after {:?}", back.elapsed());
    bed.client("publisher").await.publish_all(messages(10..20), 10).await;
    bed.distinct_rows(20).await;
}
