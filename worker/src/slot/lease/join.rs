//! How a process in a pod comes to its slot: from what the operator mounts and sets.

use std::{env, path::PathBuf, sync::Arc};

use super::{KubeLeases, Names, keep};
use crate::{report::Reporter, slot::Leased};

/// Why a process cannot look for a slot.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Nobody says which pod this is.
    #[error(
        "ROUTEMQ_POD_NAME is not set: with --slots a worker needs its pod's name, which the operator sets"
    )]
    Nameless,
    /// Neither a pod's token nor a kubeconfig.
    #[error(
        "there is no way to the API server: no service account token is mounted, and KUBECONFIG names no usable file"
    )]
    Client(#[from] kube::Error),
}

/// Looks for one of the slots in `file` (`slots.json`), with the Leases of `namespace`, and tells what `reporter` knows through it.
/// `scratch` is a folder that belongs to the pod.
///
/// # Errors
/// See [`JoinError`]. An API server that does not answer is none: it is asked for ever.
pub async fn join(
    file: PathBuf,
    namespace: &str,
    scratch: Option<PathBuf>,
    reporter: &Reporter,
) -> Result<Leased, JoinError> {
    let me = env::var("ROUTEMQ_POD_NAME").ok().filter(|name| !name.is_empty());
    let me = me.ok_or(JoinError::Nameless)?;
    let api = KubeLeases::of(namespace).await?;
    Ok(keep(Arc::new(api), Names::new(file, scratch), me, reporter.watch()))
}
