//! Runs every worker of a set of `MqttRoute`s in one process: what `routemq run`, `routemq dev` and a worker built in
//! code call.
//!
//! # Flow
//! 1. Each object's engine is built; what is wrong with the input is told before anything connects.
//! 2. Each object then goes its own way, so that none waits for another: its database answers, then its publisher and
//!    its workers connect (connect last, design 6.6).
//! 3. [`Running::apply`] takes changed documents: swaps tables, starts and stops workers.
//! 4. [`Running::stop`] drains all of them at once.
//!
//! # Guarantees
//! - A database or broker that is away is waited for, with a log line, for as long as it takes.
//! - A changed document that is wrong leaves the running one as it is.

mod database;
mod plan;
mod route;
mod supervisor;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use routemq_crds::{problem::Problem, table::Table, v1alpha1::MqttRoute};
use routemq_mqtt::Credentials;
use url::Url;

use self::route::RunningRoute;
use crate::{
    config::Settings,
    database::DatabaseError,
    journal::Journal,
    monitor::Monitor,
    registry::Registry,
    report::Reporter,
    secrets::{SecretError, Secrets},
    slot::{ClientIdError, Leased},
    worker::{Observer, Summary, Totals},
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

/// A `MqttRoute` that compiled, and what it refers to.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// As written: an object that did not change is left alone by [`Running::apply`].
    pub object: MqttRoute,
    /// Compiled.
    pub table: Table,
    /// The Secrets and ConfigMaps of its namespace.
    pub secrets: Secrets,
}

/// Why nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The spec asks for something that this process does not have.
    #[error("{name}: {}", listed(.problems))]
    Problems {
        /// `<namespace>.<name>`.
        name: String,
        /// All of them.
        problems: Vec<Problem>,
    },
    /// `spec.broker.url` is none.
    #[error(
        "{name}: spec.broker.url: {url:?} is not a broker's URL; write mqtt://host:1883 or mqtts://host:8883"
    )]
    Broker {
        /// `<namespace>.<name>`.
        name: String,
        /// As written.
        url: String,
    },
    /// A Secret that the connection needs is not there.
    #[error("{name}: {field}")]
    Secret {
        /// `<namespace>.<name>`.
        name: String,
        /// Which reference.
        field: &'static str,
        /// What was looked for.
        #[source]
        source: SecretError,
    },
    /// The database cannot be used.
    #[error("{name}")]
    Database {
        /// `<namespace>.<name>`.
        name: String,
        /// Why.
        #[source]
        source: DatabaseError,
    },
    /// `--slot` names a slot that no `MqttRoute` has.
    #[error(
        "slot {slot} does not exist: the MqttRoutes have at most {most} workers, numbered from 0; raise workerCount or choose a lower slot"
    )]
    Slot {
        /// As given.
        slot: u32,
        /// The highest `workerCount`.
        most: u32,
    },
    /// No client id can be made.
    #[error(transparent)]
    ClientId(#[from] ClientIdError),
}

/// What [`Running::apply`] did with one object.
#[derive(Debug)]
pub enum Change {
    /// It is new.
    Started,
    /// Its workers took up the new table, connected as they are.
    Swapped,
    /// Its connection changed: its workers were stopped and started again.
    Restarted,
    /// It is no longer there.
    Stopped(Vec<Summary>),
    /// It is wrong; what ran goes on.
    Refused(RunError),
}

/// Everything that runs. Dropping it leaves it running: call [`Running::stop`].
pub struct Running {
    settings: Arc<RunSettings>,
    routes: BTreeMap<String, RunningRoute>,
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

impl RunError {
    /// Whether the input is wrong (exit code 1), not the outside world (3).
    pub fn is_input(&self) -> bool {
        match self {
            Self::Database { source, .. } => matches!(source, DatabaseError::Url { .. }),
            _ => true,
        }
    }
}

impl Running {
    /// Starts them all; returns when each is on its way. Workers connect in the background: see [`Self::settled`].
    ///
    /// # Errors
    /// The first object that is wrong; then nothing has been started.
    pub async fn start(loaded: Vec<Loaded>, settings: RunSettings) -> Result<Self, RunError> {
        check_slot(&loaded, settings.slot)?;
        let loaded = plan::share_out(loaded, settings.share.as_deref());
        let settings = Arc::new(settings);
        let mut prepared = Vec::new();
        for loaded in loaded {
            prepared.push((name_of(&loaded.table), route::prepare(loaded, &settings).await?));
        }
        let routes = prepared.into_iter().map(|(name, it)| (name, it.start())).collect();
        settings.monitor.started();
        let journal = settings.journal.clone();
        tokio::spawn(async move { journal.survived().await });
        Ok(Self { settings, routes })
    }

