//! What an engine is given.

use std::sync::Arc;

use crate::{
    database::Database, health::Health, journal::Journal, outbox::Outbox, secrets::Secrets,
};

/// What an engine works with.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Where handlers and dead letters publish to.
    pub outbox: Outbox,
    /// Secrets and ConfigMaps that the table refers to.
    pub secrets: Secrets,
    /// Where `sql` handlers write to.
    pub database: Option<Database>,
    /// Where it is told what messages are held for.
    pub health: Health,
    /// The worker's name, in dead letters.
    pub worker: Arc<str>,
    /// Finds a message that kills the process.
    pub journal: Journal,
}

impl Resources {
    /// Resources without secrets and without a database.
    pub fn new(outbox: Outbox) -> Self {
        Self {
            outbox,
            secrets: Secrets::default(),
            database: None,
            health: Health::default(),
            worker: Arc::from("worker"),
            journal: Journal::default(),
        }
    }

    /// With these secrets.
    #[must_use]
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// With this database.
    #[must_use]
    pub fn with_database(self, database: Database) -> Self {
        Self { database: Some(database), ..self }
    }

    /// With this health, for instance the one of the table before.
    #[must_use]
    pub fn with_health(self, health: Health) -> Self {
        Self { health, ..self }
    }

    /// With this journal of crashes.
    #[must_use]
    pub fn with_journal(self, journal: Journal) -> Self {
        Self { journal, ..self }
    }

    /// With this worker's name.
    #[must_use]
    pub fn with_worker(self, worker: impl Into<Arc<str>>) -> Self {
        Self { worker: worker.into(), ..self }
    }
}
