//! One client's session: what it subscribes to, what waits for it, what is on its way.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{LastWill, Packet, PubRel, Publish, PublishProperties},
};
use tokio::sync::Notify;

use super::filter::Wanted;

/// Copies that wait for one session; what comes after is refused.
const MAX_QUEUED: usize = 100_000;
/// How much is written at once.
const CHUNK: usize = 64 * 1024;

/// A message as it was published.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) properties: PublishProperties,
    pub(super) expires: Option<Instant>,
}

/// One session's copy of a message.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub(super) message: Arc<Message>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) identifier: Option<usize>,
    /// The share that it was dealt for.
    pub(super) share: Option<Wanted>,
}

#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) wanted: Wanted,
    pub(super) qos: QoS,
    pub(super) identifier: Option<usize>,
    pub(super) no_local: bool,
    pub(super) keep_retain: bool,
}

/// Where a sent QoS 1 or 2 copy stands.
#[derive(Debug)]
enum Stage {
    /// Waits for PUBACK or PUBREC.
    Sent(Copy),
    /// PUBREL is out, waits for PUBCOMP.
    Released,
}

#[derive(Debug)]
pub(super) struct Session {
    /// By filter as written.
    pub(super) subscriptions: BTreeMap<String, Subscription>,
    queue: VecDeque<Copy>,
    in_flight: VecDeque<(u16, Stage)>,
    next_id: u16,
    /// QoS 2 packet ids that the client has not released.
    pub(super) received: HashSet<u16>,
    /// The connection that has the session now.
    pub(super) connection: Option<u64>,
    pub(super) wake: Arc<Notify>,
    pub(super) receive_maximum: usize,
    pub(super) max_packet: Option<u32>,
    pub(super) expiry: Duration,
    /// Set while there is no connection; `None`: never.
    pub(super) ends: Option<Instant>,
    pub(super) will: Option<LastWill>,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            subscriptions: BTreeMap::new(),
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            next_id: 0,
            received: HashSet::new(),
            connection: None,
            wake: Arc::default(),
            receive_maximum: usize::from(u16::MAX),
            max_packet: None,
            expiry: Duration::ZERO,
            ends: None,
            will: None,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= MAX_QUEUED
    }

    pub(super) fn push(&mut self, copy: Copy) {
        // QoS 0 is not kept for a client that is away (MQTT 5, 4.1.0, a server's choice).
        if self.connection.is_some() || copy.qos != QoS::AtMostOnce {
            self.queue.push_back(copy);
            self.wake.notify_one();
        }
    }

    /// What was sent and not acknowledged is sent again, before what waits (MQTT-4.4.0-1).
    pub(super) fn resend(&mut self, out: &mut BytesMut) {
        for (id, stage) in &self.in_flight {
            let packet = match stage {
                Stage::Sent(copy) => publish(copy, *id, true),
                Stage::Released => Some(Packet::PubRel(PubRel::new(*id, None))),
            };
            write(packet, self.max_packet, out);
        }
    }

    /// Writes what may go now: at most the receive maximum unacknowledged, and a chunk at a time. True if more could go.
    pub(super) fn send(&mut self, out: &mut BytesMut) -> bool {
        while out.len() < CHUNK {
            let window = self.in_flight.len() < self.receive_maximum;
            match self.queue.front() {
                None => return false,
                Some(copy) if copy.qos != QoS::AtMostOnce && !window => return false,
                Some(_) => {}
            }
            let Some(copy) = self.queue.pop_front() else { return false };
            self.send_one(copy, out);
        }
        !self.queue.is_empty()
    }

    fn send_one(&mut self, copy: Copy, out: &mut BytesMut) {
        let id = if copy.qos == QoS::AtMostOnce { 0 } else { self.free_id() };
        let packet = publish(&copy, id, false);
        // Expired, or larger than the client takes: not sent (MQTT-3.3.2-5, MQTT-3.1.2-25).
        if write(packet, self.max_packet, out) && id != 0 {
            self.in_flight.push_back((id, Stage::Sent(copy)));
        }
    }

    fn free_id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if !self.in_flight.iter().any(|(id, _)| *id == self.next_id) {
                return self.next_id;
            }
        }
    }

    /// PUBACK, PUBCOMP, or a PUBREC that refuses. False: no such packet was out.
    pub(super) fn acknowledged(&mut self, id: u16) -> bool {
        let at = self.in_flight.iter().position(|(known, _)| *known == id);
        at.is_some_and(|at| self.in_flight.remove(at).is_some())
    }

    /// PUBREC: from now on only the PUBREL is repeated.
    pub(super) fn release(&mut self, id: u16) -> bool {
        let found = self.in_flight.iter_mut().find(|(known, _)| *known == id);
        found.map(|(_, stage)| *stage = Stage::Released).is_some()
    }

    /// What it never acknowledged, in the order it came.
    pub(super) fn into_unfinished(self) -> impl Iterator<Item = Copy> {
        let sent = self.in_flight.into_iter().filter_map(|(_, stage)| match stage {
            Stage::Sent(copy) => Some(copy),
            Stage::Released => None,
        });
        sent.chain(self.queue)
    }
}

/// `None` where the message has expired.
fn publish(copy: &Copy, id: u16, again: bool) -> Option<Packet> {
    let message = &copy.message;
    let mut properties = message.properties.clone();
    if let Some(expires) = message.expires {
        let left = expires.checked_duration_since(Instant::now())?;
        properties.message_expiry_interval =
            Some(u32::try_from(left.as_secs()).unwrap_or(1).max(1));
    }
    properties.subscription_identifiers = copy.identifier.into_iter().collect();
    let plain = properties == PublishProperties::default();
    Some(Packet::Publish(Publish {
        dup: again,
        qos: copy.qos,
        retain: copy.retain,
        topic: Bytes::copy_from_slice(message.topic.as_bytes()),
        pkid: id,
        payload: message.payload.clone(),
        properties: (!plain).then_some(properties),
    }))
}

fn write(packet: Option<Packet>, max_packet: Option<u32>, out: &mut BytesMut) -> bool {
    packet.is_some_and(|packet| packet.write(out, max_packet).is_ok())
}
