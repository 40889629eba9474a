//! A broker, workers of this process, and a tally of what they did.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use routemq_crds::document::Documents;
use routemq_tests::{Broker, Mosquitto, MosquittoConfig, ensure, eventually};
use routemq_worker::{
    Message, Registry, Secrets,
    extract::Config,
    run::{Loaded, RunSettings, Running},
    worker::{Observer, Record},
};

/// What connecting, draining and settling may take on a busy machine of two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One handled message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) slot: u32,
    pub(crate) route: String,
    pub(crate) topic: String,
    pub(crate) payload: String,
}

/// Everything that was handled, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Observer for Tally {
    fn finished(&self, record: &Record<'_>) {
        assert_eq!(record.ended.outcome.label(), "done");
        let payload = String::from_utf8_lossy(record.message.original_payload()).into_owned();
        self.seen.lock().unwrap().push(Seen {
            slot: record.worker.slot,
            route: record.message.route().to_string(),
            topic: record.message.topic().to_owned(),
            payload,
        });
    }
}

impl Tally {
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How often each payload was handled.
    pub(crate) fn times(&self) -> BTreeMap<String, usize> {
        let mut times = BTreeMap::new();
        for seen in self.all() {
            *times.entry(seen.payload).or_default() += 1;
        }
        times
    }

    /// Waits until `count` different payloads were handled.
    pub(crate) async fn reaches(&self, count: usize) {
        eventually("every message is handled", PATIENCE, async || {
            let seen = self.times().len();
            ensure(seen >= count, || format!("{seen} of {count}"))
        })
        .await;
    }

    /// Panics where a payload was handled more than once.
    pub(crate) fn each_once(&self, count: usize) {
        let times = self.times();
        assert_eq!(times.len(), count, "lost messages");
        let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{} handled more than once: {twice:?}", twice.len());
    }

    /// Messages by worker.
    pub(crate) fn by_slot(&self) -> BTreeMap<u32, usize> {
        let mut slots = BTreeMap::new();
        for seen in self.all() {
            *slots.entry(seen.slot).or_default() += 1;
        }
        slots
    }

    /// Payloads, as numbers, in the order in which those of a topic were handled first.
    pub(crate) fn order_by_topic(&self) -> BTreeMap<String, Vec<u32>> {
        let mut topics: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for seen in self.all() {
            let order = topics.entry(seen.topic).or_default();
            let number = seen.payload.parse().unwrap();
            if !order.contains(&number) {
                order.push(number);
            }
        }
        topics
    }
}

/// A mosquitto, and what is run against it.
pub(crate) struct Bed {
    pub(crate) broker: Broker,
    pub(crate) tally: Tally,
}

impl Bed {
    pub(crate) async fn start() -> Self {
        Self::with(MosquittoConfig::default()).await
    }

    pub(crate) async fn with(config: MosquittoConfig) -> Self {
        Self::on(Broker::Mosquitto(Mosquitto::start(config).await))
    }

    pub(crate) fn on(broker: Broker) -> Self {
        Self { broker, tally: Tally::default() }
    }

    pub(crate) fn settings(&self) -> RunSettings {
        self.settings_through(&self.broker.url())
    }

    /// Connecting elsewhere than to the broker itself.
    pub(crate) fn settings_through(&self, url: &str) -> RunSettings {
        RunSettings {
            client_id: "test".to_owned(),
            drain: Duration::from_secs(10),
            registry: Registry::new().handler("work", work),
            observer: Some(Arc::new(self.tally.clone())),
            ..RunSettings::new(url.parse().unwrap())
        }
    }

    /// Starts what `yaml` says, and waits until every filter is held.
    pub(crate) async fn run(&self, yaml: &str) -> Running {
        self.run_with(yaml, self.settings()).await
    }

    pub(crate) async fn run_with(&self, yaml: &str, settings: RunSettings) -> Running {
        let running = Running::start(load(yaml), settings).await.unwrap();
        settled(&running).await;
        running
    }

    /// Waits until the broker keeps so many sessions of workers.
    pub(crate) async fn sessions_are(&self, count: usize) {
        eventually("sessions of slots that are no more have ended", PATIENCE, async || {
            // With workers comes their publisher, and maybe the client that asks.
            let others = usize::from(count > 0);
            let sessions: usize = self.broker.sys("clients/total").await.parse().unwrap();
            ensure((count + others..=count + others + 1).contains(&sessions), || {
                format!("{sessions} sessions")
            })
        })
        .await;
    }

    /// Publishes `numbers`, each the payload of a message, spread over the topics `<prefix>/0` … `<prefix>/9`.
    pub(crate) async fn publish(&self, prefix: &str, numbers: std::ops::Range<u32>) {
        let mut client = self.broker.client(&format!("publisher-{}", fastrand::u32(..))).await;
        let message = |n: u32| (format!("{prefix}/{}", n % 10), n.to_string());
        client.publish_all(numbers.map(message), 200).await;
        client.disconnect().await;
    }
}

/// Waits until every filter is held.
pub(crate) async fn settled(running: &Running) {
    tokio::time::timeout(PATIENCE, running.settled()).await.expect("the workers do not settle");
}

/// The custom handler `work`: takes as long as its config says.
async fn work(_message: Message, Config(config): Config<serde_json::Value>) {
    if let Some(milliseconds) = config["milliseconds"].as_u64() {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

/// Reads and compiles.
pub(crate) fn load(yaml: &str) -> Vec<Loaded> {
    let documents = Documents::parse("test.yaml", yaml).unwrap();
    let tables = documents.compile().unwrap();
    let loaded = documents.routes.iter().zip(tables).map(|(route, table)| Loaded {
        written: (&route.object).into(),
        table: table.object,
        secrets: Secrets::default(),
    });
    loaded.collect()
}

/// An `MqttRoute` with these routes (name, topic, milliseconds of work).
pub(crate) fn yaml(workers: u32, delivery: &str, routes: &[(&str, &str, u32)]) -> String {
    let mut text = format!(
        "apiVersion: routemq.io/v1alpha1\nkind: MqttRoute\nmetadata: {{name: devices, namespace: fleet}}\n\
         spec:\n  workerCount: {workers}\n  delivery: {{{delivery}}}\n  routes:\n"
    );
    for (name, topic, milliseconds) in routes {
        let _ = writeln!(
            text,
            "    - {{name: {name}, topic: \"{topic}\", handlers: [{{custom: {{name: work, config: {{milliseconds: {milliseconds}}}}}}}]}}"
        );
    }
    text
}