    /// Takes the documents as they are now: everything that ought to run. Gives what changed, by name.
    pub async fn apply(&mut self, loaded: Vec<Loaded>) -> Vec<(String, Change)> {
        let loaded = plan::share_out(loaded, self.settings.share.as_deref());
        let mut changes = Vec::new();
        let names: Vec<String> = loaded.iter().map(|it| name_of(&it.table)).collect();
        let gone: Vec<String> =
            self.routes.keys().filter(|name| !names.contains(name)).cloned().collect();
        for name in gone {
            if let Some(route) = self.routes.remove(&name) {
                self.settings.monitor.forget(&name);
                changes.push((name, Change::Stopped(route.stop().await)));
            }
        }
        for (name, loaded) in names.into_iter().zip(loaded) {
            let change = Box::pin(self.apply_one(&name, loaded)).await;
            changes.extend(change.map(|change| (name, change)));
        }
        changes
    }

    async fn apply_one(&mut self, name: &str, loaded: Loaded) -> Option<Change> {
        if let Some(running) = self.routes.get_mut(name) {
            return running.apply(loaded).await;
        }
        match route::prepare(loaded, &self.settings).await {
            Ok(prepared) => {
                self.routes.insert(name.to_owned(), prepared.start());
                Some(Change::Started)
            }
            Err(error) => Some(Change::Refused(error)),
        }
    }

    /// Waits until every worker holds every filter of its table: from now on nothing that is published is missed.
    pub async fn settled(&self) {
        futures::future::join_all(self.routes.values().map(RunningRoute::settled)).await;
    }

    /// What this process reports: connection, filters, what is missing or at less than promised.
    pub fn report(&self) -> &Reporter {
        &self.settings.report
    }

    /// Stops all of them at once: what runs is finished within [`RunSettings::drain`], acknowledged, and the
    /// sessions are left with the broker (durable) or ended (ephemeral).
    pub async fn stop(self) -> Vec<Summary> {
        self.settings.monitor.stopping();
        let stopped = self.routes.into_values().map(RunningRoute::stop);
        let summaries = futures::future::join_all(stopped).await.concat();
        // Only now: a route whose connection changes stops and starts again in the same slot.
        if let Some(lease) = &self.settings.lease {
            lease.release().await;
        }
        self.settings.journal.close();
        summaries
    }
}

/// Runs until `stop` resolves, then drains; returns what was done. For a second signal, drop the future.
///
/// # Errors
/// See [`Running::start`].
pub async fn run(
    loaded: Vec<Loaded>,
    settings: RunSettings,
    stop: impl Future<Output = ()>,
) -> Result<Vec<Summary>, RunError> {
    let running = Running::start(loaded, settings).await?;
    stop.await;
    tracing::info!("stopping: finishing what runs");
    Ok(running.stop().await)
}

/// All workers together.
pub fn totals(summaries: &[Summary]) -> Totals {
    let mut totals = Totals::default();
    for summary in summaries {
        totals += &summary.totals;
    }
    totals
}

fn name_of(table: &Table) -> String {
    format!("{}.{}", table.namespace, table.name)
}

fn check_slot(loaded: &[Loaded], slot: Option<u32>) -> Result<(), RunError> {
    let most = loaded.iter().map(|it| plan::worker_count(&it.table)).max().unwrap_or(0);
    match slot {
        Some(slot) if slot >= most => Err(RunError::Slot { slot, most }),
        _ => Ok(()),
    }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
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

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("routes", &self.routes.keys()).finish_non_exhaustive()
    }
}
