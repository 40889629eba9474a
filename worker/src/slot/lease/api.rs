//! The two requests that slots need, and what may come of them.

use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads and replaces Leases of one namespace. Behind a trait, so that the protocol can be tested with faults that no server makes on
/// command.
pub trait LeaseApi: Send + Sync + 'static {
    /// Reads one.
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Lease, ApiError>>;
    /// Writes it, if it is still of the version that was read.
    fn replace(&self, lease: Lease) -> BoxFuture<'_, Result<Lease, ApiError>>;
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Somebody was faster (409).
    #[error("somebody changed the Lease first")]
    Conflict,
    /// There is no such Lease (404).
    #[error("there is no such Lease")]
    None,
    /// This worker may not (403): its Role does not name the Lease yet, or no longer.
    #[error("the API server forbids it: {0}")]
    Forbidden(String),
    /// No answer, or one that says nothing about the Lease. Whether a write was done is unknown.
    #[error("the API server did not answer: {0}")]
    Away(String),
}

/// The real one.
#[derive(Clone, Debug)]
pub struct KubeLeases {
    leases: Api<Lease>,
}

impl KubeLeases {
    /// Of a namespace, with the pod's own rights; outside a pod, those of `KUBECONFIG`.
    ///
    /// # Errors
    /// Where there is neither.
    pub async fn of(namespace: &str) -> Result<Self, kube::Error> {
        let client = Client::try_default().await?;
        Ok(Self { leases: Api::namespaced(client, namespace) })
    }
}

impl LeaseApi for KubeLeases {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Lease, ApiError>> {
        Box::pin(in_time(self.leases.get(name)))
    }

    fn replace(&self, lease: Lease) -> BoxFuture<'_, Result<Lease, ApiError>> {
        Box::pin(async move {
            let name = lease.metadata.name.clone().unwrap_or_default();
            in_time(self.leases.replace(&name, &PostParams::default(), &lease)).await
        })
    }
}

async fn in_time(request: impl Future<Output = kube::Result<Lease>>) -> Result<Lease, ApiError> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(Ok(lease)) => Ok(lease),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(ApiError::Conflict),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(ApiError::None),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
            Err(ApiError::Forbidden(status.message.clone()))
        }
        Ok(Err(error)) => Err(ApiError::Away(error.to_string())),
        Err(_) => Err(ApiError::Away(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}
