//! `/livez` and `/readyz` over a worker's life.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use routemq_tests::{
    Database, Directory, Mosquitto, MosquittoConfig, Signal, WorkerConfig, ensure, eventually,
    free_port,
};
use rumqttc::v5::mqttbytes::QoS;

use crate::bed::{PATIENCE, Pod, config};

const ROUTES: &str = "\
apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {name: pings, namespace: bed}
spec:
  routes:
    - name: ping
      topic: \"pings/{id}\"
      handlers: [{publish: {topic: pong, payload: params.id}}]
";

#[tokio::test]
async fn a_worker_lives_before_it_has_a_broker_and_is_ready_after_it_subscribed() {
    let mut broker = Mosquitto::start(MosquittoConfig::default()).await;
    broker.stop().await;
    let pod = Pod::run(&config(ROUTES, &broker, None));
    pod.answers("/livez", 200, "ok").await;
    pod.answers("/readyz", 503, "bed.pings-0: not connected: ").await;
    broker.restart().await;
    pod.ready().await;
    let mut client = broker.client("client").await;
    client.subscribe("pong", QoS::AtLeastOnce).await;
    client.publish("pings/1", "", QoS::AtLeastOnce).await;
    let pong = client.receive(Duration::from_secs(10)).await;
    assert_eq!(pong.expect("a ready worker misses nothing").text(), "1");
    broker.stop().await;
    pod.answers("/readyz", 503, "not connected").await;
    assert_eq!(
        pod.get("/livez").await.unwrap().status,
        200,
        "a broker that is away kills no worker"
    );
}

#[tokio::test]
async fn a_worker_lives_while_it_waits_for_its_database() {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let routes = ROUTES.replace(
        "publish: {topic: pong, payload: params.id}",
        "sql: {table: pings, columns: {id: params.id}}",
    );
    let away = format!("mysql://nobody@127.0.0.1:{}/nothing", free_port());
    let pod = Pod::run(&WorkerConfig { database: Some(away), ..config(&routes, &broker, None) });
    pod.answers("/readyz", 503, "bed.pings: waiting for the database").await;
    assert_eq!(pod.get("/livez").await.unwrap().status, 200);
}

/// mosquitto's access list lets everybody subscribe; its plugin for dynamic security does not.
fn rules(allowed: bool) -> String {
    format!(
        r#"{{"defaultACLAccess": {{"publishClientSend": true, "publishClientReceive": true, "subscribe": true, "unsubscribe": true}},
            "groups": [{{"groupname": "everybody", "roles": [{{"rolename": "rule"}}]}}],
            "roles": [{{"rolename": "rule", "acls": [
                {{"acltype": "subscribeLiteral", "topic": "pings/+", "priority": 1, "allow": {allowed}}}]}}],
            "anonymousGroup": "everybody"}}"#
    )
}

fn plugin() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut files = folders.map(|folder| folder.path().join("mosquitto_dynamic_security.so"));
    files.find(|file| file.is_file()).expect("the package mosquitto brings its plugin")
}

#[tokio::test]
async fn a_filter_that_the_broker_refuses_keeps_a_worker_unready_and_is_named() {
    let directory = Directory::new("rules");
    let file = directory.write("rules.json", rules(false));
    let extra =
        format!("plugin {}\nplugin_opt_config_file {}\n", plugin().display(), file.display());
    let mut broker =
        Mosquitto::start(MosquittoConfig { extra, ..MosquittoConfig::default() }).await;
    let pod = Pod::run(&config(&ROUTES.replace("spec:", "spec:\n  shared: false"), &broker, None));
    let answer = pod.answers("/readyz", 503, "refused the subscription to pings/+").await;
    assert!(answer.body.contains("0x87") && answer.body.starts_with("bed.pings-0:"), "{answer:?}");
    assert_eq!(pod.get("/livez").await.unwrap().status, 200);
    broker.stop().await;
    directory.write("rules.json", rules(true));
    broker.restart().await;
    pod.ready().await;
}

#[tokio::test]
async fn after_sigterm_nothing_is_ready_at_once_while_what_runs_is_finished() {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let mut database = Database::mariadb().await;
    database.rows().execute("CREATE TABLE pings (id BIGINT PRIMARY KEY)").await;
    let routes = ROUTES.replace(
        "publish: {topic: pong, payload: params.id}",
        "sql: {table: pings, columns: {id: params.id}}",
    );
    let mut pod = Pod::run(&config(&routes, &broker, Some(&database)));
    pod.ready().await;
    database.pause();
    broker.client("publisher").await.publish("pings/7", "", QoS::AtLeastOnce).await;
    eventually("the message is under way", PATIENCE, async || {
        let answer = pod.get("/metrics").await?;
        ensure(answer.body.contains("routemq_inflight 1\n"), || answer.body)
    })
    .await;
    pod.process.process().signal(Signal::TERM);
    pod.answers("/readyz", 503, "stopping").await;
    assert_eq!(pod.get("/livez").await.unwrap().status, 200, "a worker that drains lives");
    database.resume();
    let status = pod.process.process().exit(PATIENCE).await;
    assert_eq!(status.code(), Some(0), "{}", pod.process.output());
    assert_eq!(database.rows().count("SELECT COUNT(*) FROM pings").await, 1);
}

/// For longer than anything may be silent (a minute): what waits for a database that accepts and says nothing turns on.
#[tokio::test]
async fn a_worker_lives_and_stays_ready_while_its_database_hangs_for_longer_than_a_minute() {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let mut database = Database::mariadb().await;
    database.rows().execute("CREATE TABLE pings (id BIGINT PRIMARY KEY)").await;
    let routes = ROUTES.replace(
        "publish: {topic: pong, payload: params.id}",
        "sql: {table: pings, columns: {id: params.id}}",
    );
    let pod = Pod::run(&config(&routes, &broker, Some(&database)));
    pod.ready().await;
    database.pause();
    let mut client = broker.client("publisher").await;
    let (hangs, started) = (Duration::from_secs(70), Instant::now());
    let mut published = 0;
    while started.elapsed() < hangs {
        client.publish(&format!("pings/{published}"), "", QoS::AtLeastOnce).await;
        published += 1;
        for path in ["/livez", "/readyz"] {
            let answer = pod.get(path).await.unwrap();
            assert_eq!(answer.status, 200, "{path} after {:?}: {answer:?}", started.elapsed());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let metrics = pod.get("/metrics").await.unwrap().body;
    assert!(
        metrics.contains(&format!("routemq_inflight {published}\n")),
        "acknowledged\n{metrics}"
    );
    database.resume();
    eventually("every message has its row", PATIENCE, async || {
        let rows = database.rows().count("SELECT COUNT(*) FROM pings").await;
        ensure(rows == published, || format!("{rows} of {published}"))
    })
    .await;
}

#[tokio::test]
async fn an_address_in_use_is_said_in_a_line_with_3() {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut config = config(ROUTES, &broker, None);
    config.arguments = vec!["--listen".to_owned(), address.clone()];
    let mut process = routemq_tests::WorkerProcess::run(&config);
    assert_eq!(process.process().exit(PATIENCE).await.code(), Some(3));
    assert!(
        process.output().contains(&format!("cannot listen on {address}")),
        "{}",
        process.output()
    );
}
