//! `/metrics`, `/livez`, `/readyz`: answered from what the monitor knows, without waiting for anything.

use std::{convert::Infallible, net::SocketAddr};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
    },
    response::IntoResponse,
    routing::get,
};
use futures::stream;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::monitor::Monitor;

/// What `prometheus_client` writes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bytes of metrics that are sent at a time.
const PIECE: usize = 16 * 1024;

/// The server; dropping it closes the port.
#[derive(Debug)]
pub struct Probes {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Probes {
    /// Binds the port, so that an address in use is told at once, and answers from now on.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(address: SocketAddr, monitor: Monitor) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let app = Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(async |State(monitor): State<Monitor>| told(monitor.live())))
            .route("/readyz", get(async |State(monitor): State<Monitor>| told(monitor.ready())))
            .with_state(monitor);
        let task = tokio::spawn(async move {
            // Errors of single connections are axum's business; it ends only when it is dropped.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Off the threads of messages: to write the counts of a thousand routes takes ten milliseconds. They are sent piece by piece, because the
/// system would take the megabytes in one call, and messages wait for it.
async fn metrics(State(monitor): State<Monitor>) -> Result<impl IntoResponse, StatusCode> {
    let written = tokio::task::spawn_blocking(move || Bytes::from(monitor.metrics())).await;
    let text = written.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS)),
        (CONTENT_LENGTH, HeaderValue::from(text.len())),
    ];
    Ok((headers, Body::from_stream(stream::iter(pieces(text)))))
}

fn pieces(mut text: Bytes) -> impl Iterator<Item = Result<Bytes, Infallible>> {
    std::iter::from_fn(move || (!text.is_empty()).then(|| Ok(text.split_to(text.len().min(PIECE)))))
}

fn told(answer: Result<(), String>) -> (StatusCode, String) {
    match answer {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
    }
}
