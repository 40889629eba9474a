//! `routemq dev`: the main job on one machine, nothing else installed.
//!
//! An embedded broker, a SQLite file, every worker of every `MqttRoute`, a line a message, and the
//! documents read again when they are saved.

mod banner;
mod line;
mod load;
mod reload;
mod sample;
mod shape;
mod simulate;
mod summary;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use routemq_worker::{
    broker::Broker,
    config::{Environment, LogFormat, Settings},
    logging,
    run::{DatabaseAway, RunSettings, Running},
    service::{Sources, Watch},
};
use tokio::net::TcpListener;
use url::Url;

use super::{
    Ended,
    failure::Failure,
    publish::rate,
    signals::Signals,
    sqlite_file::{File, Place},
    style::Paint,
};
use line::Lines;

/// Where rows go.
const DATABASE: Place = Place { name: "dev.db", option: "--database" };

/// Runs MqttRoutes on this machine: broker and database included, reloads on save, a line a message.
#[derive(Args, Debug)]
#[command(after_help = "Example: routemq dev examples/quickstart --simulate 5/s\n\n\
    The spec's own broker, login and database are replaced by the included ones. Ctrl-C drains and ends.\n\n\
    Exit codes: 0 ended by Ctrl-C, 1 the documents are wrong, 3 the port or the database cannot be used.")]
pub(crate) struct Dev {
    /// Files and folders of MqttRoutes, Secrets and ConfigMaps
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// Publishes plausible messages for every route, so many a second in all
    #[arg(long, value_name = "N/s", value_parser = rate)]
    simulate: Option<f64>,
    /// Makes the simulation repeatable
    #[arg(long, default_value_t = 1, requires = "simulate")]
    seed: u64,
    /// The broker's port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 1883)]
    port: u16,
    /// The SQLite file [default: .routemq/dev.db]
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// A folder per Secret or ConfigMap, a file per key, as Kubernetes mounts them
    #[arg(long, value_name = "DIR")]
    pub(super) secrets: Option<PathBuf>,
}

/// How long Ctrl-C lets handlers finish.
const DRAIN: Duration = Duration::from_secs(10);

impl Dev {
    pub(crate) async fn execute(self) -> Ended {
        start_logging()?;
        let mut signals = Signals::listen()?;
        // Before the documents are read: whatever is saved from now on is seen.
        let saved = Watch::start(&self.sources());
        let loaded = load::load(&self)?;
        let broker = self.broker().await?;
        let database = DATABASE.path(self.database.clone())?;
        let paint = Paint::stdout();
        let (lines, printer) = line::start(&loaded, &broker, paint);
        let settings = run_settings(&broker, &database, lines)?;
        let started = Running::start(load::runnable(&loaded), settings).await;
        let mut running = started.map_err(|error| failed(&error))?;
        banner::print(&loaded, &broker.url(), &database, paint)?;
        running.settled().await;
        printer.say(&paint.dim("ready; Ctrl-C ends"));
        let simulation = self.simulate.and_then(|rate| {
            simulate::start(&broker.url(), simulate::Plan { rate, seed: self.seed }, &loaded)
        });
        let interrupted = reload::until(
            signals.next(),
            &self,
            saved,
            &mut running,
            &printer,
            simulation.as_ref(),
        );
        Box::pin(interrupted).await;
        if let Some(simulation) = simulation {
            simulation.stop().await;
        }
        printer.say(&paint.dim("finishing what runs; Ctrl-C again ends at once"));
        let summaries = tokio::select! {
            summaries = running.stop() => summaries,
            () = signals.next() => return Ok(ExitCode::from(130)),
        };
        printer.finish().await;
        summary::print(&summaries, &database, paint)
    }

    pub(super) fn sources(&self) -> Sources {
        let (paths, secrets) = (self.paths.clone(), self.secrets.clone());
        Sources { paths, secrets, config_maps: None }
    }

    /// Bound here, so that a port in use is told before anything else starts.
    async fn broker(&self) -> Result<Broker, Failure> {
        let port = self.port;
        let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
            if error.kind() == std::io::ErrorKind::AddrInUse {
                Failure::world(format!(
                    "port {port} on 127.0.0.1 is in use: use --port 0 for a free one, or stop what listens there"
                ))
            } else {
                Failure::world(format!("cannot listen on 127.0.0.1:{port}; try --port 0")).because(&error)
            }
        })?;
        Broker::start(listener)
            .map_err(|error| Failure::world("cannot start the broker").because(&error))
    }
}

/// `dev` shows messages itself: the log is plain unless the real environment asks for more (a `.env` is
/// written for `run`).
fn start_logging() -> Result<(), Failure> {
    let settings = Settings::read(&Environment::process())
        .map_err(|bad| Failure::inputs(bad.iter().map(ToString::to_string)))?;
    match (settings.log.level, settings.log.format) {
        (None, None) => logging::start_plain(),
        (level, format) => logging::start_as(
            level.unwrap_or(tracing::Level::WARN),
            &format.unwrap_or(LogFormat::Text),
        ),
    }
    Ok(())
}

fn run_settings(broker: &Broker, database: &File, lines: Lines) -> Result<RunSettings, Failure> {
    let url = Url::parse(&broker.url())
        .map_err(|error| Failure::world("cannot start the broker").because(&error))?;
    Ok(RunSettings {
        client_id: "dev".to_owned(),
        database: Some(database.url()),
        drain: DRAIN,
        observer: Some(Arc::new(lines)),
        database_away: DatabaseAway::Fail,
        create_tables: true,
        ..RunSettings::new(url)
    })
}

fn failed(error: &routemq_worker::run::RunError) -> Failure {
    if error.is_input() { Failure::input_from(error) } else { Failure::world_from(error) }
}
