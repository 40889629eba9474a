//! A message on its way through the chain.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use bytestring::ByteString;
use routemq_crds::{
    table::{PayloadRules, Route},
    topic::{Level, ParamKind},
};
use routemq_mqtt::{Properties, Publish, QoS};

use crate::{payload::Payload, router::Captures};

/// A message that belongs to a route. Cheap to move; topic and payload share the read buffer.
///
/// Middleware may replace the payload; everything else stays as received.
#[derive(Clone, Debug)]
pub struct Message {
    received: Arc<Received>,
    payload: Payload,
    /// The properties without those that middleware took away; `None`: as received.
    properties: Option<Arc<Properties>>,
}

/// A message as it came, with its route: what stays while middleware changes the payload, and what
/// a dead letter is made from. One allocation a message, shared by everybody who needs it.
#[derive(Debug)]
pub struct Received {
    topic: ByteString,
    payload: Bytes,
    qos: QoS,
    retain: bool,
    duplicate: bool,
    properties: Option<Box<Properties>>,
    arrived: SystemTime,
    route: Arc<RouteInfo>,
    captures: Captures,
    pub(crate) progress: Progress,
}

/// How far the handlers came: a handler that has done its work never runs again for this message.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Handlers that are finished.
    pub(crate) finished: AtomicUsize,
    /// The most attempts that one handler took.
    pub(crate) attempts: AtomicU32,
    /// A bit for each handler that its `when` skipped (a route has at most 8).
    skipped: AtomicU8,
    /// What handlers with `as` left, by handler index.
    results: Mutex<Vec<(usize, cel::Value)>>,
}

impl Progress {
    pub(crate) fn skip(&self, handler: usize) {
        self.skipped.fetch_or(bit(handler), Ordering::Relaxed);
    }

    pub(crate) fn is_skipped(&self, handler: usize) -> bool {
        self.skipped.load(Ordering::Relaxed) & bit(handler) != 0
    }

    pub(crate) fn results(&self) -> MutexGuard<'_, Vec<(usize, cel::Value)>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bit(handler: usize) -> u8 {
    u32::try_from(handler).ok().and_then(|at| 1_u8.checked_shl(at)).unwrap_or(0)
}

/// What is known of a route by every message that belongs to it.
#[derive(Debug)]
pub struct RouteInfo {
    pub(crate) name: Arc<str>,
    pub(crate) index: usize,
    pub(crate) params: Vec<ParamInfo>,
    pub(crate) payload: PayloadRules,
    /// `as` names by handler index.
    pub(crate) results: Vec<Option<String>>,
}

/// One param of a route's pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParamInfo {
    pub(crate) name: String,
    pub(crate) kind: ParamKind,
}

impl RouteInfo {
    pub(crate) fn new(index: usize, route: &Route) -> Self {
        Self {
            name: Arc::clone(&route.name),
            index,
            params: route.pattern.levels().iter().filter_map(ParamInfo::of).collect(),
            payload: route.payload,
            results: route.handlers.iter().map(|handler| handler.result_name.clone()).collect(),
        }
    }
}

impl ParamInfo {
    fn of(level: &Level) -> Option<Self> {
        match level {
            Level::Param { name, kind } => Some(Self { name: name.clone(), kind: *kind }),
            Level::Tail { name } => Some(Self { name: name.clone(), kind: ParamKind::Text }),
            Level::Literal(_) | Level::Any | Level::Rest => None,
        }
    }
}

// === impl Received ===

