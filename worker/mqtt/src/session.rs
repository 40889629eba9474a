//! The session: one task that owns the socket.

use std::{collections::BTreeMap, time::Duration};

use tokio::sync::{mpsc, watch};

use crate::{AckToken, Delivery, SessionConfig};

/// Takes messages on the socket task: it must not block, and bounds itself by the receive maximum
/// (QoS 1 and 2) and by dropping (QoS 0).
pub trait Receiver: Send + 'static {
    /// One message. Called in receive order.
    fn deliver(&mut self, delivery: Delivery);
    /// The end of a turn: everything that was read has been delivered.
    fn flush(&mut self) {}
    /// CONNACK accepted a connection; called before its first delivery. `session_present`: whether the broker
    /// still has the session, and so sends again every QoS 1 and 2 message that is not acknowledged.
    fn connected(&mut self, _epoch: u32, _session_present: bool) {}
    /// A connection was lost: tokens with an epoch ≤ `epoch` will acknowledge nothing.
    fn disconnected(&mut self, _epoch: u32) {}
}

/// One subscription that a session should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The whole filter, with `$share/<name>/` where it is shared.
    pub filter: String,
    /// 0, 1 or 2.
    pub qos: crate::QoS,
    /// 1–268,435,455; not sent where the broker says it has no subscription identifiers.
    pub identifier: u32,
}

/// What is known of one filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterState {
    /// Not yet answered.
    Pending,
    /// SUBACK granted it.
    Granted {
        /// The granted QoS, which may be lower than asked for.
        qos: crate::QoS,
        /// Whether the barrier came back since: every copy queued before the SUBACK has been delivered.
        settled: bool,
    },
    /// SUBACK refused it.
    Refused {
        /// MQTT 5, 3.9.3.
        code: u8,
        /// The code's name in words.
        reason: &'static str,
    },
    /// UNSUBSCRIBE is sent; what is queued still comes, until the barrier.
    Leaving,
}

/// Whether there is a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConnectionState {
    /// Not yet, or not now; `reason` is the last failure in words, `None` before the first attempt.
    #[default]
    Connecting,
    /// CONNACK accepted it.
    Connected {
        /// Whether the broker had the session.
        session_present: bool,
        /// Whether the broker sends subscription identifiers.
        identifiers: bool,
    },
    /// Waiting to try again.
    Waiting {
        /// The last failure: what failed, and how to mend it.
        reason: String,
        /// Whether another connection took the client id (DISCONNECT 0x8E).
        taken_over: bool,
    },
    /// Ended by [`SessionHandle::stop`].
    Stopped,
}

/// What a session is doing: published on a watch channel at every change.
#[derive(Clone, Debug, Default)]
pub struct SessionStatus {
    /// Whether there is a connection.
    pub connection: ConnectionState,
    /// Counts connections, from 1.
    pub epoch: u32,
    /// By whole filter: every wanted one, and those that are leaving.
    pub filters: BTreeMap<String, FilterState>,
    /// Whether the broker refuses the barrier (two quiet seconds stand in).
    pub no_barrier: bool,
    /// Acknowledgements that came for an earlier connection and were discarded, since the start.
    pub late_acks: u64,
}

/// What becomes of the session on the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The broker keeps it until its expiry: the next connection resumes it.
    Keep,
    /// DISCONNECT with expiry 0.
    Discard,
}

/// Reports outcomes. Cheap to clone; each handler side holds one.
#[derive(Clone, Debug)]
pub struct Acks {
    _tx: mpsc::UnboundedSender<AckToken>,
}

impl Acks {
    /// The outcome of this message is final: acknowledge it when all before it are.
    /// Bounded by the receive maximum, since each token exists once. Never blocks.
    pub fn done(&self, _token: AckToken) {
        unimplemented!()
    }

    /// The same for several at once.
    pub fn done_all(&self, _tokens: &[AckToken]) {
        unimplemented!()
    }
}

/// Starts sessions.
#[derive(Debug)]
pub struct Session;

/// Steers one session. Dropping it does not stop the session.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    _commands: mpsc::Sender<()>,
    status: watch::Receiver<SessionStatus>,
}

impl Session {
    /// Starts the socket task. `receiver` is made from the [`Acks`] that it (or its lanes) will use.
    pub fn spawn<R: Receiver>(
        _config: SessionConfig,
        _receiver: impl FnOnce(Acks) -> R,
    ) -> SessionHandle {
        unimplemented!()
    }
}

impl SessionHandle {
    /// The subscriptions that the session should hold from now on: subscribes what is new, then
    /// unsubscribes what is gone. Survives reconnects. Watch [`Self::status`] for the answers.
    pub async fn subscribe_to(&self, _wanted: Vec<Subscription>) {
        unimplemented!()
    }

    /// Resolves when everything queued on the broker for this session at the time of the call has been delivered
    /// to the receiver (a message to itself came back, or two quiet seconds where the broker refuses that).
    pub async fn barrier(&self) {
        unimplemented!()
    }

    /// What the session is doing.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<SessionStatus> {
        self.status.clone()
    }

    /// Stops taking new messages (QoS 0 ones are dropped, others stay unacknowledged and unhandled), so that
    /// what runs can be finished; acknowledgements still go out. Then call [`Self::stop`].
    pub async fn stop_taking(&self) {
        unimplemented!()
    }

    /// Flushes the acknowledgements of the done prefix, sends DISCONNECT, closes, and returns when that is done
    /// or `patience` is over.
    pub async fn stop(&self, _end: End, _patience: Duration) {
        unimplemented!()
    }
}
