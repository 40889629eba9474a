//! A broker, a ledger before it, a database, and the route that most suites use.

mod ledger;

use std::time::Duration;

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    Broker, Client, Database, Mosquitto, MosquittoConfig, Proxy, Rows, WorkerConfig, WorkerProcess,
    ensure, eventually,
};

pub use ledger::{Entry, Ledger};

/// The table of [`readings`]: not unique, so that a message handled twice is two rows.
pub const TABLE: &str = "CREATE TABLE readings (id BIGINT NOT NULL, device VARCHAR(40) NOT NULL, value DOUBLE PRECISION NOT NULL)";

/// What starting, reconnecting and draining may take on a busy machine of two cores.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// See [`Bed::all_handled`].
const FEW: usize = 3;

/// Everything but the workers.
#[derive(Debug)]
pub struct Bed {
    /// Messages are published to it directly.
    pub broker: Broker,
    /// Workers connect through it.
    pub proxy: Proxy,
    /// What the proxy saw.
    pub ledger: Ledger,
    /// Where rows go.
    pub database: Database,
}

impl Bed {
    /// With an empty table of [`TABLE`].
    pub async fn start(database: Database) -> Self {
        Self::start_with(database, MosquittoConfig::default()).await
    }

    /// The same with a mosquitto of some kind.
    pub async fn start_with(database: Database, broker: MosquittoConfig) -> Self {
        Self::start_on(Broker::Mosquitto(Mosquitto::start(broker).await), database).await
    }

    /// The same on this broker.
    pub async fn start_on(broker: Broker, database: Database) -> Self {
        let ledger = Ledger::default();
        let proxy = Proxy::tapped(broker.address(), ledger.watch()).await;
        database.rows().execute(TABLE).await;
        Self { broker, proxy, ledger, database }
    }

    /// What `routemq run` needs to know of it.
    pub fn config(&self, routes: &str) -> WorkerConfig {
        WorkerConfig {
            routes: routes.to_owned(),
            broker: Some(self.proxy.url()),
            database: Some(self.database.url()),
            ..WorkerConfig::default()
        }
    }

    /// Starts `routemq run` and waits until `workers` more connections are subscribed.
    pub async fn run(&self, routes: &str, workers: usize) -> WorkerProcess {
        let before = self.ledger.subscribed();
        let mut process = WorkerProcess::run(&self.config(routes));
        self.subscribed(before + workers, &mut process).await;
        process
    }

    /// Waits until that many connections were granted a subscription, over all the test.
    pub async fn subscribed(&self, connections: usize, process: &mut WorkerProcess) {
        eventually("the workers subscribe", PATIENCE, async || {
            if let Some(status) = process.process().exit_status() {
                panic!("routemq ended with {status}:\n{}", process.output());
            }
            let subscribed = self.ledger.subscribed();
            ensure(subscribed >= connections, || {
                format!("{subscribed} of {connections}\n{}", process.output())
            })
        })
        .await;
    }

    /// A client that knows nothing of the proxy.
    pub async fn client(&self, client_id: &str) -> Client {
        self.broker.client(client_id).await
    }

    /// The accountant's connection.
    pub fn rows(&self) -> &Rows {
        self.database.rows()
    }

    /// Waits until `expected` different messages are in the table.
    pub async fn distinct_rows(&self, expected: usize) {
        let expected = i64::try_from(expected).expect("a test counts no further");
        eventually("every message has its row", PATIENCE, async || {
            let distinct = self.rows().count("SELECT COUNT(DISTINCT id) FROM readings").await;
            ensure(distinct == expected, || format!("{distinct} of {expected}"))
        })
        .await;
    }

    /// Waits until every message has its row and its acknowledgement; gives how many have. On a mosquitto those are all. An rmqtt
    /// may lose what it deals to a member in the moment in which that member dies: at most `deaths` times a few, and it
    /// never sends them to anybody.
    pub async fn all_handled(&self, messages: usize, deaths: usize) -> usize {
        let lost = if self.broker.is_mosquitto() { 0 } else { FEW * deaths };
        loop {
            let handled = self.handled(messages - lost).await;
            // What is queued may be on its way still.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let sent = self.ledger.count("readings/", |entry| !entry.sent.is_empty());
            if handled == messages || sent == handled {
                println!("{} of {messages} were never sent by the broker", messages - handled);
                return handled;
            }
        }
    }