impl Received {
    /// The topic it was published to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn topic_bytes(&self) -> &ByteString {
        &self.topic
    }

    /// What earlier handlers with `as` left, by name.
    pub(crate) fn results(&self) -> Vec<(String, serde_json::Value)> {
        let name = |index: usize| self.route.results.get(index)?.clone();
        let results = self.progress.results();
        let named = results.iter().filter_map(|(index, value)| Some((name(*index)?, value)));
        named.map(|(name, value)| (name, value.json().unwrap_or_default())).collect()
    }

    /// The payload as received, whatever middleware made of it since.
    pub fn original_payload(&self) -> &Bytes {
        &self.payload
    }

    /// Whether the publisher's message expiry (MQTT 5, 3.3.2.3.3) has passed since it came. What it waited for
    /// with the broker is taken off already.
    pub(crate) fn has_expired(&self) -> bool {
        let Some(seconds) = self.properties.as_ref().and_then(|it| it.message_expiry) else {
            return false;
        };
        // A clock that was put back makes no message older.
        self.arrived.elapsed().is_ok_and(|waited| waited > Duration::from_secs(seconds.into()))
    }

    /// The quality of service that the broker delivered with.
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// Whether the broker sent it because it was retained.
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// Whether the broker says that it sent it before.
    pub fn duplicate(&self) -> bool {
        self.duplicate
    }

    /// The MQTT 5 properties, where there are any.
    pub fn properties(&self) -> Option<&Properties> {
        self.properties.as_deref()
    }

    /// The indices of the handlers that did their work: finished, and not skipped by their `when`.
    pub fn acted(&self) -> impl Iterator<Item = usize> {
        let finished = self.progress.finished.load(Ordering::Relaxed);
        let skipped = u64::from(self.progress.skipped.load(Ordering::Relaxed));
        (0..finished.min(64)).filter(move |at| skipped & (1 << at) == 0)
    }

    /// When it was read from the socket.
    pub fn received_at(&self) -> SystemTime {
        self.arrived
    }

    /// The name of its route.
    pub fn route(&self) -> &Arc<str> {
        &self.route.name
    }

    /// The index of its route in the table.
    pub fn route_index(&self) -> usize {
        self.route.index
    }

    /// The params of the route's pattern with their values, in the pattern's order.
    pub fn params(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let names = self.route.params.iter().enumerate();
        names.map(|(i, param)| (param.name.as_str(), self.captures.get(&self.topic, i)))
    }

    /// The value of one param.
    pub fn param(&self, name: &str) -> Option<&str> {
        let index = self.route.params.iter().position(|param| param.name == name)?;
        Some(self.param_at(index))
    }

    /// The value of the pattern's `index`-th param.
    pub(crate) fn param_at(&self, index: usize) -> &str {
        self.captures.get(&self.topic, index)
    }

    pub(crate) fn info(&self) -> &RouteInfo {
        &self.route
    }
}

// === impl Message ===

impl Received {
    pub(crate) fn new(
        publish: Publish,
        received_at: SystemTime,
        route: Arc<RouteInfo>,
        captures: Captures,
    ) -> Self {
        Self {
            topic: publish.topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            duplicate: publish.duplicate,
            properties: publish.properties,
            arrived: received_at,
            route,
            captures,
            progress: Progress::default(),
        }
    }
}

impl Message {
    /// The message as it came, before any middleware.
    pub(crate) fn again(received: Arc<Received>) -> Self {
        let payload = Payload::of_received(Arc::clone(&received));
        Self { received, payload, properties: None }
    }

    /// The MQTT 5 properties as the steps before this one left them.
    pub fn properties(&self) -> Option<&Properties> {
        self.properties.as_deref().or(self.received.properties.as_deref())
    }

    /// Takes the user properties of this name away for the steps after this one.
    pub(crate) fn hide_user_property(&mut self, name: &str) {
        if let Some(properties) = self.properties() {
            let mut properties = properties.clone();
            properties.user.retain(|(it, _)| it != name);
            self.properties = Some(Arc::new(properties));
        }
    }

    /// The message as it came, to be kept while the message itself moves on.
    pub fn received(&self) -> &Arc<Received> {
        &self.received
    }

    /// The payload as the steps before this one left it.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Replaces or edits the payload for the steps after this one.
    pub fn payload_mut(&mut self) -> &mut Payload {
        &mut self.payload
    }
}

impl std::ops::Deref for Message {
    type Target = Received;

    fn deref(&self) -> &Received {
        &self.received
    }
}
