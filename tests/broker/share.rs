//! The main job: three workers, ten thousand messages, each a row.

use std::{fmt::Write as _, fs::File, process::Command};

use routemq_tests::{Database, Directory, program};

use crate::bed::{Bed, messages, readings};

const MESSAGES: usize = 10_000;

/// Each message once (the primary key would dead-letter a second), and every worker took part.
async fn ten_thousand_messages_become_rows(database: Database) {
    let bed = Bed::start(database).await;
    bed.rows().execute("ALTER TABLE readings ADD PRIMARY KEY (id)").await;
    let mut dead = bed.client("dead").await;
    dead.subscribe("dead/#", rumqttc::v5::mqttbytes::QoS::AtLeastOnce).await;
    let spec = "  workerCount: 3\n  delivery: {deadLetter: {topic: \"dead/{route}\"}}\n";
    let mut workers = bed.run(&readings(spec), 3).await;

    bed.client("publisher").await.publish_all(messages(0..MESSAGES), 500).await;
    bed.distinct_rows(MESSAGES).await;
    bed.all_acknowledged("readings/", MESSAGES).await;

    assert_eq!(bed.row_count().await, MESSAGES);
    assert!(dead.receive_all(std::time::Duration::from_millis(200)).await.is_empty());
    let shares = bed.ledger.shares("readings/");
    assert_eq!(shares.len(), 3, "{shares:?}");
    assert!(shares.values().all(|share| *share > MESSAGES / 10), "{shares:?}");
    assert_eq!(bed.ledger.count("readings/", |e| e.sent.len() != 1), 0);
    assert!(bed.ledger.strays().is_empty(), "{:?}", bed.ledger.strays());
    let status = workers.terminate(crate::bed::PATIENCE).await;
    assert!(status.success(), "{status}\n{}", workers.output());
}

#[tokio::test]
async fn three_workers_share_ten_thousand_messages_into_mariadb() {
    ten_thousand_messages_become_rows(Database::mariadb().await).await;
}

#[tokio::test]
async fn three_workers_share_ten_thousand_messages_into_postgres() {
    ten_thousand_messages_become_rows(Database::postgres().await).await;
}

#[tokio::test]
async fn processes_with_a_slot_each_share_the_work_as_pods_do() {
    let bed = Bed::start(Database::mariadb().await).await;
    let routes = readings("  workerCount: 3\n");
    let mut processes = Vec::new();
    for slot in 0..3 {
        let config = routemq_tests::WorkerConfig { slot: Some(slot), ..bed.config(&routes) };
        let mut process = routemq_tests::WorkerProcess::run(&config);
        bed.subscribed(processes.len() + 1, &mut process).await;
        processes.push(process);
    }
    bed.client("publisher").await.publish_all(messages(0..300), 100).await;
    bed.distinct_rows(300).await;
    assert_eq!(bed.row_count().await, 300);
    assert_eq!(bed.ledger.shares("readings/").len(), 3);
}

/// `mosquitto_pub -l`: a message a line, at QoS 1; returns when the broker has acknowledged each.
async fn publish_lines(bed: &Bed, topic: &str, lines: &str) {
    let directory = Directory::new("lines");
    let input = File::open(directory.write("input", lines)).unwrap();
    let mut command = Command::new(program("mosquitto_pub", "mosquitto-clients"));
    command.args(["-V", "5", "-q", "1", "-l", "-h", "127.0.0.1", "-t", topic]);
    command.arg("-p").arg(bed.broker.address().port().to_string()).stdin(input);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn ten_thousand_lines_of_mosquitto_pub_are_ten_thousand_rows() {
    let bed = Bed::start(Database::mariadb().await).await;
    bed.rows().execute("ALTER TABLE readings ADD PRIMARY KEY (id)").await;
    let routes = readings("  workerCount: 3\n")
        .replace("readings/{device}/{id:int}", "lines/{device}")
        .replace("id: params.id", "id: payload.id");
    let _workers = bed.run(&routes, 3).await;
    let mut lines = String::new();
    for id in 0..MESSAGES {
        let _ = writeln!(lines, "{{\"id\": {id}, \"value\": {id}.5}}");
    }
    publish_lines(&bed, "lines/d-1", &lines).await;
    bed.distinct_rows(MESSAGES).await;
    assert_eq!(bed.row_count().await, MESSAGES);
    let shares = bed.ledger.shares("lines/");
    assert_eq!(shares.len(), 3, "{shares:?}");
    assert!(shares.values().all(|share| *share > MESSAGES / 10), "{shares:?}");
}