    /// Waits until at least so many messages were sent to a worker, and all of those have their row and are acknowledged.
    async fn handled(&self, least: usize) -> usize {
        eventually("every message that the broker sent is handled", PATIENCE, async || {
            let sent = self.ledger.count("readings/", |entry| !entry.sent.is_empty());
            let rows = self.rows().count("SELECT COUNT(DISTINCT id) FROM readings").await;
            let seen = (rows, self.acknowledged());
            let wanted = (i64::try_from(sent).unwrap_or(i64::MAX), sent);
            ensure(sent >= least && seen == wanted, || {
                format!("{sent} sent (of at least {least}), {seen:?} rows and acknowledgements")
            })?;
            Ok::<_, String>(sent)
        })
        .await
    }

    /// How many rows the table has, doubles included.
    pub async fn row_count(&self) -> usize {
        let rows = self.rows().count("SELECT COUNT(*) FROM readings").await;
        usize::try_from(rows).expect("a count is not negative")
    }

    /// How many messages the workers have acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.ledger.count("readings/", |entry| !entry.acknowledged.is_empty())
    }

    /// Waits until the workers have acknowledged at least that many messages.
    pub async fn reaches(&self, target: usize) {
        eventually("messages are handled", PATIENCE, async || {
            let done = self.acknowledged();
            ensure(done >= target, || format!("{done} of {target}"))
        })
        .await;
    }

    /// Waits until every message of `prefix` that was sent to a worker has been acknowledged by one.
    pub async fn all_acknowledged(&self, prefix: &str, expected: usize) {
        eventually("every message is acknowledged", PATIENCE, async || {
            let done = self.ledger.count(prefix, |entry| !entry.acknowledged.is_empty());
            ensure(done == expected, || format!("{done} of {expected}"))
        })
        .await;
    }
}

/// A publisher that goes on until it is told to stop: about 1,000 messages a second.
#[derive(Debug)]
pub struct Load {
    stop: watch::Sender<bool>,
    task: JoinHandle<usize>,
}

impl Load {
    /// [`messages`] from 0 on.
    pub fn start(mut client: Client) -> Self {
        let stop = watch::Sender::new(false);
        let stopped = stop.subscribe();
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            let mut published = 0;
            while !*stopped.borrow() {
                tick.tick().await;
                client.publish_all(messages(published..published + 20), 20).await;
                published += 20;
            }
            published
        });
        Self { stop, task }
    }

    /// Stops, and says how many messages the broker has acknowledged.
    pub async fn finish(self) -> usize {
        assert!(!self.task.is_finished(), "the publisher failed");
        self.stop.send_replace(true);
        self.task.await.expect("the publisher finishes")
    }
}

/// `readings/{device}/{id}` to a row, with these lines in `spec`.
pub fn readings(spec: &str) -> String {
    format!(
        "apiVersion: routemq.io/v1alpha1\n\
         kind: MqttRoute\n\
         metadata: {{name: readings, namespace: bed}}\n\
         spec:\n{spec}\
         \x20 routes:\n\
         \x20   - name: reading\n\
         \x20     topic: \"readings/{{device}}/{{id:int}}\"\n\
         \x20     handlers:\n\
         \x20       - sql:\n\
         \x20           table: readings\n\
         \x20           columns: {{id: params.id, device: params.device, value: payload.value}}\n"
    )
}

/// Messages for [`readings`], numbered, over ten devices.
pub fn messages(numbers: std::ops::Range<usize>) -> impl Iterator<Item = (String, String)> + Send {
    numbers.map(|n| (format!("readings/d-{}/{n}", n % 10), format!("{{\"value\": {n}.5}}")))
}
