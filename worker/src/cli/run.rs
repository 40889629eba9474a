//! `routemq run`: the same engine against a real broker and database.

use std::process::ExitCode;

use clap::Args;
use routemq_worker::{
    logging,
    run::{RunSettings, totals},
    service::{LoadError, RunArguments, Service, ServiceError},
    worker::Summary,
};

use super::{Ended, documents, failure::Failure, settings, signals::Signals};

/// Runs MqttRoutes against a real broker and database: what worker pods run.
///
/// The broker, login, share name and database that a spec leaves out come from the environment and .env.
/// Documents, Secrets and ConfigMaps are read again when they change, and taken up without a restart; what is wrong leaves
/// what runs as it is.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: MQTT_BROKER=broker.example.org DATABASE_URL=mysql://user:password@db/fleet routemq run routes/\n\n\
    Variables: MQTT_BROKER MQTT_PORT MQTT_USERNAME MQTT_PASSWORD MQTT_CLIENT_ID MQTT_GROUP_NAME DATABASE_URL ENABLE_MYSQL\n  \
    DB_HOST DB_PORT DB_NAME DB_USER DB_PASS LOG_LEVEL LOG_FORMAT\n\n\
    Exit codes: 0 drained after SIGTERM or Ctrl-C, 1 the input is wrong, 3 the outside world failed, 130 ended by a second signal."
)]
pub(crate) struct Run {
    #[command(flatten)]
    arguments: RunArguments,
}

impl Run {
    pub(crate) async fn execute(self) -> Ended {
        let settings = settings()?;
        logging::start(&settings.log);
        let mut signals = Signals::listen()?;
        let options = self.arguments.service(RunSettings::from(settings)).await.map_err(failed)?;
        let mut service = Service::start(options).await.map_err(failed)?;
        Box::pin(service.reload_until(signals.next())).await;
        tracing::info!("stopping: finishing what runs; a second signal ends at once");
        tokio::select! {
            summaries = service.stop() => {
                say(&summaries);
                Ok(ExitCode::SUCCESS)
            }
            () = signals.next() => Ok(ExitCode::from(130)),
        }
    }
}

fn failed(error: ServiceError) -> Failure {
    match error {
        ServiceError::Load(LoadError::Problems(problems)) => documents::refused(&problems),
        ServiceError::Run(error) if !error.is_input() => Failure::world_from(&error),
        ServiceError::Load(_) | ServiceError::Run(_) | ServiceError::Several(_) => {
            Failure::input_from(&error)
        }
        other => Failure::world_from(&other),
    }
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
