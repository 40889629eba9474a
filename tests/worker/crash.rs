//! A message that kills its process: taken out of the way on the fourth start.
//!
//! The process is this test program itself, told by its environment to be a worker.

use std::{collections::BTreeSet, path::Path, time::Duration};

use routemq_tests::{
    Client, Directory, Launch, MemoryLimit, Mosquitto, MosquittoConfig, Process, Received,
};
use routemq_worker::{
    Registry,
    extract::Text,
    journal::Journal,
    run::{RunSettings, Running},
};
use rumqttc::v5::mqttbytes::QoS;

use crate::bed::{Bed, PATIENCE, load};

/// Where the broker of a process that is to be a worker is.
const BROKER: &str = "ROUTEMQ_TEST_CRASH_BROKER";
/// Where its journal is.
const SCRATCH: &str = "ROUTEMQ_TEST_CRASH_SCRATCH";
/// Set where its route names no dead letter topic.
const NO_LETTERS: &str = "ROUTEMQ_TEST_CRASH_NO_LETTERS";
/// Set where what kills does so no more.
const MENDED: &str = "ROUTEMQ_TEST_CRASH_MENDED";

const ROUTE: &str = r#"
apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {name: devices, namespace: fleet}
spec:
  delivery: {deadLetter: {topic: "dead/{route}"}}
  routes:
    - name: fragile
      topic: "d/{id}"
      handlers:
        - custom: {name: fragile}
        - publish: {topic: "done/{id}", payload: "payload"}
"#;

/// Dies of one payload, as of a fault in a library; of another when memory is short.
async fn fragile(Text(payload): Text) {
    match payload.as_str() {
        _ if std::env::var_os(MENDED).is_some() => {}
        "abort" => std::process::abort(),
        "allocate" => drop(std::hint::black_box(vec![1_u8; GIBIBYTE])),
        _ => {}
    }
}

const GIBIBYTE: usize = 1 << 30;

/// Not a test of its own: the worker, in a process of its own, until it dies or is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the tests of this file"]
async fn the_worker() {
    let (Ok(broker), Ok(scratch)) = (std::env::var(BROKER), std::env::var(SCRATCH)) else { return };
    let bed = Bed::start().await;
    let letters = "  delivery: {deadLetter: {topic: \"dead/{route}\"}}\n";
    let without = std::env::var_os(NO_LETTERS).is_some();
    let route = if without { ROUTE.replace(letters, "") } else { ROUTE.to_owned() };
    let settings = RunSettings {
        registry: Registry::new().handler("fragile", fragile),
        observer: None,
        journal: Journal::open_or_go_without(Path::new(&scratch)),
        ..bed.settings_through(&broker)
    };
    let _running = Running::start(load(&route), settings).await.unwrap();
    std::future::pending::<()>().await;
}

/// `wrapper`: a program, and its arguments, that becomes the worker in the end.
fn start(broker: &Mosquitto, folder: &Path, wrapper: &[String], number: u32) -> Process {
    let worker = std::env::current_exe().unwrap();
    let launch = match wrapper {
        [] => Launch::new(worker),
        [program, arguments @ ..] => Launch::new(program).args(arguments).arg(worker),
    };
    as_worker(launch, broker, folder).start(&folder.join(format!("worker-{number}.log")))
}

fn as_worker(launch: Launch, broker: &Mosquitto, folder: &Path) -> Launch {
    launch
        .args(["crash::the_worker", "--exact", "--ignored", "--nocapture"])
        .env(BROKER, broker.url())
        .env(SCRATCH, folder.join("scratch"))
}

fn class(letter: &Received) -> Option<&str> {
    let user = &letter.properties.user_properties;
    user.iter().find(|(name, _)| name == "routemq-class").map(|(_, class)| class.as_str())
}

/// What comes until the dead letter has come and every neighbour is done.
async fn outcome(client: &mut Client) -> (Received, BTreeSet<String>) {
    let (mut letter, mut done) = (None, BTreeSet::new());
    loop {
        let received =
            client.receive(PATIENCE).await.expect("the fourth worker handles everything");
        match received.topic.as_str() {
            "dead/fragile" => letter = Some(received),
            topic => drop(done.insert(topic.to_owned())),
        }
        if let (Some(letter), 20) = (&letter, done.len()) {
            return (letter.clone(), done);
        }
    }
}

