//! The ways into the lanes: what a turn has for each of them, and how much may wait there.
//!
//! # Guarantees
//! - Messages of one key go to the same lane, in the order in which they are handed over.
//! - A batch is of one table and of one read.
//! - QoS 0 messages that wait are bounded in number and in bytes; those that are owed an acknowledgement are bounded by the
//!   receive maximum.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::SystemTime,
};

use bytes::Bytes;
use routemq_mqtt::{AckToken, Delivery};
use tokio::{sync::mpsc, time::Instant};

use super::{handling::Ready, shard::Command};
use crate::{
    engine::{Found, Local},
    message::Parts,
};

/// QoS 0 messages that may wait in a worker's lanes: beyond it they are dropped and counted.
const MOST_UNOWED: u64 = 16_384;
/// Their bytes.
const MOST_UNOWED_BYTES: u64 = 32 * 1024 * 1024;
/// When more of them wait than this, those that come are copied out of the read buffer: what comes between them may be
/// dropped, so each could keep a buffer of 128 KiB in memory.
const MOST_SHARING: u64 = 256;
/// Of a read buffer.
const BUFFER_BYTES: u64 = 128 * 1024;
/// Bytes of QoS 0 messages that wait, at most, read buffers included.
pub(crate) const MOST_UNOWED_MEMORY: u64 = MOST_UNOWED_BYTES + MOST_SHARING * BUFFER_BYTES;

/// Messages for one lane, of one turn and one table.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Whose table matched them, as the lane sees it.
    pub(crate) local: Arc<Local>,
    /// What was read.
    pub(crate) read: Bytes,
    /// When.
    pub(crate) arrived: SystemTime,
    /// The same, to measure from.
    pub(crate) at: Instant,
    /// In receive order.
    pub(crate) jobs: Vec<Admitted>,
}

/// A message that belongs to a route.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Messages with the same key keep their order.
    pub(crate) key: u64,
    /// What is acknowledged in the end.
    pub(crate) token: Option<AckToken>,
    /// What it lies in, where that is not what the batch's were read into.
    pub(crate) own: Option<Box<Bytes>>,
    /// The message.
    pub(crate) parts: Parts,
}

/// QoS 0 messages that lanes are done with: what the dispatcher has handed out, less this, is waiting.
#[derive(Debug, Default)]
pub(crate) struct Unowed {
    pub(crate) messages: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// The way into one lane.
#[derive(Debug)]
struct Feed {
    lane: mpsc::UnboundedSender<Command<Batch>>,
    jobs: Vec<Admitted>,
}

/// The ways into all lanes.
#[derive(Debug)]
pub(super) struct Feeds {
    lanes: Vec<Feed>,
    /// Whose messages are in them.
    filling: Arc<Ready>,
    /// What those lie in.
    read: Bytes,
    /// QoS 0 messages and bytes handed out.
    handed: (u64, u64),
    /// Messages handed out this turn that are owed an acknowledgement.
    pub(super) owed: u64,
}

/// What is fixed for the messages of one turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) time: SystemTime,
    pub(super) at: Instant,
    /// QoS 0 messages and bytes that lanes were done with when the turn began.
    pub(super) finished: (u64, u64),
}

/// Where a message is kept while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// In the read buffer.
    Shared,
    /// By itself.
    Apart,
}

impl Feeds {
    /// `ready` is whose messages come first.
    pub(super) fn new(
        lanes: Vec<mpsc::UnboundedSender<Command<Batch>>>,
        ready: &Arc<Ready>,
    ) -> Self {
        let feed = |lane| Feed { lane, jobs: Vec::new() };
        Self {
            lanes: lanes.into_iter().map(feed).collect(),
            filling: Arc::clone(ready),
            read: Bytes::new(),
            handed: (0, 0),
            owed: 0,
        }
    }

    /// Tells each lane, after what was handed to it before.
    pub(super) fn tell(&self, command: impl Fn() -> Command<Batch>) {
        for feed in &self.lanes {
            let _ = feed.lane.send(command());
        }
    }

    /// Where a message is kept; `None`: a QoS 0 message for which there is no room.
    pub(super) fn room(
        &self,
        turn: Turn,
        Delivery { arrival, token }: &Delivery<'_>,
    ) -> Option<Room> {
        if token.is_some() {
            return Some(Room::Shared);
        }
        let messages = self.handed.0.saturating_sub(turn.finished.0);
        let bytes = self.handed.1.saturating_sub(turn.finished.1) + arrival.size() as u64;
        if messages >= MOST_UNOWED || (messages > 0 && bytes > MOST_UNOWED_BYTES) {
            return None;
        }
        Some(if messages < MOST_SHARING { Room::Shared } else { Room::Apart })
    }

    pub(super) fn hand_over(
        &mut self,
        ready: &Arc<Ready>,
        delivery: Delivery<'_>,
        found: Found,
        turn: Turn,
        room: Room,
    ) {
        let Delivery { mut arrival, token } = delivery;
        self.fill(ready, arrival.read, turn);
        let key = ready.engine.key(&arrival, &found, turn.time);
        let own = (room == Room::Apart).then(|| Box::new(arrival.detach()));
        let parts = found.parts(arrival, own.as_deref());
        if token.is_none() {
            self.handed.0 += 1;
            self.handed.1 += parts.size();
        } else {
            self.owed += 1;
        }
        let lane = lane_of(key, self.lanes.len());
        self.lanes[lane].jobs.push(Admitted { key, token, own, parts });
    }

    /// A batch is of one table and of one read.
    fn fill(&mut self, ready: &Arc<Ready>, read: &Bytes, turn: Turn) {
        let is_same = self.read.as_ptr() == read.as_ptr() && self.read.len() == read.len();
        if is_same && Arc::ptr_eq(&self.filling, ready) {
            return;
        }
        self.send_batches(turn);
        self.filling = Arc::clone(ready);
        self.read = read.clone();
    }

    fn send_batches(&mut self, turn: Turn) {
        let feeds = self.lanes.iter_mut().zip(&self.filling.locals);
        for (feed, local) in feeds.filter(|(feed, _)| !feed.jobs.is_empty()) {
            // Rounded up: the next one is seldom as long, and to grow it would copy it.
            let jobs = Vec::with_capacity(feed.jobs.len().next_power_of_two());
            let batch = Batch {
                local: Arc::clone(local),
                read: self.read.clone(),
                arrived: turn.time,
                at: turn.at,
                jobs: std::mem::replace(&mut feed.jobs, jobs),
            };
            // A lane that is gone is one that was stopped: its messages stay with the broker.
            let _ = feed.lane.send(Command::Run(batch));
        }
    }

    /// Nothing is kept of what was read.
    pub(super) fn end_turn(&mut self, turn: Turn) {
        self.send_batches(turn);
        self.read = Bytes::new();
    }
}

/// By the key's high bits, without a division.
fn lane_of(key: u64, lanes: usize) -> usize {
    let index = ((key >> 32) * lanes as u64) >> 32;
    usize::try_from(index).unwrap_or_default()
}
