//! What `routemq run` takes, and a worker of one's own takes too: a pod starts both in the same way.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::{ServiceError, ServiceOptions, Sources};
#[cfg(feature = "kubernetes")]
use crate::slot::lease;
use crate::{journal::Journal, run::RunSettings};

/// The arguments of a worker process.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArguments {
    /// Files and folders of MqttRoutes, Secrets and ConfigMaps; read again when they change
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Only this worker of each MqttRoute, so that several processes share the work as pods do
    #[arg(long, value_name = "I")]
    pub slot: Option<u32>,
    /// Takes one slot of those that this file names, each a Lease of the cluster, and waits for Secrets that are missing: what
    /// worker pods do
    #[cfg(feature = "kubernetes")]
    #[arg(long, value_name = "FILE", conflicts_with = "slot")]
    pub slots: Option<PathBuf>,
    /// A folder per Secret or ConfigMap, a file per key, as Kubernetes mounts them; read again when they change
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// A folder per ConfigMap alone, a file per key
    #[arg(long, value_name = "DIR")]
    pub config_maps: Option<PathBuf>,
    /// Keeps a journal of crashes there, so that a message that kills the process again and again becomes a dead letter
    #[arg(long, value_name = "DIR", env = "ROUTEMQ_SCRATCH")]
    pub scratch: Option<PathBuf>,
    /// Serves /metrics, /livez and /readyz here, for example 0.0.0.0:9090 [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// How long a stop lets handlers finish [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub drain: Option<u64>,
}

impl RunArguments {
    /// What `other` does not say, as it is here.
    pub(crate) fn below(self, other: Self) -> Self {
        Self {
            slot: other.slot.or(self.slot),
            secrets: other.secrets.or(self.secrets),
            config_maps: other.config_maps.or(self.config_maps),
            scratch: other.scratch.or(self.scratch),
            listen: other.listen.or(self.listen),
            drain: other.drain.or(self.drain),
            ..other
        }
    }

    /// A service of these, with everything else as `settings` say.
    ///
    /// # Errors
    /// In a pod: there is no way to a slot.
    pub async fn service(self, settings: RunSettings) -> Result<ServiceOptions, ServiceError> {
        let settings = RunSettings {
            slot: self.slot,
            drain: self.drain.map_or(settings.drain, Duration::from_secs),
            journal: self.scratch.as_deref().map(Journal::open_or_go_without).unwrap_or_default(),
            ..settings
        };
        let sources = Sources {
            paths: self.paths.clone(),
            secrets: self.secrets.clone(),
            config_maps: self.config_maps.clone(),
        };
        let run = self.leased(&sources, settings).await?;
        Ok(ServiceOptions { sources, listen: self.listen, patient: run.lease.is_some(), run })
    }

    /// In a pod: with the slot that the pod gets.
    #[cfg(feature = "kubernetes")]
    async fn leased(
        &self,
        sources: &Sources,
        settings: RunSettings,
    ) -> Result<RunSettings, ServiceError> {
        let Some(file) = self.slots.clone() else { return Ok(settings) };
        let (namespace, scratch) = (namespace(sources), self.scratch.clone());
        let lease = lease::join(file, &namespace, scratch, &settings.report).await?;
        Ok(RunSettings { lease: Some(lease), ..settings })
    }

    #[cfg(not(feature = "kubernetes"))]
    #[expect(clippy::unused_async, reason = "as it is with the feature")]
    async fn leased(
        &self,
        _: &Sources,
        settings: RunSettings,
    ) -> Result<RunSettings, ServiceError> {
        Ok(settings)
    }
}

/// Where the Leases are: the pod says it, else the documents.
#[cfg(feature = "kubernetes")]
fn namespace(sources: &Sources) -> String {
    let pods = std::env::var("ROUTEMQ_NAMESPACE").ok().filter(|name| !name.is_empty());
    let documents = || Some(sources.load().ok()?.loaded.first()?.table.namespace.clone());
    pods.or_else(documents).unwrap_or_else(|| "default".to_owned())
}
