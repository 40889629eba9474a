//! A worker process: loads documents, serves metrics and probes, runs, takes up what changes, stops.
//!
//! # Flow
//! 1. Metrics and probes are served before anything is waited for.
//! 2. The documents are loaded and run ([`Running`]). In a pod nothing that is missing or wrong ends the process: it waits for
//!    a change, and reports what for.
//! 3. Whenever documents or mounted Secrets and ConfigMaps change, they are applied ([`Service::reload_until`]).
//! 4. [`Service::stop`] drains.
//!
//! # Guarantees
//! - Documents that are wrong leave what runs as it is, and are told once.
//! - A reload loses no message: see [`Running::apply`].

mod arguments;
mod sources;
mod tell;
mod watch;

use std::net::SocketAddr;

use crate::{
    http::Probes,
    run::{Loaded, RunError, RunSettings, Running, distinct_shares},
    worker::Summary,
};

use self::tell::Teller;
pub use self::{
    arguments::RunArguments,
    sources::{Found, LoadError, Sources},
    watch::Watch,
};

/// What a service is made of.
#[derive(Debug)]
pub struct ServiceOptions {
    /// Where documents and values are.
    pub sources: Sources,
    /// Where metrics and probes are served; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Whether what is missing or wrong at the start is waited for, as a pod does, instead of ending the process.
    pub patient: bool,
    /// How it runs.
    pub run: RunSettings,
}

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The documents are wrong, or there are none.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A pod's slots are those of one object.
    #[error("--slots is for the slots of one MqttRoute, and these are {0}")]
    Several(usize),
    /// They cannot be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Metrics and probes cannot be served.
    #[error("cannot listen on {address} for metrics and probes (--listen)")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// There is no way to a slot.
    #[cfg(feature = "kubernetes")]
    #[error(transparent)]
    Join(#[from] crate::slot::lease::JoinError),
}

/// A service under way. Dropping it leaves its workers running: call [`Service::stop`].
#[derive(Debug)]
pub struct Service {
    sources: Sources,
    share: Option<String>,
    patient: bool,
    watch: Watch,
    running: Running,
    teller: Teller,
    _probes: Option<Probes>,
}

impl Service {
    /// Starts; returns when everything is on its way.
    ///
    /// # Errors
    /// See [`ServiceError`]; a patient service fails only where it cannot listen.
    pub async fn start(options: ServiceOptions) -> Result<Self, ServiceError> {
        let ServiceOptions { sources, listen, patient, run } = options;
        let probes = serve(listen, &run).await?;
        let watch = Watch::start(&sources);
        let share = run.share.clone();
        let running = if patient {
            Running::idle(run)
        } else {
            let loaded = load(&sources, share.as_deref())?;
            Running::start(loaded, run).await?
        };
        let teller = Teller::default();
        let mut service = Self { sources, share, patient, watch, running, teller, _probes: probes };
        if patient {
            Box::pin(service.reload()).await;
        }
        Ok(service)
    }

    /// Takes up changes until `stop` resolves; from that moment on nothing is ready.
    pub async fn reload_until(&mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let monitor = self.running.monitor().clone();
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = self.watch.changed() => {}
            }
            let reload = self.reload();
            tokio::pin!(reload);
            tokio::select! {
                () = &mut stop => {
                    monitor.stopping();
                    // What was begun is brought to its end: half a change would lose track of a worker.
                    reload.await;
                    break;
                }
                () = &mut reload => {}
            }
        }
        monitor.stopping();
    }

    async fn reload(&mut self) {
        let loaded = match load(&self.sources, self.share.as_deref()) {
            Ok(loaded) if self.patient && loaded.len() != 1 => {
                Err(ServiceError::Several(loaded.len()))
            }
            other => other,
        };
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                self.running.refuse(&error.to_string());
                return self.teller.refused(&error);
            }
        };
        let changes = Box::pin(self.running.apply(loaded)).await;
        self.teller.applied(&changes);
    }

    /// See [`Running::stop`].
    pub async fn stop(self) -> Vec<Summary> {
        self.running.stop().await
    }
}

async fn serve(
    listen: Option<SocketAddr>,
    run: &RunSettings,
) -> Result<Option<Probes>, ServiceError> {
    let Some(address) = listen else { return Ok(None) };
    let probes = Probes::start(address, run.monitor.clone()).await;
    let probes = probes.map_err(|source| ServiceError::Listen { address, source })?;
    tracing::info!(address = %probes.address(), "serving /metrics, /livez, /readyz");
    Ok(Some(probes))
}

fn load(sources: &Sources, share: Option<&str>) -> Result<Vec<Loaded>, ServiceError> {
    let Found { loaded, notes } = sources.load()?;
    for note in notes {
        tracing::info!("{note}");
    }
    distinct_shares(&loaded, share)?;
    Ok(loaded)
}
