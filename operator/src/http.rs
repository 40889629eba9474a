//! `/metrics`, `/livez`, `/readyz`.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use prometheus_client::{encoding::text::encode, registry::Registry};

/// Serves until dropped. An operator that does not lead is ready too: it is a follower in good health.
///
/// # Errors
/// Where the address cannot be bound.
pub async fn serve(address: SocketAddr, registry: Arc<Registry>) -> std::io::Result<()> {
    let app = Router::new()
        .route("/livez", get(|| async { "ok" }))
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
