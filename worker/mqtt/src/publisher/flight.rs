//! Messages on their way to the broker: waiting, sent, confirmed.
//!
//! Pure: no socket, no clock. Nothing leaves it unanswered, except when the publisher stops.

use std::collections::VecDeque;

use bytes::BytesMut;
use foldhash::HashMap;
use tokio::sync::oneshot;

use super::{Outgoing, PublishError, Published};
use crate::{
    QoS,
    codec::{self, Fault, Kind, Outbound},
    connect::Accepted,
    link::Lost,
    reason,
};

/// Messages taken from the channel ahead of the socket.
const WAITING: usize = 1024;
/// Unwritten bytes beyond which nothing is added to the write buffer.
const UNWRITTEN: usize = 256 * 1024;
/// A message that was alone under way at so many disconnects for a reason of its own is refused.
const STRIKES: u8 = 3;

/// The answer that a caller waits for.
pub(super) type Answer = Result<Published, PublishError>;

/// A message and who waits for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) message: Outgoing,
    pub(super) reply: oneshot::Sender<Answer>,
    /// PUBREC said that nobody subscribes.
    no_subscribers: bool,
    strikes: u8,
}

impl Job {
    pub(super) fn new(message: Outgoing, reply: oneshot::Sender<Answer>) -> Self {
        Self { message, reply, no_subscribers: false, strikes: 0 }
    }

    fn answer(self, answer: Answer) {
        // The caller may have given up: the message is sent all the same.
        let _ = self.reply.send(answer);
    }

    fn refuse(self, code: u8) {
        let topic = self.message.topic.clone();
        self.answer(Err(PublishError::Refused { topic, code, reason: reason::words(code) }));
    }
}

/// What the broker of this connection takes.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    window: usize,
    packet: u32,
    qos: u8,
    retain: bool,
}

/// All messages of one publisher.
#[derive(Debug, Default)]
pub(super) struct Flight {
    waiting: VecDeque<Job>,
    /// QoS 1 and 2, by packet identifier, with the order in which they were sent.
    sent: HashMap<u16, (u64, Job)>,
    /// QoS 0, with the position in the stream where they end.
    unwritten: VecDeque<(u64, Job)>,
    limits: Limits,
    last_order: u64,
    last_id: u16,
    /// So many messages are still sent one at a time, because one of them makes the broker disconnect.
    suspects: usize,
}

