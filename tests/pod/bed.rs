//! A broker, a database, and a worker that is asked over HTTP.

use std::{net::SocketAddr, time::Duration};

use routemq_tests::{
    Answer, Client, Database, Mosquitto, WorkerConfig, WorkerProcess, ensure, eventually,
    free_port, get,
};
use tokio::{sync::watch, task::JoinHandle};

/// What starting, reconnecting and draining may take on a busy machine of two cores.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// `routemq run --listen`.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) process: WorkerProcess,
    address: SocketAddr,
}

impl Pod {
    pub(crate) fn run(config: &WorkerConfig) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut config = config.clone();
        config.arguments.extend(["--listen".to_owned(), address.to_string()]);
        Self { process: WorkerProcess::run(&config), address }
    }

    /// One question; fails the test only where the caller does.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, String> {
        get(self.address, path).await
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn ready(&self) {
        self.answers("/readyz", 200, "ok").await;
    }

    /// Waits until the answer has this status and these words.
    pub(crate) async fn answers(&self, path: &str, status: u16, words: &str) -> Answer {
        eventually(&format!("{path} answers {status} {words:?}"), PATIENCE, async || {
            let answer = self.get(path).await?;
            let fits = answer.status == status && answer.body.contains(words);
            ensure(fits, || format!("{answer:?}\n{}", self.process.output()))?;
            Ok::<_, String>(answer)
        })
        .await
    }
}

/// What `routemq run` needs to know of the world.
pub(crate) fn config(
    routes: &str,
    broker: &Mosquitto,
    database: Option<&Database>,
) -> WorkerConfig {
    WorkerConfig {
        routes: routes.to_owned(),
        broker: Some(broker.url()),
        database: database.map(Database::url),
        ..WorkerConfig::default()
    }
}

/// A publisher that goes on until it is told to stop: about 1,000 messages a second to `readings/d-<0 to 9>/<number>`.
#[derive(Debug)]
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    task: JoinHandle<usize>,
}

impl Load {
    pub(crate) fn start(mut client: Client) -> Self {
        let stop = watch::Sender::new(false);
        let stopped = stop.subscribe();
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            let mut published = 0;
            while !*stopped.borrow() {
                tick.tick().await;
                let messages = published..published + 20;
                let topics = messages.map(|n| (format!("readings/d-{}/{n}", n % 10), "{}"));
                client.publish_all(topics, 20).await;
                published += 20;
            }
            published
        });
        Self { stop, task }
    }

    /// Stops, and says how many messages the broker has acknowledged.
    pub(crate) async fn finish(self) -> usize {
        assert!(!self.task.is_finished(), "the publisher failed");
        self.stop.send_replace(true);
        self.task.await.expect("the publisher finishes")
    }
}
