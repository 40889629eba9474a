//! A message on its way through the chain.

use std::{
    ops::Range,
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

/// A message that belongs to a route. Two words; topic and payload share the read buffer.
///
/// Middleware may replace the payload; everything else stays as received.
#[derive(Clone, Debug)]
pub struct Message {
    received: Arc<Received>,
    /// What steps have changed; most change nothing.
    changed: Option<Arc<Changed>>,
}

#[derive(Clone, Debug)]
struct Changed {
    payload: Payload,
    /// The properties without those that middleware took away; `None`: as received.
    properties: Option<Properties>,
}

/// A message as it came, with its route: what stays while middleware changes the payload, and what
/// a dead letter is made from. One allocation a message, shared by everybody who needs it.
#[derive(Debug)]
pub struct Received {
    origin: Arc<Origin>,
    /// Of `origin`.
    topic: Part,
    route: u32,
    payload: Payload,
    head: Head,
    captures: Captures,
    pub(crate) progress: Progress,
}

/// What the messages of one read have in common, as one lane sees it: whoever counted references of the read buffer itself for
/// each message would contend with the socket's task and with other lanes.
#[derive(Debug)]
pub(crate) struct Origin {
    /// What was read.
    pub(crate) read: Bytes,
    pub(crate) arrived: SystemTime,
    /// Of the table that matched them.
    pub(crate) routes: Arc<[RouteInfo]>,
}

/// Bytes of [`Origin::read`]: a read has less than 4 GiB, since no packet is larger than 256 MiB (MQTT 5, 1.5.5).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    start: u32,
    len: u32,
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
    /// A handler was tried so many times.
    pub(crate) fn tried(&self, attempts: u32) {
        if self.attempts.load(Ordering::Relaxed) < attempts {
            self.attempts.fetch_max(attempts, Ordering::Relaxed);
        }
    }

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
    pub(crate) params: Vec<ParamInfo>,
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
    pub(crate) fn new(route: &Route) -> Self {
        Self {
            name: Arc::clone(&route.name),
            params: route.pattern.levels().iter().filter_map(ParamInfo::of).collect(),
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

// === impl Origin, Part ===

impl Origin {
    fn bytes(&self, part: Part) -> &[u8] {
        &self.read[part.range()]
    }
}

impl Part {
    /// Where `inner`, which lies in `outer`, stands in it.
    pub(crate) fn of(outer: &[u8], inner: &[u8]) -> Self {
        let narrow = |number: usize| u32::try_from(number).unwrap_or_default();
        let start = inner.as_ptr().addr().saturating_sub(outer.as_ptr().addr());
        if inner.is_empty() || start + inner.len() > outer.len() {
            return Self { start: 0, len: 0 };
        }
        Self { start: narrow(start), len: narrow(inner.len()) }
    }

    fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }
}

impl Parts {
    /// Bytes that a sender can make large.
    pub(crate) fn size(&self) -> u64 {
        let properties = self.head.properties.as_ref().map_or(0, |it| it.size());
        u64::from(self.topic.len) + u64::from(self.payload.len) + properties as u64
    }
}

impl From<Publish> for Head {
    fn from(publish: Publish) -> Self {
        let Publish { qos, retain, duplicate, properties, .. } = publish;
        Self { qos, retain, duplicate, properties }
    }
}

// === impl Received ===

impl Received {
    /// `parts` lie in what `origin` read, by a table with its routes; `rules` are those of its route.
    pub(crate) fn new(origin: &Arc<Origin>, parts: Parts, rules: PayloadRules) -> Self {
        let Parts { topic, payload, head, route, captures } = parts;
        Self {
            origin: Arc::clone(origin),
            topic,
            route,
            payload: Payload::of_read(Slice { origin: Arc::clone(origin), part: payload }, rules),
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
        self.origin.read.slice(self.topic.range()).try_into().unwrap_or_default()
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
        let finished = self.progress.finished.load(Ordering::Relaxed);
        let skipped = u64::from(self.progress.skipped.load(Ordering::Relaxed));
        (0..finished.min(64)).filter(move |at| skipped & (1 << at) == 0)
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

// === impl Message ===

impl Message {
    /// The message as it came, before any middleware.
    pub(crate) fn again(received: Arc<Received>) -> Self {
        Self { received, changed: None }
    }

    /// The MQTT 5 properties as the steps before this one left them.
    pub fn properties(&self) -> Option<&Properties> {
        let changed = self.changed.as_ref().and_then(|changed| changed.properties.as_ref());
        changed.or(self.received.properties())
    }

    /// Takes the user properties of this name away for the steps after this one.
    pub(crate) fn hide_user_property(&mut self, name: &str) {
        if let Some(properties) = self.properties() {
            let mut properties = properties.clone();
            properties.user.retain(|(it, _)| it != name);
            self.changed().properties = Some(properties);
        }
    }

    /// The message as it came, to be kept while the message itself moves on.
    pub fn received(&self) -> &Arc<Received> {
        &self.received
    }

    /// The payload as the steps before this one left it.
    pub fn payload(&self) -> &Payload {
        self.changed.as_ref().map_or(&self.received.payload, |changed| &changed.payload)
    }

    /// Replaces or edits the payload for the steps after this one.
    pub fn payload_mut(&mut self) -> &mut Payload {
        &mut self.changed().payload
    }

    fn changed(&mut self) -> &mut Changed {
        let as_received =
            || Arc::new(Changed { payload: self.received.payload.clone(), properties: None });
        Arc::make_mut(self.changed.get_or_insert_with(as_received))
    }
}

// === impl Slice ===

/// Bytes of what was read, and what keeps them.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    origin: Arc<Origin>,
    part: Part,
}

impl Slice {
    pub(crate) fn view(&self) -> &[u8] {
        self.origin.bytes(self.part)
    }

    /// By itself; shares the read buffer.
    pub(crate) fn bytes(&self) -> Bytes {
        self.origin.read.slice(self.part.range())
    }
}

impl std::ops::Deref for Message {
    type Target = Received;

    fn deref(&self) -> &Received {
        &self.received
    }
}
