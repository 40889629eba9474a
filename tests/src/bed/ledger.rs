//! Who was sent which message, and who acknowledged it, by the packets on the wire.
//!
//! Messages are told apart by their topics, so every message of a test has a topic of its own.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use crate::{Direction, Frame, Verdict};

/// Shared with the proxy that feeds it.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Entries>>);

/// What happened to one message.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// The connections that it was sent over, and whether it was marked as a duplicate.
    pub sent: Vec<(u64, bool)>,
    /// The connections that acknowledged it.
    pub acknowledged: Vec<u64>,
}

#[derive(Debug, Default)]
struct Entries {
    messages: BTreeMap<String, Entry>,
    /// What a packet id of a connection stands for until it is acknowledged. More than one message where the broker
    /// uses an id again too early (mosquitto 2.0.11, with more than 65,535 queued): the first is acknowledged first.
    open: HashMap<(u64, u16), VecDeque<String>>,
    subscribed: BTreeSet<u64>,
    /// Connections with CONNACK, and whether the broker had their session.
    greeted: BTreeMap<u64, bool>,
    strays: Vec<(u64, u16)>,
}

impl Ledger {
    /// The proxy's tap: watches, and lets everything pass.
    pub fn watch(&self) -> impl Fn(u64, Direction, &Frame) -> Verdict + Send + Sync + 'static {
        let ledger = self.clone();
        move |connection, direction, frame| {
            ledger.note(connection, direction, frame);
            Verdict::Pass
        }
    }

    /// How many messages whose topic starts with `prefix` satisfy `condition`.
    pub fn count(&self, prefix: &str, condition: impl Fn(&Entry) -> bool) -> usize {
        let entries = self.lock();
        let of_prefix = entries.messages.iter().filter(|(topic, _)| topic.starts_with(prefix));
        of_prefix.filter(|(_, entry)| condition(entry)).count()
    }

    /// The messages whose topic starts with `prefix`.
    pub fn entries(&self, prefix: &str) -> BTreeMap<String, Entry> {
        let entries = self.lock();
        let of_prefix = entries.messages.iter().filter(|(topic, _)| topic.starts_with(prefix));
        of_prefix.map(|(topic, entry)| (topic.clone(), entry.clone())).collect()
    }

    /// How many messages of `prefix` each connection acknowledged.
    pub fn shares(&self, prefix: &str) -> BTreeMap<u64, usize> {
        let mut shares = BTreeMap::new();
        for entry in self.entries(prefix).values() {
            for connection in &entry.acknowledged {
                *shares.entry(*connection).or_default() += 1;
            }
        }
        shares
    }

    /// The connections that were granted a subscription.
    pub fn subscribed(&self) -> usize {
        self.lock().subscribed.len()
    }

    /// Whether the broker had the session of each connection, by the order of connecting.
    pub fn sessions_present(&self) -> Vec<bool> {
        self.lock().greeted.values().copied().collect()
    }

    /// Acknowledgements of what was not delivered on that connection, or acknowledged there before.
    pub fn strays(&self) -> Vec<(u64, u16)> {
        self.lock().strays.clone()
    }

    fn note(&self, connection: u64, direction: Direction, frame: &Frame) {
        let mut entries = self.lock();
        match (direction, frame.kind()) {
            (Direction::ToClient, Frame::PUBLISH) => entries.sent(connection, frame),
            (Direction::ToBroker, Frame::PUBACK) => entries.acknowledged(connection, frame),
            (Direction::ToClient, Frame::CONNACK) => {
                entries.greeted.insert(connection, frame.session_present());
            }
            (Direction::ToClient, Frame::SUBACK) => {
                entries.subscribed.insert(connection);
            }
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().expect("no test fails while it holds the ledger")
    }
}

impl Entries {
    fn sent(&mut self, connection: u64, frame: &Frame) {
        let topic = frame.topic().expect("a PUBLISH has a topic");
        let topic = String::from_utf8(topic.to_vec()).expect("topics are UTF-8");
        let duplicate = frame.bytes()[0] & 0b1000 != 0;
        self.messages.entry(topic.clone()).or_default().sent.push((connection, duplicate));
        if let Some(id) = frame.packet_id() {
            self.open.entry((connection, id)).or_default().push_back(topic);
        }
    }

    fn acknowledged(&mut self, connection: u64, frame: &Frame) {
        let id = frame.packet_id().expect("a PUBACK has a packet id");
        match self.open.get_mut(&(connection, id)).and_then(VecDeque::pop_front) {
            Some(topic) => {
                let entry = self.messages.get_mut(&topic).expect("what is open was sent");
                entry.acknowledged.push(connection);
            }
            None => self.strays.push((connection, id)),
        }
    }
}
