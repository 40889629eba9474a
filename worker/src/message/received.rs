//! A message as it came.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use bytestring::ByteString;
use routemq_crds::table::PayloadRules;
use routemq_mqtt::{Arrival, Properties, QoS};

use super::{
    RouteInfo,
    progress::Progress,
    read::{Origin, Part, Slice},
};
use crate::{payload::Payload, router::Captures};

/// A message as it came, with its route: what stays while middleware changes the payload, and what
/// a dead letter is made from. One allocation a message, shared by everybody who needs it.
#[derive(Debug)]
pub struct Received {
    origin: Arc<Origin>,
    /// Of `origin`.
    topic: Part,
    route: u32,
    pub(super) payload: Payload,
    head: Head,
    captures: Captures,
    pub(crate) progress: Progress,
}

/// What a PUBLISH says beside its topic and its payload.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) duplicate: bool,
    pub(crate) properties: Option<Box<Properties>>,
}

/// A message as its parts, on the way to the lane that makes a [`Received`] of it.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) topic: Part,
    pub(crate) payload: Part,
    pub(crate) head: Head,
    /// The index of its route.
    pub(crate) route: u32,
    pub(crate) captures: Captures,
}

impl Parts {
    /// Of a message that lies in what was read, or by itself in `own` (see [`Arrival::detach`]).
    pub(crate) fn of(
        arrival: Arrival<'_>,
        own: Option<&Bytes>,
        route: u32,
        captures: Captures,
    ) -> Self {
        let (topic, payload) = match own {
            Some(own) => own.split_at(arrival.topic.len()),
            None => (arrival.topic.as_bytes(), arrival.payload),
        };
        let read = own.unwrap_or(arrival.read);
        let Arrival { qos, retain, duplicate, properties, .. } = arrival;
        Self {
            topic: Part::of(read, topic),
            payload: Part::of(read, payload),
            head: Head { qos, retain, duplicate, properties },
            route,
            captures,
        }
    }

    /// Bytes that a sender can make large.
    pub(crate) fn size(&self) -> u64 {
        let properties = self.head.properties.as_ref().map_or(0, |it| it.size());
        self.topic.size() + self.payload.size() + properties as u64
    }
}

impl Received {
    /// `parts` lie in what `origin` read, by a table with its routes; `rules` are those of its route.
    pub(crate) fn new(origin: &Arc<Origin>, parts: Parts, rules: PayloadRules) -> Self {
        let Parts { topic, payload, head, route, captures } = parts;
        Self {
            origin: Arc::clone(origin),
            topic,
            route,
            payload: Payload::of_read(Slice::new(origin, payload), rules),
            head,
            captures,
            progress: Progress::default(),
        }
    }

    /// The topic it was published to.
    pub fn topic(&self) -> &str {
        // The session has checked it.
        std::str::from_utf8(self.topic_bytes()).unwrap_or_default()
    }

    /// The same where nobody asks for text.
    pub(crate) fn topic_bytes(&self) -> &[u8] {
        self.origin.bytes(self.topic)
    }

    /// The topic by itself; shares the read buffer.
    pub(crate) fn shared_topic(&self) -> ByteString {
        self.origin.shared(self.topic).try_into().unwrap_or_default()
    }

    /// What earlier handlers with `as` left, by name.
    pub(crate) fn results(&self) -> Vec<(String, serde_json::Value)> {
        let name = |index: usize| self.info().results.get(index)?.clone();
        let results = self.progress.results();
        let named = results.iter().filter_map(|(index, value)| Some((name(*index)?, value)));
        named.map(|(name, value)| (name, value.json().unwrap_or_default())).collect()
    }

    /// The payload as received, whatever middleware made of it since.
    pub fn original_payload(&self) -> &[u8] {
        self.payload.view().unwrap_or_default()
    }

    /// The same by itself; shares the read buffer.
    pub(crate) fn shared_payload(&self) -> Bytes {
        self.payload.bytes().unwrap_or_default()
    }

    /// Whether the publisher's message expiry (MQTT 5, 3.3.2.3.3) has passed since it came. What it waited for
    /// with the broker is taken off already.
    pub(crate) fn has_expired(&self) -> bool {
        let Some(seconds) = self.properties().and_then(|it| it.message_expiry) else {
            return false;
        };
        // A clock that was put back makes no message older.
        let waited = self.origin.arrived.elapsed();
        waited.is_ok_and(|waited| waited > Duration::from_secs(seconds.into()))
    }

    /// The quality of service that the broker delivered with.
    pub fn qos(&self) -> QoS {
        self.head.qos
    }

    /// Whether the broker sent it because it was retained.
    pub fn retain(&self) -> bool {
        self.head.retain
    }

    /// Whether the broker says that it sent it before.
    pub fn duplicate(&self) -> bool {
        self.head.duplicate
    }

    /// The MQTT 5 properties, where there are any.
    pub fn properties(&self) -> Option<&Properties> {
        self.head.properties.as_deref()
    }

    /// The indices of the handlers that did their work: finished, and not skipped by their `when`.
    pub fn acted(&self) -> impl Iterator<Item = usize> {
        self.progress.acted()
    }

    /// When it was read from the socket.
    pub fn received_at(&self) -> SystemTime {
        self.origin.arrived
    }

    /// The name of its route.
    pub fn route(&self) -> &Arc<str> {
        &self.info().name
    }

    /// The index of its route in the table.
    pub fn route_index(&self) -> usize {
        self.route as usize
    }

    /// The params of the route's pattern with their values, in the pattern's order.
    pub fn params(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let names = self.info().params.iter().enumerate();
        let topic = self.topic();
        names.map(move |(i, param)| (param.name.as_str(), self.captures.get(topic, i)))
    }

    /// The value of one param.
    pub fn param(&self, name: &str) -> Option<&str> {
        let index = self.info().params.iter().position(|param| param.name == name)?;
        Some(self.param_at(index))
    }

    /// The value of the pattern's `index`-th param.
    pub(crate) fn param_at(&self, index: usize) -> &str {
        self.captures.get(self.topic(), index)
    }

    pub(crate) fn captures(&self) -> &Captures {
        &self.captures
    }

    pub(crate) fn info(&self) -> &RouteInfo {
        &self.origin.routes[self.route_index()]
    }
}
