//! Everything that runs: broker, database, slots. Each can be met by one fault at a time.

use std::sync::Arc;

use routemq_tests::{Broker, MariaDb, Mosquitto, MosquittoConfig, WorkerConfig};
use tokio::sync::Mutex;

use crate::{
    cluster::Cluster,
    options::{BrokerKind, Control, Options},
    slot::Slot,
    witness::Witness,
};

/// `attempts` counts every time that a message is handled; `effects` has room for one row a message.
const TABLES: &str = "CREATE TABLE attempts (seq BIGINT AUTO_INCREMENT PRIMARY KEY, id BIGINT NOT NULL);\
    CREATE TABLE effects (id BIGINT PRIMARY KEY, value BIGINT NOT NULL)";

/// Messages are spread over so many keys.
pub(crate) const KEYS: u16 = 50;

/// The bed. Who holds a lock makes a fault.
#[derive(Clone, Debug)]
pub(crate) struct Bed {
    pub(crate) broker: Arc<Mutex<Broker>>,
    pub(crate) database: Arc<Mutex<MariaDb>>,
    pub(crate) slots: Vec<Arc<Mutex<Slot>>>,
    /// In Lease mode.
    pub(crate) cluster: Option<Arc<Mutex<Cluster>>>,
    pub(crate) database_url: String,
    pub(crate) broker_address: std::net::SocketAddr,
}

impl Bed {
    /// Starts broker, database and proxies; no worker yet.
    pub(crate) async fn start(
        options: &Options,
        broker: Broker,
        database: MariaDb,
        witness: &Witness,
    ) -> Self {
        database.rows().execute(TABLES).await;
        let database_url = database.url();
        let config = WorkerConfig {
            routes: routes(options, 0),
            database: Some(database_url.clone()),
            // Each its own.
            slot: (!options.leases).then_some(0),
            ..WorkerConfig::default()
        };
        let cluster = if options.leases {
            Some(Arc::new(Mutex::new(Cluster::start(options.workers).await)))
        } else {
            None
        };
        let broker_address = broker.address();
        let mut slots = Vec::new();
        for number in 0..=options.workers {
            let slot = Slot::new(number, broker_address, witness, &config, options.control).await;
            slots.push(Arc::new(Mutex::new(slot)));
        }
        let (broker, database) = (Arc::new(Mutex::new(broker)), Arc::new(Mutex::new(database)));
        Self { broker, database, slots, cluster, database_url, broker_address }
    }

    /// Starts the process of a slot; in Lease mode as the pod whose seat it has.
    pub(crate) async fn start_process(&self, slot: &mut Slot) {
        if let Some(cluster) = &self.cluster {
            slot.become_pod(cluster.lock().await.sit_down(slot.number).await);
        }
        slot.start();
    }

    /// One that keeps everything it accepted: a mosquitto as long as it ends in good order, an rmqtt as long as it runs.
    pub(crate) async fn broker(kind: BrokerKind) -> Broker {
        match kind {
            BrokerKind::Mosquitto => {
                Broker::Mosquitto(Mosquitto::start(MosquittoConfig::recent()).await)
            }
            BrokerKind::Rmqtt => Broker::rmqtt().await,
        }
    }
}

/// The documents, in their `version`th form: rollouts add a route that gets nothing, and take it away again.
pub(crate) fn routes(options: &Options, version: u32) -> String {
    let session = match options.control {
        Some(Control::RandomClientIds) => "Ephemeral",
        _ => "Durable",
    };
    let when = match options.control {
        Some(Control::SkipEffects) => "          when: \"params.id % 1000 != 0\"\n",
        Some(Control::LateEffects) => "          when: \"false\"\n",
        _ => "",
    };
    let more = if version.is_multiple_of(2) {
        ""
    } else {
        "    - {name: more, topic: \"elsewhere/{key}\", handlers: [{log: {}}]}\n"
    };
    format!(
        "apiVersion: routemq.io/v1alpha1\n\
         kind: MqttRoute\n\
         metadata: {{name: soak, namespace: bed}}\n\
         spec:\n\
         \x20 workerCount: {}\n\
         \x20 delivery: {{session: {session}, receiveMaximum: {}, orderBy: params.key}}\n\
         \x20 routes:\n\
         {more}\
         \x20   - name: reading\n\
         \x20     topic: \"soak/{{key}}/{{id:int}}\"\n\
         \x20     handlers:\n\
         \x20       - sql: {{table: attempts, columns: {{id: params.id}}}}\n\
         \x20       - sql: {{table: effects, key: [id], onConflict: Ignore, columns: {{id: params.id, value: payload.value}}}}\n\
         {when}",
        options.workers + 1,
        options.receive_maximum,
    )
}
