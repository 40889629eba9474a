//! Connections that break, brokers that refuse, databases that are away.

use std::time::{Duration, Instant};

use routemq_tests::{MosquittoConfig, Proxy, ensure, eventually};
use routemq_worker::run::{DatabaseAway, RunError, RunSettings, Running, totals};
use rumqttc::v5::mqttbytes::QoS;

use crate::bed::{Bed, PATIENCE, load, settled, yaml};

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_are_resumed_and_nothing_is_lost() {
    let bed = Bed::start().await;
    let proxy = Proxy::start(bed.broker.address()).await;
    let yaml = yaml(2, "concurrency: 4, receiveMaximum: 100", &[("control", "d/{id}", 2)]);
    let running = bed.run_with(&yaml, bed.settings_through(&proxy.url())).await;
    let cuts = async {
        for done in [200, 600, 1000] {
            bed.tally.reaches(done).await;
            proxy.cut();
        }
    };
    tokio::join!(bed.publish("d", 0..2000), cuts);
    bed.tally.reaches(2000).await;
    let totals = totals(&running.stop().await);

    assert_eq!(bed.tally.times().len(), 2000);
    let again = bed.tally.all().len() - 2000;
    // Under way when the connection broke, or finished and not yet acknowledged on the wire.
    assert!(again <= 3 * 2 * 100, "{again} handled twice");
    assert!(totals.returned > 0, "no cut met a queued message: the test shows nothing");
    assert_eq!(totals.unfinished, 0, "{totals:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_is_waited_for_and_nothing_is_lost() {
    let mut bed = Bed::start().await;
    let running = bed.run(&yaml(2, "concurrency: 1", &[("control", "d/{id}", 5)])).await;
    bed.publish("d", 0..300).await;
    assert!(bed.tally.times().len() < 300, "nothing is queued: the test shows nothing");
    bed.broker.restart().await;
    // mosquitto 2.0.11 forgets a shared subscription when it restarts; what was queued it keeps.
    eventually("both workers are back", PATIENCE, async || {
        let connected = bed.broker.log().matches("as test-fleet.devices-").count();
        ensure(connected >= 6, || bed.broker.log())
    })
    .await;
    settled(&running).await;
    bed.publish("d", 300..600).await;
    bed.tally.reaches(600).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_broker_refuses_the_barrier_copies_are_doubled_and_none_is_lost() {
    let acl = Some("topic readwrite d/#\n".to_owned());
    let bed = Bed::with(MosquittoConfig { acl, ..MosquittoConfig::default() }).await;
    let routes = &[("one", "d/{id}", 0), ("all", "d/{rest...}", 0)];
    let running = bed.run(&yaml(2, "", routes)).await;
    bed.publish("d", 0..200).await;
    bed.tally.reaches(200).await;
    let totals = totals(&running.stop().await);
    let times = bed.tally.times();
    assert_eq!(times.len(), 200);
    assert!(times.values().all(|times| *times == 2), "each of two copies goes to the winner");
    assert!(bed.tally.all().iter().all(|seen| seen.route == "one"));
    assert_eq!(totals.overlap, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_qos_0_is_dropped_beyond_a_bound_and_counted() {
    let bed = Bed::start().await;
    let settings = RunSettings { drain: Duration::from_millis(100), ..bed.settings() };
    let yaml = yaml(1, "concurrency: 1", &[("control", "d/{id}", 20_000)]);
    let running = bed.run_with(&yaml, settings).await;
    let mut client = bed.broker.client("flood").await;
    for n in 0..18_000_u32 {
        client.publish("d/1", n.to_string(), QoS::AtMostOnce).await;
    }
    // An answer to this one means that the broker has taken all before it.
    client.publish("other", "end", QoS::AtLeastOnce).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let totals = totals(&running.stop().await);
    assert_eq!(totals.all_routes().received, 16_384);
    assert!(totals.overflow > 0 && totals.overflow <= 18_000 - 16_384, "{totals}");
}

fn with_row(url_field: &str) -> String {
    yaml(1, "", &[]).replace(
        "  routes:\n",
        &format!(
            "{url_field}  routes:\n    - {{name: r, topic: \"d/{{id}}\", handlers: [{{sql: {{table: t, columns: {{id: params.id}}}}}}]}}\n"
        ),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_keeps_a_worker_from_subscribing_and_not_from_stopping() {
    let bed = Bed::start().await;
    let database = Some("mysql://root@127.0.0.1:9/nowhere".to_owned());
    let settings = RunSettings { database, ..bed.settings() };
    let running = Running::start(load(&with_row("")), settings).await.unwrap();
    let early = tokio::time::timeout(Duration::from_secs(2), running.settled()).await;
    assert!(early.is_err(), "subscribed without a database");
    let start = Instant::now();
    assert_eq!(running.stop().await, []);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_fails_the_start_where_that_is_asked_for() {
    let bed = Bed::start().await;
    let settings = RunSettings {
        database: Some("mysql://root@127.0.0.1:9/nowhere".to_owned()),
        database_away: DatabaseAway::Fail,
        ..bed.settings()
    };
    let error = Running::start(load(&with_row("")), settings).await.unwrap_err();
    assert!(matches!(error, RunError::Database { .. }) && !error.is_input(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_needs_a_database_is_refused_without_one() {
    let bed = Bed::start().await;
    let error = Running::start(load(&with_row("")), bed.settings()).await.unwrap_err();
    assert!(error.is_input(), "{error}");
    assert!(error.to_string().contains("DATABASE_URL"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_objects_run_side_by_side() {
    let bed = Bed::start().await;
    let one = yaml(1, "", &[("control", "d/{id}", 0)]);
    let two = yaml(1, "", &[("control", "e/{id}", 0)]).replace("name: devices", "name: others");
    let settings = RunSettings { share: Some("group".to_owned()), ..bed.settings() };
    let running = Running::start(load(&format!("{one}---\n{two}")), settings).await.unwrap();
    settled(&running).await;
    bed.publish("d", 0..10).await;
    bed.publish("e", 10..20).await;
    bed.tally.reaches(20).await;
    assert_eq!(running.stop().await.len(), 2);
    bed.tally.each_once(20);
}
