//! The session: one task that owns the socket.

mod driver;
mod protocol;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use smallvec::SmallVec;
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    task::spawn_blocking,
    time::timeout,
};

use self::driver::{Command, Driver, Stop};
use crate::{
    AckToken, Delivery, Pulse, SessionConfig, Trouble,
    subscriptions::{Difference, sorted},
};

/// Commands that wait for the socket task.
const COMMANDS: usize = 16;

/// Takes messages on the socket task: it must not block, and bounds itself by the receive maximum
/// (QoS 1 and 2) and by dropping (QoS 0).
pub trait Receiver: Send + 'static {
    /// One message. Called in receive order.
    fn deliver(&mut self, delivery: Delivery<'_>);
    /// The end of a turn: everything that was read has been delivered.
    fn flush(&mut self) {}
    /// Whether more came than could be taken since this was last asked: then nothing is read for a moment, so that what was taken gets
    /// done, and the rest waits with the broker.
    fn is_flooded(&mut self) -> bool {
        false
    }
    /// CONNACK accepted a connection; called before its first delivery. `session_present`: whether the
    /// broker still has the session, and so sends again every QoS 1 and 2 message that is not acknowledged.
    fn connected(&mut self, _epoch: u32, _session_present: bool) {}
    /// A connection was lost: tokens with an epoch ≤ `epoch` will acknowledge nothing.
    fn disconnected(&mut self, _epoch: u32) {}
}

/// One subscription that a session should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The whole filter, with `$share/<name>/` where it is shared.
    pub filter: Arc<str>,
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

/// What is known of each filter, by whole filter. A reader that keeps one for later copies nothing.
pub type FilterStates = Arc<BTreeMap<Arc<str>, FilterState>>;

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
        /// The same as a kind, which holds nothing that varies.
        trouble: Trouble,
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
    /// By whole filter: every wanted one, and those that are leaving. While many answers come in they are told together,
    /// a tenth of a second late or more where there are thousands.
    pub filters: FilterStates,
    /// Counts changes that concern which filters are settled: while it stands still, the same are.
    pub settlements: u64,
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
    done: mpsc::UnboundedSender<Done>,
}

/// What is done: one message a channel's turn would cost as much as the message. A few of them take no allocation.
type Done = SmallVec<[AckToken; 4]>;

impl Acks {
    /// The outcome of this message is final: acknowledge it when all before it are.
    /// Bounded by the receive maximum, since each token exists once. Never blocks.
    pub fn done(&self, token: AckToken) {
        self.done_all(&[token]);
    }

    /// The same for several at once, which costs hardly more than for one.
    pub fn done_all(&self, tokens: &[AckToken]) {
        if !tokens.is_empty() {
            // After the end of the session there is nobody to acknowledge to: the broker sends it again.
            let _ = self.done.send(Done::from_slice(tokens));
        }
    }
}

/// Starts sessions.
#[derive(Debug)]
pub struct Session;

/// Steers one session. Dropping it does not stop the session.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<SessionStatus>,
    pulse: Pulse,
    /// What was asked for last, sorted by filter.
    asked: Arc<Mutex<Arc<[Subscription]>>>,
}

impl Session {
    /// Starts the socket task on the current tokio runtime. `receiver` is made from the [`Acks`] that it (or its lanes) will use.
    pub fn spawn<R: Receiver>(
        config: SessionConfig,
        receiver: impl FnOnce(Acks) -> R,
    ) -> SessionHandle {
        let (done, tokens) = mpsc::unbounded_channel();
        let acks = Acks { done };
        let (sender, commands) = mpsc::channel(COMMANDS);
        let (reports, status) = watch::channel(SessionStatus::default());
        let receiver = receiver(acks.clone());
        let pulse = Pulse::new();
        let asked = Arc::new(Mutex::new(Arc::default()));
        let handle =
            SessionHandle { commands: sender.clone(), status, pulse: pulse.clone(), asked };
        let reports = (reports, pulse);
        let driver = Driver::new(config, receiver, (acks, tokens), (sender, commands), reports);
        tokio::spawn(driver.run());
        handle
    }
}

