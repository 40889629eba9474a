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
//! - What a Secret says may change at any time: no worker stops for it.

mod database;
mod drain;
mod error;
mod loaded;
mod plan;
mod references;
mod route;
mod settings;
mod shares;
mod supervisor;

use std::{collections::BTreeMap, sync::Arc};

use routemq_crds::table::Table;

use self::route::RunningRoute;
use crate::{
    monitor::Monitor,
    report::Reporter,
    worker::{Summary, Totals},
};

pub(crate) use self::shares::distinct as distinct_shares;
pub use self::{
    error::RunError,
    loaded::{Loaded, Written},
    settings::{DatabaseAway, RunSettings},
};

/// What [`Running::apply`] did with one object.
#[derive(Debug)]
pub enum Change {
    /// It is new.
    Started,
    /// Its workers took up the new table, connected as they are.
    Swapped,
    /// Its connection changed: its workers were stopped and started again.
    Restarted,
    /// Its Secrets changed, and nothing else: its workers use them from now on, connected as they are.
    Renewed,
    /// It is no longer there.
    Stopped(Vec<Summary>),
    /// It refers to what is not there (`Secret fleet-login`); what ran goes on.
    Waiting(Vec<String>),
    /// It is wrong; what ran goes on.
    Refused(RunError),
}

/// Everything that runs. Dropping it leaves it running: call [`Running::stop`].
pub struct Running {
    settings: Arc<RunSettings>,
    routes: BTreeMap<String, RunningRoute>,
}

impl Running {
    /// Starts them all; returns when each is on its way. Workers connect in the background: see [`Self::settled`].
    ///
    /// # Errors
    /// The first object that is wrong; then nothing has been started.
    pub async fn start(loaded: Vec<Loaded>, settings: RunSettings) -> Result<Self, RunError> {
        check_slot(&loaded, settings.slot)?;
        let loaded = shares::share_out(loaded, settings.share.as_deref());
        let settings = Arc::new(settings);
        let mut prepared = Vec::new();
        for loaded in loaded {
            prepared.push((name_of(&loaded.table), route::prepare(loaded, &settings).await?));
        }
        let mut running = Self::idle_with(settings);
        running.routes = prepared.into_iter().map(|(name, it)| (name, it.start())).collect();
        running.settings.monitor.started();
        Ok(running)
    }

    /// Runs nothing yet: what [`Self::apply`] is given starts when all that it refers to is there.
    pub fn idle(settings: RunSettings) -> Self {
        Self::idle_with(Arc::new(settings))
    }

    fn idle_with(settings: Arc<RunSettings>) -> Self {
        let journal = settings.journal.clone();
        tokio::spawn(async move { journal.survived().await });
        Self { settings, routes: BTreeMap::new() }
    }

    /// Takes the documents as they are now: everything that ought to run. Gives what changed, by name.
    pub async fn apply(&mut self, loaded: Vec<Loaded>) -> Vec<(String, Change)> {
        let loaded = shares::share_out(loaded, self.settings.share.as_deref());
        let names: Vec<String> = loaded.iter().map(|it| name_of(&it.table)).collect();
        let mut changes = self.stop_others(&names).await;
        for (name, loaded) in names.into_iter().zip(loaded) {
            let change = Box::pin(self.apply_one(&name, loaded)).await;
            changes.extend(change.map(|change| (name, change)));
        }
        self.tell(&changes);
        changes
    }

    /// Not even the documents can be read: what runs goes on.
    pub fn refuse(&self, why: &str) {
        if self.routes.is_empty() {
            self.settings.monitor.waits("the documents", format!("refused: {why}"));
        }
        self.settings.report.set_refused_table(Some(why.to_owned()));
    }

    async fn stop_others(&mut self, names: &[String]) -> Vec<(String, Change)> {
        self.settings.monitor.keep(names);
        let mut changes = Vec::new();
        let gone: Vec<String> =
            self.routes.keys().filter(|name| !names.contains(name)).cloned().collect();
        for name in gone {
            if let Some(route) = self.routes.remove(&name) {
                changes.push((name, Change::Stopped(route.stop().await)));
            }
        }
        changes
    }

    async fn apply_one(&mut self, name: &str, loaded: Loaded) -> Option<Change> {
        let missing = references::missing(&loaded);
        if !missing.is_empty() {
            return Some(Change::Waiting(missing));
        }
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

    /// The monitor learns what does not run, the report what is missing or refused.
    fn tell(&self, changes: &[(String, Change)]) {
        let (mut missing, mut refused) = (Vec::new(), None);
        for (name, change) in changes {
            let why = match change {
                Change::Waiting(names) => {
                    missing.extend(names.iter().cloned());
                    format!("waiting for {}", names.join(", "))
                }
                Change::Refused(error) => {
                    let why = error.sentence();
                    refused.get_or_insert_with(|| why.clone());
                    format!("refused: {why}")
                }
                _ => continue,
            };
            if !self.routes.contains_key(name) {
                self.settings.monitor.waits(name, why);
            }
        }
        self.settings.report.set_missing(missing);
        self.settings.report.set_refused_table(refused);
        self.settings.monitor.started();
    }

    /// Waits until every worker holds every filter of its table: from now on nothing that is published is missed.
    pub async fn settled(&self) {
        futures::future::join_all(self.routes.values().map(RunningRoute::settled)).await;
    }

    /// What is known of what runs, for metrics and probes.
    pub fn monitor(&self) -> &Monitor {
        &self.settings.monitor
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

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("routes", &self.routes.keys()).finish_non_exhaustive()
    }
}
