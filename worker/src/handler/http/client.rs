//! The connections to HTTP services: kept and used again, over HTTP/1.1, encrypted by rustls with the ring provider and
//! the system's authorities (`SSL_CERT_FILE` names others).

use std::{
    error::Error,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// Of an answer's body that is kept. Bytes.
pub(super) const MOST_BODY: usize = 1024 * 1024;
/// Of one that nobody asks for: it is read so that the connection can be used again. Bytes.
const MOST_UNASKED: usize = 64 * 1024;
/// How long that may take.
const UNASKED: Duration = Duration::from_millis(100);
/// Idle connections are closed after this: before most servers and load balancers do.
const IDLE: Duration = Duration::from_secs(20);

type BoxError = Box<dyn Error + Send + Sync>;

/// What a service has answered.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Empty where nobody asks for it.
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// There is no connection: nothing was sent.
    #[error("no connection")]
    Connect(#[source] BoxError),
    /// The connection broke before the answer was there.
    #[error("the connection broke")]
    Broken(#[source] BoxError),
    /// The body is larger than [`MOST_BODY`].
    #[error("the answer is too large")]
    TooLarge,
}

/// Calls services.
pub(super) struct Client {
    inner: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

static SHARED: LazyLock<Client> = LazyLock::new(Client::new);

impl Client {
    /// The one of this process, made at the first call.
    pub(super) fn shared() -> &'static Self {
        &SHARED
    }

    fn new() -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls())
            .https_or_http()
            .enable_http1()
            .build();
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { inner }
    }

    /// One request, and its answer; the body only where it is asked for.
    pub(super) async fn call(
        &self,
        request: Request<Full<Bytes>>,
        with_body: bool,
    ) -> Result<Called, CallError> {
        let response = self.inner.request(request).await.map_err(|error| {
            if error.is_connect() {
                CallError::Connect(error.into())
            } else {
                CallError::Broken(error.into())
            }
        })?;
        let (head, body) = response.into_parts();
        let body = if with_body {
            Limited::new(body, MOST_BODY).collect().await.map_err(broken)?.to_bytes()
        } else {
            // What is not read in time costs a connection, nothing else.
            let _ = timeout(UNASKED, Limited::new(body, MOST_UNASKED).collect()).await;
            Bytes::new()
        };
        Ok(Called { status: head.status, headers: head.headers, body })
    }
}

fn broken(error: BoxError) -> CallError {
    if error.is::<LengthLimitError>() { CallError::TooLarge } else { CallError::Broken(error) }
}

fn tls() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    // Some of a system's certificates may be unreadable; the rest is as good. Without any, https is refused and http works.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    #[expect(clippy::expect_used, reason = "ring has the cipher suites of the default versions")]
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions");
    builder.with_root_certificates(roots).with_no_client_auth()
}
