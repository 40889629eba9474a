//! `/metrics`, `/livez`, `/readyz`.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use prometheus_client::{encoding::text::encode, registry::Registry};

use crate::leader::Pulse;

/// Serves until dropped. An operator that does not lead is ready too: it is a follower in good health.
///
/// # Errors
/// Where the address cannot be bound.
pub async fn serve(
    address: SocketAddr,
    registry: Arc<Registry>,
    pulse: Pulse,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/livez", get(move || std::future::ready(alive(&pulse))))
        .route("/readyz", get(|| async { "ok" }))
        .route("/metrics", get(metrics))
        .with_state(registry);
    axum::serve(tokio::net::TcpListener::bind(address).await?, app).await
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Result<String, StatusCode> {
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(text)
}

/// `/livez`: the loop ticks. An API server that is away is no reason for a restart.
fn alive(pulse: &Pulse) -> (StatusCode, &'static str) {
    if pulse.beats() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the leader election stands still")
    }
}