impl Flight {
    // === In ===

    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING
    }

    pub(super) fn push(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty() && self.unwritten.is_empty()
    }

    /// A connection: `window` bounds what is unconfirmed, as does the broker.
    pub(super) fn connected(&mut self, accepted: &Accepted, window: u16) {
        self.limits = Limits {
            window: usize::from(window.clamp(1, accepted.receive_maximum.max(1))),
            packet: accepted.maximum_packet_size,
            qos: accepted.maximum_qos,
            retain: accepted.retain,
        };
    }

    /// The connection is gone: what is unconfirmed waits again, in the order in which it was sent.
    pub(super) fn disconnected(&mut self, lost: &Lost) {
        if let Lost::Disconnected { code, .. } = lost
            && is_about_a_message(*code)
        {
            self.suspect(*code);
        }
        let mut sent: Vec<(u64, Job)> = self.sent.drain().map(|(_, sent)| sent).collect();
        sent.sort_unstable_by_key(|(order, _)| *order);
        let unwritten = self.unwritten.drain(..);
        let mut again: VecDeque<Job> =
            sent.into_iter().chain(unwritten).map(|(_, job)| job).collect();
        again.append(&mut self.waiting);
        self.waiting = again;
    }

    /// The broker disconnected because of a message. Which one shows when they go one at a time.
    fn suspect(&mut self, code: u8) {
        if self.suspects == 0 || self.sent.len() != 1 {
            self.suspects = self.suspects.max(self.sent.len());
            return;
        }
        let Some((&id, (_, alone))) = self.sent.iter_mut().next() else { return };
        alone.strikes += 1;
        if alone.strikes >= STRIKES
            && let Some((_, alone)) = self.sent.remove(&id)
        {
            alone.refuse(code);
            self.suspects -= 1;
        }
    }

    // === Out ===

    /// Appends all that may go now to `out`, whose first byte comes after `start` others of the stream.
    pub(super) fn send(&mut self, start: u64, out: &mut BytesMut) {
        while out.len() < UNWRITTEN && self.window_is_open() {
            let Some(job) = self.waiting.pop_front() else { return };
            if job.reply.is_closed() {
                // Its caller has given up, and it was never sent, or is no longer confirmed.
                continue;
            }
            self.send_one(job, start, out);
        }
    }

    fn window_is_open(&self) -> bool {
        if self.suspects > 0 {
            return self.sent.is_empty() && self.unwritten.is_empty();
        }
        self.sent.len() < self.limits.window
    }

    fn send_one(&mut self, job: Job, start: u64, out: &mut BytesMut) {
        let message = &job.message;
        if let Some(code) = self.obstacle(message) {
            return job.refuse(code);
        }
        let id = if message.qos == QoS::AtMostOnce { 0 } else { self.free_id() };
        if let Err(error) = self.write(message, id, out) {
            return job.answer(Err(error));
        }
        if id == 0 {
            self.unwritten.push_back((start + out.len() as u64, job));
            return;
        }
        self.last_id = id;
        self.last_order += 1;
        self.sent.insert(id, (self.last_order, job));
    }

    /// Why the broker would refuse it, known without asking.
    fn obstacle(&self, message: &Outgoing) -> Option<u8> {
        let topic = &message.topic;
        if topic.is_empty() || topic.contains(['+', '#', '\0']) {
            return Some(reason::TOPIC_NAME_INVALID);
        }
        if message.retain && !self.limits.retain {
            return Some(reason::RETAIN_NOT_SUPPORTED);
        }
        (message.qos as u8 > self.limits.qos).then_some(reason::QOS_NOT_SUPPORTED)
    }

    fn write(&self, message: &Outgoing, id: u16, out: &mut BytesMut) -> Result<(), PublishError> {
        let outbound = Outbound {
            topic: &message.topic,
            payload: &message.payload,
            qos: message.qos,
            retain: message.retain,
            properties: message.properties.as_deref(),
        };
        let before = out.len();
        codec::encode_publish(&outbound, id, out).map_err(|_| PublishError::TooLarge {
            size: message.topic.len() + message.payload.len(),
            limit: u32::from(u16::MAX),
        })?;
        let size = out.len() - before;
        if size <= self.limits.packet as usize {
            return Ok(());
        }
        out.truncate(before);
        Err(PublishError::TooLarge { size, limit: self.limits.packet })
    }

    /// The window is smaller than the number of identifiers: one is free.
    fn free_id(&self) -> u16 {
        let mut id = self.last_id;
        loop {
            id = id.checked_add(1).unwrap_or(1);
            if !self.sent.contains_key(&id) {
                return id;
            }
        }
    }

    // === Confirmed ===

    /// So many bytes of the stream are written: QoS 0 asks for no more.
    pub(super) fn written(&mut self, position: u64) {
        while self.unwritten.front().is_some_and(|(end, _)| *end <= position) {
            if let Some((_, job)) = self.unwritten.pop_front() {
                self.confirm(job, 0);
            }
        }
    }

    /// PUBACK.
    pub(super) fn puback(&mut self, id: u16, code: u8) -> Result<(), Fault> {
        let job = self.take(id, QoS::AtLeastOnce, Kind::PubAck)?;
        self.confirm(job, code);
        Ok(())
    }

    /// PUBREC: the broker has it, or refuses it.
    pub(super) fn pubrec(&mut self, id: u16, code: u8, out: &mut BytesMut) -> Result<(), Fault> {
        if code >= reason::FIRST_REFUSAL {
            let job = self.take(id, QoS::ExactlyOnce, Kind::PubRec)?;
            self.confirm(job, code);
            return Ok(());
        }
        let job = self.find(id, QoS::ExactlyOnce, Kind::PubRec)?;
        job.no_subscribers = code == reason::NO_SUBSCRIBERS;
        codec::ack(Kind::PubRel, id, out);
        Ok(())
    }

    /// PUBCOMP.
    pub(super) fn pubcomp(&mut self, id: u16) -> Result<(), Fault> {
        let job = self.take(id, QoS::ExactlyOnce, Kind::PubComp)?;
        let code = if job.no_subscribers { reason::NO_SUBSCRIBERS } else { 0 };
        self.confirm(job, code);
        Ok(())
    }

    fn find(&mut self, id: u16, qos: QoS, kind: Kind) -> Result<&mut Job, Fault> {
        let sent = self.sent.get_mut(&id).map(|(_, job)| job);
        sent.filter(|job| job.message.qos == qos)
            .ok_or_else(|| Fault::protocol(format!("{} that answers nothing", kind.name())))
    }

    fn take(&mut self, id: u16, qos: QoS, kind: Kind) -> Result<Job, Fault> {
        self.find(id, qos, kind)?;
        let sent = self.sent.remove(&id).map(|(_, job)| job);
        sent.ok_or_else(|| Fault::protocol(format!("{} that answers nothing", kind.name())))
    }

    fn confirm(&mut self, job: Job, code: u8) {
        self.suspects = self.suspects.saturating_sub(1);
        if code >= reason::FIRST_REFUSAL {
            job.refuse(code);
        } else {
            job.answer(Ok(Published { no_subscribers: code == reason::NO_SUBSCRIBERS }));
        }
    }
}

/// Reasons for a DISCONNECT that one message can bring about, and would again.
fn is_about_a_message(code: u8) -> bool {
    matches!(
        code,
        reason::MALFORMED_PACKET
            | reason::PROTOCOL_ERROR
            | reason::NOT_AUTHORIZED
            | reason::TOPIC_NAME_INVALID
            | reason::PACKET_TOO_LARGE
            | 0x99
            | reason::RETAIN_NOT_SUPPORTED
            | reason::QOS_NOT_SUPPORTED
    )
}

#[cfg(test)]
mod tests;
