//! What a connection needs to know.

use std::{
    path::PathBuf,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// How to reach the broker and as whom.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// `mqtt://`, `mqtts://`, `ws://` or `wss://`.
    pub url: url::Url,
    /// The MQTT client identifier: the session's identity on the broker.
    pub client_id: String,
    /// Read again before each connection.
    pub credentials: Credentials,
    /// For `mqtts` and `wss`.
    pub tls: TlsConfig,
    /// Default 15 s.
    pub keep_alive: Duration,
    /// Whether an earlier session of this client id is discarded (clean start).
    pub clean_start: bool,
    /// How long the broker keeps the session after a disconnect; zero ends it with the connection.
    pub session_expiry: Duration,
    /// Unacknowledged QoS 1 and 2 messages that the broker may have on the way, 1–65,535.
    pub receive_maximum: u16,
    /// Bytes of unfinished QoS 1 and 2 messages after which no more is read until some are finished. Default 64 MiB.
    pub window_bytes: usize,
    /// Larger packets are discarded by the broker. Bytes. Default 1 MiB.
    pub maximum_packet_size: u32,
    /// Of TCP, TLS and CONNACK together. Default 10 s.
    pub connect_timeout: Duration,
    /// The longest pause between two attempts. Default 30 s.
    pub max_backoff: Duration,
    /// The barrier topic is `<prefix>/<client id>`. Default `routemq/barrier`.
    pub barrier_prefix: String,
    /// Asked before each connection but the first. Default: none, every lost connection is made again.
    pub before_reconnect: Option<Gate>,
}

/// How the last connection ended, for a [`Gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The broker said that another connection took the client id (DISCONNECT 0x8E).
    TakenOver,
    /// It ended in any other way: mosquitto before 2.1 says nothing to whom it throws out.
    Closed {
        /// How long there was a connection.
        lasted: Duration,
    },
    /// There was none: the attempt failed.
    NotConnected,
}

/// Says whether the client id is still this session's: where it is not, the session does not connect again (it would throw out
/// whoever has it now), reports `taken_over`, and waits to be stopped.
#[derive(Clone)]
pub struct Gate(Arc<dyn Fn(Loss) -> GateFuture + Send + Sync>);

type GateFuture = Pin<Box<dyn Future<Output = bool> + Send>>;

impl Gate {
    /// Asks `ask` each time.
    pub fn new<F>(ask: impl Fn(Loss) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self(Arc::new(move |loss| Box::pin(ask(loss))))
    }

    pub(crate) fn ask(&self, loss: Loss) -> GateFuture {
        (self.0)(loss)
    }
}

impl SessionConfig {
    /// The defaults for a durable session of `client_id`.
    #[must_use]
    pub fn new(url: url::Url, client_id: impl Into<String>) -> Self {
        Self {
            url,
            client_id: client_id.into(),
            credentials: Credentials::None,
            tls: TlsConfig::default(),
            keep_alive: Duration::from_secs(15),
            clean_start: false,
            session_expiry: Duration::from_hours(1),
            receive_maximum: 1000,
            window_bytes: 64 * 1024 * 1024,
            maximum_packet_size: 1024 * 1024,
            connect_timeout: Duration::from_secs(10),
            max_backoff: Duration::from_secs(30),
            barrier_prefix: "routemq/barrier".to_owned(),
            before_reconnect: None,
        }
    }
}

impl SessionConfig {
    /// Bytes of QoS 1 and 2 messages that the session holds or hands out at a time, at most: a full window, what one read
    /// brings beyond it, and a packet that is not all there.
    #[must_use]
    pub fn most_unfinished_bytes(&self) -> u64 {
        let packet = u64::from(self.maximum_packet_size);
        let in_number = u64::from(self.receive_maximum) * packet;
        in_number.min(self.window_bytes as u64) + 2 * packet
    }
}

/// Where the login comes from.
#[derive(Clone, Default)]
pub enum Credentials {
    /// No login.
    #[default]
    None,
    /// Known from the start.
    Static(Login),
    /// Known, and replaced while sessions run.
    Shared(SharedLogin),
    /// A folder with the files `username` and `password` (either may be missing), as Kubernetes mounts a Secret.
    Folder(PathBuf),
}

/// A user name, a password, either or both (MQTT 5 allows a password alone).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// MQTT 5, 3.1.3.5.
    pub username: Option<String>,
    /// MQTT 5, 3.1.3.6.
    pub password: Option<String>,
}

/// A login that every session made with it reads before each connection. Clones share it.
#[derive(Clone, Default)]
pub struct SharedLogin {
    login: Arc<RwLock<Login>>,
}

impl SharedLogin {
    /// With this login.
    #[must_use]
    pub fn new(login: Login) -> Self {
        Self { login: Arc::new(RwLock::new(login)) }
    }

    /// As it stands.
    #[must_use]
    pub fn get(&self) -> Login {
        self.login.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From the next connection on.
    pub fn set(&self, login: Login) {
        *self.login.write().unwrap_or_else(PoisonError::into_inner) = login;
    }
}

/// PEM files, read again before each connection.
#[derive(Clone, Debug, Default)]
pub struct TlsConfig {
    /// The authority to trust; `None`: the system's roots.
    pub ca: Option<PathBuf>,
    /// The client's certificate chain and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

// === Debug without secrets ===

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

impl std::fmt::Debug for SharedLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Static(login) => f.debug_tuple("Static").field(login).finish(),
            Self::Shared(login) => f.debug_tuple("Shared").field(&login.get()).finish(),
            Self::Folder(path) => f.debug_tuple("Folder").field(path).finish(),
        }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}
