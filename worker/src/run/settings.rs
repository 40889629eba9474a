//! What a process gives to everything that it runs.

use std::{sync::Arc, time::Duration};

use routemq_mqtt::Credentials;
use url::Url;

use crate::{
    config::Settings, journal::Journal, monitor::Monitor, registry::Registry, report::Reporter,
    slot::Leased, worker::Observer,
};

/// What the process gives to every `MqttRoute`.
#[derive(Clone)]
pub struct RunSettings {
    /// The broker of specs that name none.
    pub broker: Url,
    /// The login where a spec names no Secret.
    pub credentials: Credentials,
    /// What every client id begins with.
    pub client_id: String,
    /// The share name of specs that name none; `None`: each its own, `<namespace>.<name>`.
    pub share: Option<String>,
    /// The database URL of specs that name none.
    pub database: Option<String>,
    /// Only this slot of each `MqttRoute`, because other processes run the others.
    pub slot: Option<u32>,
    /// How long a stop lets handlers finish.
    pub drain: Duration,
    /// Custom handlers, middleware and their state.
    pub registry: Registry,
    /// Knows what runs, for metrics and probes.
    pub monitor: Monitor,
    /// Sees every message whose outcome is final.
    pub observer: Option<Arc<dyn Observer>>,
    /// What happens where the database does not answer at the start.
    pub database_away: DatabaseAway,
    /// Whether missing tables are created (SQLite only).
    pub create_tables: bool,
    /// The slot that is leased to this process; `None`: slots are its own (all of them, or [`Self::slot`]).
    pub lease: Option<Leased>,
    /// Finds a message that kills the process; [`Journal::default`] does not look for one.
    pub journal: Journal,
    /// Keeps the report of this process; those who know more than the workers set it here.
    pub report: Reporter,
}

/// What happens where a database does not answer at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseAway {
    /// It is waited for; meanwhile nothing is subscribed.
    Wait,
    /// The start fails.
    Fail,
}

impl RunSettings {
    /// All workers of each object, connecting to `broker` without a login; nothing custom, no database; waits for a
    /// database that is away, and drains for 30 s.
    pub fn new(broker: Url) -> Self {
        Self {
            broker,
            credentials: Credentials::None,
            client_id: "routemq".to_owned(),
            share: None,
            database: None,
            slot: None,
            drain: Duration::from_secs(30),
            registry: Registry::new(),
            monitor: Monitor::default(),
            observer: None,
            database_away: DatabaseAway::Wait,
            create_tables: false,
            lease: None,
            journal: Journal::default(),
            report: Reporter::default(),
        }
    }
}

impl From<Settings> for RunSettings {
    fn from(settings: Settings) -> Self {
        Self {
            credentials: settings.credentials,
            client_id: settings.client_id,
            share: settings.share,
            database: settings.database.map(|database| database.url),
            ..Self::new(settings.broker)
        }
    }
}

// === Debug without the observer ===

impl std::fmt::Debug for RunSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunSettings")
            .field("client_id", &self.client_id)
            .field("slot", &self.slot)
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}
