//! What a spec refers to and is not there: a pod waits for it.
//!
//! In this process, because a pod's own way begins with a Lease: the same service, told to be patient.

use std::{net::SocketAddr, time::Duration};

use routemq_tests::{Directory, Mosquitto, MosquittoConfig, ensure, eventually, free_port, get};
use routemq_worker::{
    run::RunSettings,
    service::{Service, ServiceOptions, Sources},
};
use rumqttc::v5::mqttbytes::QoS;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{bed::PATIENCE, mount::Mount};

const ROUTES: &str = "\
apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {name: pings, namespace: bed, generation: 3}
spec:
  broker: {credentialsSecretRef: {name: login}}
  routes:
    - name: ping
      topic: ping
      middleware: [{validate: {configMapRef: {name: schemas, key: ping.json}}}]
      handlers: [{publish: {topic: pong, payload: \"'pong'\"}}]
";

/// A patient service, as a task.
struct Patient {
    address: SocketAddr,
    settings: RunSettings,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Patient {
    async fn start(broker: &Mosquitto, folder: &Directory) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let settings = RunSettings::new(broker.url().parse().unwrap());
        let sources = Sources {
            paths: vec![folder.path().join("table/route.yaml")],
            secrets: Some(folder.path().join("secrets")),
            config_maps: Some(folder.path().join("config-maps")),
        };
        let run = settings.clone();
        let options = ServiceOptions { sources, listen: Some(address), patient: true, run };
        let mut service = Service::start(options).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            service.reload_until(async { drop(stopped.await) }).await;
            service.stop().await;
        });
        Self { address, settings, stop, task }
    }

    async fn answers(&self, status: u16, words: &str) {
        eventually(&format!("/readyz answers {status} {words:?}"), PATIENCE, async || {
            let answer = get(self.address, "/readyz").await?;
            ensure(answer.status == status && answer.body.contains(words), || format!("{answer:?}"))
        })
        .await;
    }

    async fn reports(&self, missing: &[&str], refused: bool) {
        let watch = self.settings.report.watch();
        eventually("the report says so", PATIENCE, async || {
            let report = watch.borrow().clone();
            let fits = report.missing == missing && report.refused_table.is_some() == refused;
            ensure(fits, || format!("{report:?}"))
        })
        .await;
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}

async fn answers(broker: &Mosquitto) {
    let mut client = broker.client("client").await;
    client.subscribe("pong", QoS::AtLeastOnce).await;
    client.publish("ping", "{}", QoS::AtLeastOnce).await;
    assert!(client.receive(PATIENCE).await.is_some(), "no pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_and_config_map_are_named_awaited_and_taken_up_when_they_appear() {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let folder = Directory::new("pod");
    let _table = Mount::new(folder.path().join("table"), &[("route.yaml", ROUTES)]);
    let mut login = Mount::empty(folder.path().join("secrets/login"));
    let mut schemas = Mount::empty(folder.path().join("config-maps/schemas"));
    let worker = Patient::start(&broker, &folder).await;
    worker.answers(503, "bed.pings: waiting for Secret login, ConfigMap schemas").await;
    worker.reports(&["ConfigMap schemas", "Secret login"], false).await;
    assert_eq!(get(worker.address, "/livez").await.unwrap().status, 200);
    let connected = broker.log().contains("routemq-bed.pings");
    assert!(!connected, "connected before all is there: {}", broker.log());
    schemas.replace(&[("other.json", "{}")]);
    worker.reports(&["ConfigMap schemas (key \"ping.json\")", "Secret login"], false).await;
    schemas.replace(&[("ping.json", "{\"type\": \"object\"}")]);
    worker.reports(&["Secret login"], false).await;
    login.replace(&[("username", "anybody")]);
    worker.answers(200, "ok").await;
    worker.reports(&[], false).await;
    answers(&broker).await;
    // Gone again: what runs goes on with what it has, and says so.
    login.replace(&[]);
    worker.reports(&["Secret login"], false).await;
    worker.answers(200, "ok").await;
    answers(&broker).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_wrong_from_the_start_is_reported_and_its_mended_version_runs() {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let folder = Directory::new("pod");
    let custom =
        ROUTES.replace("publish: {topic: pong, payload: \"'pong'\"}", "custom: {name: nowhere}");
    let mut table = Mount::new(folder.path().join("table"), &[("route.yaml", "kind: [")]);
    let _login = Mount::new(folder.path().join("secrets/login"), &[("username", "anybody")]);
    let _schemas = Mount::new(folder.path().join("config-maps/schemas"), &[("ping.json", "{}")]);
    let worker = Patient::start(&broker, &folder).await;
    worker.answers(503, "the documents: refused").await;
    worker.reports(&[], true).await;
    table.replace(&[("route.yaml", &custom)]);
    worker.answers(503, "no handler \"nowhere\" is registered").await;
    worker.reports(&[], true).await;
    table.replace(&[("route.yaml", ROUTES)]);
    worker.answers(200, "ok").await;
    worker.reports(&[], false).await;
    assert_eq!(worker.settings.report.watch().borrow().generation, Some(3));
    answers(&broker).await;
    table.replace(&[("route.yaml", &custom.replace("generation: 3", "generation: 4"))]);
    worker.reports(&[], true).await;
    worker.answers(200, "ok").await;
    answers(&broker).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(worker.settings.report.watch().borrow().generation, Some(3), "the one that runs");
    worker.stop().await;
}
