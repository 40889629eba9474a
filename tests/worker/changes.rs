//! Documents that change while messages flow.

use std::time::Duration;

use routemq_tests::{Broker, Client, ClientConfig};
use routemq_worker::run::{Change, Running, totals};

use crate::bed::{Bed, Seen, load, settled, yaml};

type Routes = &'static [(&'static str, &'static str, u32)];

const NARROW: Routes = &[("narrow", "d/{id}", 0)];
const WIDE: Routes = &[("wide", "d/{rest...}", 0)];
const BOTH: Routes = &[("narrow", "d/{id}", 0), ("wide", "d/{rest...}", 0)];

async fn apply(running: &mut Running, yaml: &str) -> Vec<String> {
    let changes = Box::pin(running.apply(load(yaml))).await;
    let told = changes.iter().map(|(name, change)| {
        let word = match change {
            Change::Started => "started",
            Change::Swapped => "swapped",
            Change::Restarted => "restarted",
            Change::Renewed => "renewed",
            Change::Stopped(_) => "stopped",
            Change::Waiting(_) => "waiting",
            Change::Refused(_) => "refused",
        };
        format!("{name} {word}")
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_change_under_load_lose_nothing() {
    tables_change(Broker::mosquitto().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_change_under_load_lose_nothing_on_rmqtt() {
    tables_change(Broker::rmqtt().await).await;
}

async fn tables_change(broker: Broker) {
    let bed = Bed::on(broker);
    let mut running = bed.run(&yaml(2, "", NARROW)).await;
    let changes = async {
        for (done, routes) in
            [(500, WIDE), (1000, BOTH), (1500, NARROW), (2000, BOTH), (2500, WIDE)]
        {
            bed.tally.reaches(done).await;
            assert_eq!(apply(&mut running, &yaml(2, "", routes)).await, ["fleet.devices swapped"]);
        }
    };
    tokio::join!(bed.publish("d", 0..4000), changes);
    bed.tally.reaches(4000).await;
    settled(&running).await;
    bed.publish("d", 4000..4100).await;
    bed.tally.reaches(4100).await;
    running.stop().await;
    // By their numbers: second copies of what was published before may still come between them.
    let late = |seen: &Seen| seen.payload.parse::<u32>().unwrap() >= 4000;
    let last: Vec<Seen> = bed.tally.all().into_iter().filter(late).collect();
    assert_eq!(last.len(), 100, "the gone filter is still subscribed");
    assert!(last.iter().all(|seen| seen.route == "wide"), "the old table is still in use");
}

/// Down to 1 and up to 2: what is on the way with the one is finished while the other is granted.
#[tokio::test(flavor = "multi_thread")]
async fn a_qos_that_changes_under_load_loses_nothing_and_doubles_nothing() {
    let bed = Bed::start().await;
    let at = |qos: u8| yaml(2, "", NARROW).replace("topic:", &format!("qos: {qos}, topic:"));
    let mut running = bed.run(&at(1)).await;
    let changes = async {
        for (done, qos) in [(500, 2), (1000, 1), (1500, 2), (2000, 1)] {
            bed.tally.reaches(done).await;
            assert_eq!(apply(&mut running, &at(qos)).await, ["fleet.devices swapped"]);
        }
    };
    tokio::join!(bed.publish("d", 0..3000), changes);
    bed.tally.reaches(3000).await;
    settled(&running).await;
    running.stop().await;
    bed.tally.each_once(3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_change_is_settled_each_message_is_handled_once_again() {
    let bed = Bed::start().await;
    let mut running = bed.run(&yaml(2, "", NARROW)).await;
    apply(&mut running, &yaml(2, "", BOTH)).await;
    settled(&running).await;
    // Until siblings have had their time, what the table before would have handled is handled too: here that is
    // the same copy.
    bed.publish("d", 0..500).await;
    bed.tally.reaches(500).await;
    running.stop().await;
    bed.tally.each_once(500);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_did_not_change_is_left_alone_and_one_that_is_gone_stops() {
    let bed = Bed::start().await;
    let mut running = bed.run(&yaml(1, "", NARROW)).await;
    assert_eq!(apply(&mut running, &yaml(1, "", NARROW)).await, [] as [&str; 0]);
    assert_eq!(apply(&mut running, "").await, ["fleet.devices stopped"]);
    assert_eq!(apply(&mut running, &yaml(1, "", NARROW)).await, ["fleet.devices started"]);
    settled(&running).await;
    bed.publish("d", 0..10).await;
    bed.tally.reaches(10).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_connection_restarts_the_workers_and_loses_nothing() {
    let bed = Bed::start().await;
    let mut running = bed.run(&yaml(2, "", NARROW)).await;
    let change = async {
        bed.tally.reaches(300).await;
        let restarted = apply(&mut running, &yaml(2, "concurrency: 3", NARROW)).await;
        assert_eq!(restarted, ["fleet.devices restarted"]);
    };
    tokio::join!(bed.publish("d", 0..2000), change);
    bed.tally.reaches(2000).await;
    running.stop().await;
    bed.tally.each_once(2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_wrong_changes_nothing() {
    let bed = Bed::start().await;
    let mut running = bed.run(&yaml(1, "", NARROW)).await;
    let wrong = yaml(1, "", NARROW).replace("name: work", "name: unknown");
    assert_eq!(apply(&mut running, &wrong).await, ["fleet.devices refused"]);
    bed.publish("d", 0..10).await;
    bed.tally.reaches(10).await;
    running.stop().await;
    bed.tally.each_once(10);
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_workers_drain_their_sessions_and_leave_none_behind() {
    fewer_workers(Broker::mosquitto().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_workers_drain_their_sessions_and_leave_none_behind_on_rmqtt() {
    fewer_workers(Broker::rmqtt().await).await;
}

async fn fewer_workers(broker: Broker) {
    let bed = Bed::on(broker);
    let slow: Routes = &[("narrow", "d/{id}", 1)];
    let mut running = bed.run(&yaml(3, "", slow)).await;
    let change = async {
        bed.tally.reaches(200).await;
        apply(&mut running, &yaml(1, "", slow)).await;
    };
    tokio::join!(bed.publish("d", 0..2000), change);
    bed.tally.reaches(2000).await;
    bed.tally.each_once(2000);
    if bed.broker.is_mosquitto() {
        bed.sessions_are(1).await;
    } else {
        ended(&bed, &[1, 2]).await;
    }
    tokio::time::timeout(Duration::from_secs(20), running.stop()).await.unwrap();
}

/// Where the broker does not count its sessions: a client under a slot's name would resume it.
async fn ended(bed: &Bed, slots: &[u32]) {
    for slot in slots {
        let name = ClientConfig::new(format!("test-fleet.devices-{slot}")).durable();
        let client = Client::connect(bed.broker.address(), name).await;
        assert!(!client.session_present(), "the session of slot {slot} is still there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_workers_join_the_share() {
    let bed = Bed::start().await;
    let mut running = bed.run(&yaml(1, "", NARROW)).await;
    assert_eq!(apply(&mut running, &yaml(3, "", NARROW)).await, ["fleet.devices swapped"]);
    settled(&running).await;
    bed.publish("d", 0..300).await;
    bed.tally.reaches(300).await;
    running.stop().await;
    bed.tally.each_once(300);
    assert_eq!(bed.tally.by_slot().len(), 3);
}

fn with(yaml: &str, field: &str) -> String {
    yaml.replace("spec:\n", &format!("spec:\n  {field}\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_changes_its_name_under_load_loses_nothing_and_doubles_only_meanwhile() {
    let bed = Bed::start().await;
    let shares = [
        with(&yaml(2, "", NARROW), "shareName: first"),
        with(&yaml(2, "", NARROW), "shareName: second"),
        with(&yaml(1, "", NARROW), "shared: false"),
        yaml(2, "", NARROW),
    ];
    let mut running = bed.run(&shares[0]).await;
    let changes = async {
        for (done, yaml) in (500..).step_by(500).zip(&shares[1..]) {
            bed.tally.reaches(done).await;
            assert_eq!(apply(&mut running, yaml).await, ["fleet.devices swapped"]);
        }
    };
    tokio::join!(bed.publish("d", 0..3000), changes);
    bed.tally.reaches(3000).await;
    settled(&running).await;
    bed.publish("d", 3000..3200).await;
    bed.tally.reaches(3200).await;
    running.stop().await;
    let late = |seen: &&crate::bed::Seen| seen.payload.parse::<u32>().unwrap() >= 3000;
    let last = bed.tally.all().iter().filter(late).count();
    assert_eq!(last, 200, "an old share's filter is still subscribed");
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_workers_with_another_connection_leave_no_session_and_lose_nothing() {
    let bed = Bed::start().await;
    let slow: Routes = &[("narrow", "d/{id}", 1)];
    let mut running = bed.run(&yaml(3, "", slow)).await;
    let change = async {
        bed.tally.reaches(200).await;
        let changed = apply(&mut running, &yaml(1, "concurrency: 3", slow)).await;
        assert_eq!(changed, ["fleet.devices restarted"]);
    };
    tokio::join!(bed.publish("d", 0..2000), change);
    bed.tally.reaches(2000).await;
    bed.tally.each_once(2000);
    bed.sessions_are(1).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_goes_with_the_old_connection_is_finished_and_unsubscribed() {
    let bed = Bed::start().await;
    let both: Routes = &[("narrow", "d/{id}", 0), ("gone", "e/{id}", 20)];
    let mut running = bed.run(&yaml(1, "concurrency: 2", both)).await;
    bed.publish("e", 0..300).await;
    let restarted = apply(&mut running, &yaml(1, "concurrency: 3", NARROW)).await;
    assert_eq!(restarted, ["fleet.devices restarted"]);
    bed.tally.reaches(300).await;
    settled(&running).await;
    bed.publish("e", 300..310).await;
    bed.publish("d", 310..320).await;
    bed.tally.reaches(310).await;
    let totals = totals(&running.stop().await);
    bed.tally.each_once(310);
    assert_eq!(totals.unmatched, 0, "the gone filter is still subscribed");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_brokers_workers_drain_what_the_old_one_holds() {
    let (old, new) = (Bed::start().await, Bed::start().await);
    let at = |bed: &Bed| {
        let yaml = yaml(2, "concurrency: 2", &[("narrow", "d/{id}", 5)]);
        with(&yaml, &format!("broker: {{url: \"{}\"}}", bed.broker.url()))
    };
    let mut running = old.run(&at(&old)).await;
    old.publish("d", 0..500).await;
    assert!(old.tally.times().len() < 500, "nothing is queued: the test shows nothing");
    assert_eq!(apply(&mut running, &at(&new)).await, ["fleet.devices restarted"]);
    settled(&running).await;
    new.publish("d", 500..600).await;
    old.tally.reaches(600).await;
    running.stop().await;
    old.tally.each_once(600);
    old.sessions_are(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_with_another_table_leaves_what_its_predecessor_held() {
    let bed = Bed::start().await;
    let both: Routes = &[("narrow", "d/{id}", 0), ("gone", "e/{id}", 0)];
    bed.run(&with(&yaml(2, "", both), "shareName: first")).await.stop().await;
    bed.publish("d", 0..100).await;

    let running = bed.run(&with(&yaml(2, "", NARROW), "shareName: second")).await;
    bed.tally.reaches(100).await;
    settled(&running).await;
    bed.publish("e", 100..110).await;
    bed.publish("d", 110..310).await;
    bed.tally.reaches(300).await;
    let totals = totals(&running.stop().await);
    bed.tally.each_once(300);
    assert_eq!(totals.unmatched, 0, "the gone route's filter is still subscribed");
}
