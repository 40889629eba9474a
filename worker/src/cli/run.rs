//! `routemq run`: the same engine against a real broker and database.

use std::{
    collections::BTreeMap, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration,
};

use clap::Args;
use routemq_crds::{document::Documents, table::Table};
use routemq_worker::{
    Secrets,
    config::Settings,
    http::Probes,
    journal::Journal,
    logging,
    monitor::Monitor,
    run::{Loaded, RunError, RunSettings, Running, totals},
    worker::Summary,
};

#[cfg(feature = "kubernetes")]
use routemq_worker::slot::lease;

use super::{Ended, documents, failure::Failure, settings, signals::Signals};

/// Runs MqttRoutes against a real broker and database: what worker pods run.
///
/// The broker, login, share name and database that a spec leaves out come from the environment and .env.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: MQTT_BROKER=broker.example.org DATABASE_URL=mysql://user:password@db/fleet routemq run routes/\n\n\
    Variables: MQTT_BROKER MQTT_PORT MQTT_USERNAME MQTT_PASSWORD MQTT_CLIENT_ID MQTT_GROUP_NAME DATABASE_URL ENABLE_MYSQL\n  \
    DB_HOST DB_PORT DB_NAME DB_USER DB_PASS LOG_LEVEL LOG_FORMAT\n\n\
    Exit codes: 0 drained after SIGTERM or Ctrl-C, 1 the input is wrong, 3 the outside world failed, 130 ended by a second signal."
)]
pub(crate) struct Run {
    /// Files and folders of MqttRoutes, Secrets and ConfigMaps
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only this worker of each MqttRoute, so that several processes share the work as pods do
    #[arg(long, value_name = "I")]
    slot: Option<u32>,
    /// Takes one slot of those that this file names, each a Lease of the cluster: what worker pods do
    #[cfg(feature = "kubernetes")]
    #[arg(long, value_name = "FILE", conflicts_with = "slot")]
    slots: Option<PathBuf>,
    /// A folder per Secret or ConfigMap, a file per key, as Kubernetes mounts them
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// Keeps a journal of crashes there, so that a message that kills the process again and again becomes a dead letter
    #[arg(long, value_name = "DIR", env = "ROUTEMQ_SCRATCH")]
    scratch: Option<PathBuf>,
    /// Serves /metrics, /livez and /readyz here, for example 0.0.0.0:9090 [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// How long a stop lets handlers finish
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain: u64,
}

impl Run {
    pub(crate) async fn execute(self) -> Ended {
        let settings = settings()?;
        logging::start(&settings.log);
        let mut signals = Signals::listen()?;
        let monitor = Monitor::default();
        let _probes = self.probes(&monitor).await?;
        let loaded = self.load()?;
        distinct_shares(&loaded, settings.share.as_deref())?;
        let settings = self.leased(&loaded, self.run_settings(settings, monitor)).await?;
        let running = Running::start(loaded, settings).await;
        let running = running.map_err(|error| failed(&error))?;
        signals.next().await;
        tracing::info!("stopping: finishing what runs; a second signal ends at once");
        tokio::select! {
            summaries = running.stop() => {
                say(&summaries);
                Ok(ExitCode::SUCCESS)
            }
            () = signals.next() => Ok(ExitCode::from(130)),
        }
    }

    fn load(&self) -> Result<Vec<Loaded>, Failure> {
        let documents = documents::checked(&self.paths)?;
        documents::not_empty(&documents, &self.paths)?;
        for note in &documents.notes {
            tracing::info!("{note}");
        }
        let tables = documents.compile().map_err(|problems| documents::refused(&problems))?;
        let routes = tables.into_iter().zip(&documents.routes);
        let loaded = routes.map(|(table, route)| Loaded {
            secrets: self.secrets(&documents, &table.object),
            object: route.object.clone(),
            table: table.object,
        });
        Ok(loaded.collect())
    }

