//! What the suites share: a real broker, a receiver that remembers, ways to wait for a condition.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "each suite uses its part"
)]

pub mod mosquitto;
pub mod proxy;
pub mod stub;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use routemq_mqtt::{
    AckToken, Acks, ConnectionState, Delivery, Publish, QoS, Receiver, Session, SessionConfig,
    SessionHandle, SessionStatus, Subscription,
};
use stub::{Peer, Stub};
use tokio::sync::watch;

/// Longer than anything here takes, shorter than anybody's patience.
pub const SOON: Duration = Duration::from_secs(20);

/// A session whose deliveries are remembered.
pub struct Listener {
    pub handle: SessionHandle,
    pub acks: Acks,
    log: watch::Receiver<usize>,
    seen: Arc<Mutex<Seen>>,
}

/// What was delivered, kept.
pub struct Delivered {
    pub publish: Publish,
    pub token: Option<AckToken>,
}

#[derive(Default)]
pub struct Seen {
    pub deliveries: Vec<Delivered>,
    pub connections: Vec<(u32, bool)>,
    pub lost: Vec<u32>,
    pub flushes: usize,
}

/// What a recorder does with what it is given.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Keeps,
    Acknowledges,
    /// Is flooded by each.
    Drowns,
}

struct Recorder {
    acks: Acks,
    manner: Manner,
    /// As a receiver is that was given more than it can take.
    is_flooded: bool,
    seen: Arc<Mutex<Seen>>,
    log: watch::Sender<usize>,
}

impl Receiver for Recorder {
    fn deliver(&mut self, Delivery { arrival, token }: Delivery<'_>) {
        if let (Manner::Acknowledges, Some(token)) = (self.manner, token) {
            self.acks.done(token);
        }
        self.is_flooded |= self.manner == Manner::Drowns;
        let delivered = Delivered { publish: arrival.into_publish(), token };
        self.seen.lock().unwrap().deliveries.push(delivered);
    }

    fn flush(&mut self) {
        self.seen.lock().unwrap().flushes += 1;
        self.log.send_modify(|count| *count += 1);
    }

    fn is_flooded(&mut self) -> bool {
        std::mem::take(&mut self.is_flooded)
    }

    fn connected(&mut self, epoch: u32, session_present: bool) {
        self.seen.lock().unwrap().connections.push((epoch, session_present));
        self.log.send_modify(|count| *count += 1);
    }

    fn disconnected(&mut self, epoch: u32) {
        self.seen.lock().unwrap().lost.push(epoch);
        self.log.send_modify(|count| *count += 1);
    }
}

impl Listener {
    /// Acknowledges nothing by itself.
    pub fn lazy(config: SessionConfig) -> Self {
        Self::start(config, Manner::Keeps)
    }

    /// Acknowledges at once.
    pub fn eager(config: SessionConfig) -> Self {
        Self::start(config, Manner::Acknowledges)
    }

    /// Can take none of what it is given.
    pub fn drowning(config: SessionConfig) -> Self {
        Self::start(config, Manner::Drowns)
    }

    fn start(config: SessionConfig, manner: Manner) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (log, watch) = watch::channel(0);
        let mut kept = None;
        let recorded = Arc::clone(&seen);
        let handle = Session::spawn(config, |acks| {
            kept = Some(acks.clone());
            Recorder { acks, manner, is_flooded: false, seen: recorded, log }
        });
        Self { handle, acks: kept.unwrap(), log: watch, seen }
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Waits until what was seen fulfils `condition`.
    pub async fn until(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        let mut log = self.log.clone();
        let wait = log.wait_for(|_| condition(&self.seen.lock().unwrap()));
        match tokio::time::timeout(SOON, wait).await {
            Ok(result) => drop(result.unwrap()),
            Err(late) => panic!("{late}: {what}; {} deliveries", self.seen().deliveries.len()),
        }
    }

    /// Waits for `count` deliveries in all.
    pub async fn count(&self, count: usize) {
        self.until(&format!("{count} deliveries"), |seen| seen.deliveries.len() >= count).await;
    }

    /// Waits until the status fulfils `condition`.
    pub async fn status(
        &self,
        what: &str,
        condition: impl Fn(&SessionStatus) -> bool,
    ) -> SessionStatus {
        let mut status = self.handle.status();
        let result = tokio::time::timeout(SOON, status.wait_for(|now| condition(now))).await;
        match result {
            Ok(status) => status.unwrap().clone(),
            Err(late) => panic!("{late}: {what}; {:?}", self.handle.status().borrow()),
        }
    }

    pub fn tokens(&self) -> Vec<AckToken> {
        self.seen().deliveries.iter().filter_map(|delivery| delivery.token).collect()
    }

    pub fn payloads(&self) -> Vec<String> {
        let text =
            |delivery: &Delivered| String::from_utf8_lossy(&delivery.publish.payload).into_owned();
        self.seen().deliveries.iter().map(text).collect()
    }
}

pub fn filter(filter: &str, qos: QoS, identifier: u32) -> Subscription {
    Subscription { filter: filter.into(), qos, identifier }
}

/// A configuration for a broker on a loopback port; attempts follow each other quickly.
pub fn config(port: u16, client_id: &str) -> SessionConfig {
    let url = format!("mqtt://127.0.0.1:{port}").parse().unwrap();
    let mut config = SessionConfig::new(url, client_id);
    config.max_backoff = Duration::from_millis(50);
    config
}

/// A connected session that wants nothing, and the broker's end.
pub async fn connected(stub: &Stub) -> (Listener, Peer) {
    let mut settings = config(stub.port, "worker");
    settings.receive_maximum = 4;
    let client = Listener::lazy(settings);
    let peer = stub.welcome().await;
    (client, peer)
}

/// Whether it waits to connect again.
pub fn is_waiting(status: &SessionStatus) -> bool {
    matches!(status.connection, ConnectionState::Waiting { .. })
}
