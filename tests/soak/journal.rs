//! What was published, and what the broker said to it.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::moment::{Clock, Moment};

/// What is known of a message's publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Sent; the broker has not answered.
    Sent,
    /// The broker took it upon itself: it must have its effect.
    Accepted(Moment),
    /// The broker said that nobody subscribes (0x10), so it has dropped it: the publisher sends it again. A restarted
    /// mosquitto 2.0.11 has forgotten its shared subscriptions until the workers ask again.
    Nobody,
    /// The connection broke before the answer: it may have its effect, or not.
    Unknown,
}

/// One message; its id is its place in the journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// Messages of one key have an order.
    pub(crate) key: u16,
    /// When it was sent last.
    pub(crate) sent: Moment,
    /// What became of it.
    pub(crate) state: State,
}

/// Shared by the publisher, who writes, and the accountant, who reads.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    clock: Clock,
    keys: u16,
    seed: u64,
    entries: Arc<Mutex<Vec<Entry>>>,
    /// How often the broker said that nobody subscribes.
    nobody: Arc<AtomicUsize>,
}

/// How many messages there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sent: usize,
    pub(crate) accepted: usize,
    pub(crate) unknown: usize,
}

impl Journal {
    /// An empty one; messages are spread over so many keys.
    pub(crate) fn new(clock: Clock, seed: u64, keys: u16) -> Self {
        Self { clock, keys, seed, entries: Arc::default(), nobody: Arc::default() }
    }

    /// The next message is about to be sent: its id.
    pub(crate) fn next(&self) -> u64 {
        let sent = self.clock.now();
        let mut entries = self.lock();
        let id = entries.len() as u64;
        let key =
            fastrand::Rng::with_seed(self.seed.wrapping_mul(31).wrapping_add(id)).u16(..self.keys);
        entries.push(Entry { key, sent, state: State::Sent });
        id
    }

    /// A message that nobody got is about to be sent again.
    pub(crate) fn again(&self, id: u64) {
        let sent = self.clock.now();
        self.change(id, |entry| (entry.sent, entry.state) = (sent, State::Sent));
    }

    /// The broker has answered.
    pub(crate) fn answered(&self, id: u64, accepted: bool) {
        let now = self.clock.now();
        let state = if accepted { State::Accepted(now) } else { State::Nobody };
        self.nobody.fetch_add(usize::from(!accepted), Relaxed);
        self.change(id, |entry| entry.state = state);
    }

    /// The connection broke before the answer.
    pub(crate) fn unknown(&self, id: u64) {
        self.change(id, |entry| entry.state = State::Unknown);
    }

    /// The topic of a message.
    pub(crate) fn topic(&self, id: u64) -> String {
        topic(self.lock()[index(id)].key, id)
    }

    /// How often the broker said that nobody subscribes.
    pub(crate) fn nobody(&self) -> usize {
        self.nobody.load(Relaxed)
    }

    /// A copy of everything.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// How many there are.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for entry in self.lock().iter() {
            counts.sent += 1;
            counts.accepted += usize::from(matches!(entry.state, State::Accepted(_)));
            counts.unknown += usize::from(entry.state == State::Unknown);
        }
        counts
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Entry)) {
        change(&mut self.lock()[index(id)]);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().expect("nobody fails while holding the journal")
    }
}

/// The topic of a message.
pub(crate) fn topic(key: u16, id: u64) -> String {
    format!("soak/k-{key}/{id}")
}

/// The id in a topic; `None`: not one of ours.
pub(crate) fn id_of(topic: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(topic).ok()?;
    text.strip_prefix("soak/")?.split_once('/')?.1.parse().ok()
}

/// What the row of a message must hold, so that a row mixed up with another is seen.
pub(crate) fn value(id: u64) -> i64 {
    i64::try_from(id * 7919 % 1_000_003).expect("less than a million")
}

/// The place of an id.
pub(crate) fn index(id: u64) -> usize {
    usize::try_from(id).expect("ids are counted in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_sent_then_accepted_or_unknown_or_sent_again() {
        let journal = Journal::new(Clock::start(), 1, 10);
        let ids: Vec<u64> = (0..4).map(|_| journal.next()).collect();
        journal.answered(ids[0], true);
        journal.answered(ids[1], false);
        journal.unknown(ids[2]);
        let states: Vec<State> = journal.entries().iter().map(|entry| entry.state).collect();
        assert!(matches!(
            states[..],
            [State::Accepted(_), State::Nobody, State::Unknown, State::Sent]
        ));
        assert_eq!(journal.counts(), Counts { sent: 4, accepted: 1, unknown: 1 });
        assert_eq!(journal.nobody(), 1);
        journal.again(1);
        assert_eq!(journal.entries()[1].state, State::Sent);
    }

    #[test]
    fn a_topic_tells_its_id() {
        assert_eq!(id_of(topic(7, 42).as_bytes()), Some(42));
        for other in ["soak/k-1/x", "routemq/barrier/worker", "soak/1"] {
            assert_eq!(id_of(other.as_bytes()), None, "{other}");
        }
    }
}