    fn secrets(&self, documents: &Documents, table: &Table) -> Secrets {
        let secrets = Secrets::from_documents(documents, &table.namespace);
        match &self.secrets {
            Some(folder) => secrets.with_folder(folder),
            None => secrets,
        }
    }

    /// In a pod: with the slot that the pod gets.
    #[cfg(feature = "kubernetes")]
    async fn leased(
        &self,
        loaded: &[Loaded],
        settings: RunSettings,
    ) -> Result<RunSettings, Failure> {
        let Some(file) = self.slots.clone() else { return Ok(settings) };
        let [Loaded { table, .. }] = loaded else {
            let count = loaded.len();
            return Err(Failure::input(format!(
                "--slots is for the slots of one MqttRoute, and these are {count}"
            )));
        };
        let joined =
            lease::join(file, &table.namespace, self.scratch.clone(), &settings.report).await;
        let lease = joined.map_err(|error| Failure::world_from(&error))?;
        Ok(RunSettings { lease: Some(lease), ..settings })
    }

    #[cfg(not(feature = "kubernetes"))]
    #[expect(clippy::unused_async, reason = "as it is with the feature")]
    async fn leased(
        &self,
        _loaded: &[Loaded],
        settings: RunSettings,
    ) -> Result<RunSettings, Failure> {
        Ok(settings)
    }

    /// Before anything is waited for, so that a startup probe passes while it is.
    async fn probes(&self, monitor: &Monitor) -> Result<Option<Probes>, Failure> {
        let Some(address) = self.listen else { return Ok(None) };
        let probes = Probes::start(address, monitor.clone()).await.map_err(|error| {
            Failure::world(format!("cannot listen on {address} for metrics and probes (--listen)"))
                .because(&error)
        })?;
        tracing::info!(address = %probes.address(), "serving /metrics, /livez, /readyz");
        Ok(Some(probes))
    }

    fn run_settings(&self, settings: Settings, monitor: Monitor) -> RunSettings {
        RunSettings {
            slot: self.slot,
            drain: Duration::from_secs(self.drain),
            journal: self.scratch.as_deref().map(Journal::open_or_go_without).unwrap_or_default(),
            monitor,
            ..RunSettings::from(settings)
        }
    }
}

/// `MQTT_GROUP_NAME` gives all specs without a name one share: where two of them have a filter in common, the broker
/// would deal its messages among both, and each would miss some.
fn distinct_shares(loaded: &[Loaded], share: Option<&str>) -> Result<(), Failure> {
    let mut owners: BTreeMap<(&str, &str), &Table> = BTreeMap::new();
    for table in loaded.iter().map(|loaded| &loaded.table) {
        let named = table.share.as_deref().filter(|_| table.share_is_explicit);
        let Some(share) = table.share.as_ref().and(named.or(share)) else { continue };
        for filter in &table.filters {
            if let Some(other) = owners.insert((share, &filter.filter), table) {
                return Err(Failure::input(format!(
                    "the MqttRoutes {}/{} and {}/{} share the name {share:?} and the filter {:?}: each would get only some of \
                     its messages; give one of them a spec.shareName of its own, or unset MQTT_GROUP_NAME",
                    other.namespace, other.name, table.namespace, table.name, filter.filter
                )));
            }
        }
    }
    Ok(())
}

fn failed(error: &RunError) -> Failure {
    if error.is_input() { Failure::input_from(error) } else { Failure::world_from(error) }
}

/// A line a route, and one for what is left.
fn say(summaries: &[Summary]) {
    let totals = totals(summaries);
    for (route, it) in &totals.routes {
        tracing::info!(
            %route,
            done = it.done,
            dropped = it.dropped,
            rejected = it.rejected,
            dead_lettered = it.dead_lettered,
            discarded = it.discarded,
            retries = it.retries,
            "finished"
        );
    }
    tracing::info!(
        unmatched = totals.unmatched,
        overlap = totals.overlap,
        left_to_the_broker = totals.unfinished,
        "stopped"
    );
}