/// More than this are compared on a thread of their own.
const COMPARED_HERE: usize = 256;

/// `wanted`, sorted, and what is different about it. Nothing where the runtime ends.
async fn compared(
    before: Arc<[Subscription]>,
    wanted: Arc<[Subscription]>,
) -> Option<(Arc<[Subscription]>, Difference)> {
    let is_large = before.len().max(wanted.len()) > COMPARED_HERE;
    let compare = move || {
        let wanted = sorted(wanted);
        let difference = Difference::between(&before, &wanted);
        (wanted, difference)
    };
    if is_large { spawn_blocking(compare).await.ok() } else { Some(compare()) }
}

impl SessionHandle {
    /// The subscriptions that the session should hold from now on: subscribes what is new, then
    /// unsubscribes what is gone. Survives reconnects. Watch [`Self::status`] for the answers; when this returns,
    /// the status names every wanted filter.
    ///
    /// A resumed session may hold filters that this run was never told of: MQTT has no way to list them. What its predecessor
    /// has noted with the broker (the retained message of the barrier's topic) is left after the first barrier; to leave
    /// others, see [`Self::leave`].
    ///
    /// Many are compared with what was wanted before where no message waits for it: the socket task learns of what changes alone.
    pub async fn subscribe_to(&self, wanted: impl Into<Arc<[Subscription]>>) {
        let mut asked = self.asked.lock().await;
        let compared = compared(Arc::clone(&asked), wanted.into()).await;
        let Some((wanted, difference)) = compared else { return };
        let Ok(command) = self.commands.reserve().await else { return };
        let (reply, answer) = oneshot::channel();
        // Both or neither, also where the caller gives up waiting.
        *asked = wanted;
        command.send(Command::Change(difference, reply));
        drop(asked);
        // None comes from a session that has ended.
        let _ = answer.await;
    }

    /// Unsubscribes filters that a predecessor of this client id may have left subscribed, but for those that are wanted now.
    /// They are seen as [`FilterState::Leaving`] until the barrier after the UNSUBACK. Survives reconnects; a session that the broker
    /// no longer has holds none.
    pub async fn leave(&self, filters: Vec<String>) {
        self.ask(|reply| Command::Leave(filters, reply)).await;
    }

    /// Resolves when everything queued on the broker for this session at the time of the call has been delivered
    /// to the receiver, with whether that is proven: a message to itself came back, or two quiet seconds passed where the broker
    /// refuses that. False: it was never quiet for a minute, or the session is stopped. Waits for a connection, and until every
    /// SUBSCRIBE and UNSUBSCRIBE is answered.
    pub async fn barrier(&self) -> bool {
        self.ask(Command::Barrier).await.unwrap_or(false)
    }

    /// What the session is doing.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<SessionStatus> {
        self.status.clone()
    }

    /// Its life signs: whether its task turns, what is unacknowledged.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Stops taking new messages (QoS 0 ones are dropped, others stay unacknowledged and unhandled), so that
    /// what runs can be finished; acknowledgements still go out. Then call [`Self::stop`].
    pub async fn stop_taking(&self) {
        self.ask(Command::StopTaking).await;
    }

    /// Flushes the acknowledgements of the done prefix, sends DISCONNECT, closes, and returns when that is done
    /// or `patience` is over; whether the broker was told. Without a connection there is nothing to flush, and [`End::Discard`] is
    /// left to the session's expiry.
    pub async fn stop(&self, end: End, patience: Duration) -> bool {
        let asked = self.ask(|done| Command::Stop(Stop { end, patience, done }));
        // The task keeps to `patience` itself; a little more for a task that is at work.
        matches!(timeout(patience + Duration::from_secs(1), asked).await, Ok(Some(true)))
    }

    /// Sends a command and waits for its answer; none comes from a session that has ended.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}
