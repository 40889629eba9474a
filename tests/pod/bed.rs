//! A broker, a database, and a worker that is asked over HTTP.

use std::{net::SocketAddr, time::Duration};

use routemq_tests::{
    Answer, Database, Mosquitto, WorkerConfig, WorkerProcess, ensure, eventually, free_port, get,
};

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
