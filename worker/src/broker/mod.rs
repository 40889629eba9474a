//! The broker of `routemq dev`: MQTT 5 in memory, on loopback, in this process.
//!
//! # Flow
//! 1. [`Broker::start`] takes a bound listener, so that a port in use is the caller's error to tell.
//! 2. Each connection is one task; what the broker knows is one `State` behind a lock that is never
//!    held across an await.
//! 3. A publish puts a copy into the queue of each session that wants it and wakes its connection,
//!    which sends as much as the client's receive maximum allows.
//!
//! # Guarantees
//! - Each filter of a share is dealt on its own, round-robin over the connected members, as brokers in
//!   production do; a member's copies wait for its session, and go to the others when it expires.
//! - Subscription identifiers, retained messages, QoS 0, 1 and 2, session and message expiry, wills.
//! - Everything is bounded; a publish that no longer fits is refused with `Quota exceeded`, not lost.
//!
//! # Caveats
//! Nothing outlives the process. No TLS, no WebSocket, no login, no topic aliases: for development only.

mod connection;
mod deal;
mod filter;
mod session;
mod state;
#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{net::TcpListener, task::JoinHandle};

use state::State;

/// A running broker. Dropping it closes every connection.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    shared: Shared,
    task: JoinHandle<()>,
}

impl Broker {
    /// Serves `listener` until the broker is dropped. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// The listener's address cannot be read.
    pub fn start(listener: TcpListener) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Shared::default();
        let task = tokio::spawn(connection::accept(listener, shared.clone()));
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells `tap` of every publish: the client's identifier, the topic, the payload's bytes. It is called with the
    /// broker's state locked: it must neither block nor call the broker.
    pub fn on_publish(&self, tap: impl Fn(&str, &str, usize) + Send + Sync + 'static) {
        self.shared.lock().tap = Some(state::Tap(Box::new(tap)));
    }

    /// `mqtt://` and the address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The state that all connections share.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it is held would be a bug of ours; the state is still worth more than a second panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