/// One message of this payload kills each process that handles it; its neighbours are done, and it is a dead letter.
async fn killed_by(poison: &'static str, wrapper: &[String]) {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let folder = Directory::new("crash");
    let mut client = broker.client("watcher").await;
    for filter in ["dead/#", "done/#"] {
        client.subscribe(filter, QoS::AtLeastOnce).await;
    }
    let mut publisher = broker.client("publisher").await;
    let mut worker = start(&broker, folder.path(), wrapper, 1);
    // The share has no member, and so nobody to keep messages for, until the worker has subscribed.
    publish_until_heard(&mut publisher, &mut client).await;
    for id in 0..10 {
        publisher.publish(&format!("d/{id}"), "good", QoS::AtLeastOnce).await;
    }
    publisher.publish("d/poison", poison, QoS::AtLeastOnce).await;
    for id in 10..20 {
        publisher.publish(&format!("d/{id}"), "good", QoS::AtLeastOnce).await;
    }
    for number in 2..=4 {
        let status = worker.exit(PATIENCE).await;
        assert_eq!(status.code(), None, "worker {} did not die of a signal", number - 1);
        worker = start(&broker, folder.path(), wrapper, number);
    }
    let (letter, done) = outcome(&mut client).await;
    assert_eq!((class(&letter), &letter.payload[..]), (Some("Crash"), poison.as_bytes()));
    assert!(!done.contains("done/poison"));
    assert!(worker.exit_status().is_none(), "the fourth worker lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_the_process_is_a_dead_letter_on_the_fourth_start() {
    killed_by("abort", &[]).await;
}

/// What was in hand when a process died need not have killed it: without a dead letter topic it stays with the broker.
#[tokio::test(flavor = "multi_thread")]
async fn what_kills_the_process_is_handled_again_where_there_is_no_dead_letter_topic() {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let folder = Directory::new("crash");
    let start = |number: u32, mended: bool| {
        let worker = Launch::new(std::env::current_exe().unwrap()).env(NO_LETTERS, "yes");
        let worker = if mended { worker.env(MENDED, "yes") } else { worker };
        let log = folder.path().join(format!("worker-{number}.log"));
        as_worker(worker, &broker, folder.path()).start(&log)
    };
    let mut client = broker.client("watcher").await;
    client.subscribe("done/#", QoS::AtLeastOnce).await;
    let mut publisher = broker.client("publisher").await;
    let mut worker = start(1, false);
    publish_until_heard(&mut publisher, &mut client).await;
    publisher.publish("d/poison", "abort", QoS::AtLeastOnce).await;
    for number in 2..=5 {
        assert_eq!(worker.exit(PATIENCE).await.code(), None, "died of a signal");
        worker = start(number, false);
    }
    assert_eq!(worker.exit(PATIENCE).await.code(), None, "the accused message is handled again");
    let _mended = start(6, true);
    let done = client.receive(PATIENCE).await.expect("handled in the end");
    assert_eq!(done.topic, "done/poison");
}

/// The system refuses the allocation, and the process ends itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_takes_more_memory_than_there_is_is_a_dead_letter_on_the_fourth_start() {
    // Address space: threads and their stacks take some of it, without using it.
    let limit = format!("ulimit -v {} && exec \"$0\" \"$@\"", GIBIBYTE / 1024 * 9 / 8);
    killed_by("allocate", &["/bin/sh".to_owned(), "-c".to_owned(), limit]).await;
}

/// The kernel kills, as it does in a container beyond its limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_oom_killer_punishes_is_a_dead_letter_on_the_fourth_start() {
    let Some(limit) = MemoryLimit::new(256 << 20) else { return };
    killed_by("allocate", &limit.wrapper()).await;
}

async fn publish_until_heard(publisher: &mut Client, watcher: &mut Client) {
    for _ in 0..100 {
        publisher.publish("d/first", "good", QoS::AtLeastOnce).await;
        if watcher.receive(Duration::from_millis(300)).await.is_some() {
            // Those of later tries.
            watcher.receive_all(Duration::from_millis(300)).await;
            return;
        }
    }
    panic!("the worker never subscribed");
}
