//! What a session holds, remembered by the broker for whoever resumes it: MQTT has no way to list a session's subscriptions.
//!
//! The barrier's message is retained and names the filters. A process that resumes the session subscribes to the barrier's
//! topic, gets the last one, and so learns what its predecessor held and it does not want.
//!
//! # Guarantees
//! - Nothing is written over before it was read: the first barrier on a resumed session is not retained.
//! - A session that ends for good takes its memory with it.
//!
//! # Caveats
//! None where the broker keeps no retained messages or refuses the barrier. What was granted after the last barrier before a crash
//! is not known.
//!
//! Pure: the session sends and receives.

use std::sync::Arc;

/// Filters of more bytes than this together are not remembered.
const MOST_BYTES: usize = 64 * 1024;
/// Stands between the barrier's own text and each filter: no filter can hold it (MQTT-4.7.3-2).
const SEPARATOR: &str = "\0";

/// What the broker remembers of one session. Which filters are held is known by a number, so that nothing is compared as
/// messages pass by: another number wherever they may differ.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Whether the session outlives its process.
    durable: bool,
    /// Whether the broker keeps retained messages.
    offered: bool,
    /// Whether what a predecessor left is known, and done with.
    read: bool,
    /// What a predecessor held, sorted; `None` where nobody has said.
    found: Option<Vec<String>>,
    /// The number of what the broker has.
    kept: Option<u64>,
    /// The number of what the barrier that is under way says.
    written: Option<u64>,
}

impl Memory {
    pub(crate) fn new(durable: bool) -> Self {
        Self { durable, ..Self::default() }
    }

    /// A connection; a session that the broker does not have holds nothing that would have to be known.
    pub(crate) fn connected(&mut self, session_present: bool, retains: bool) {
        self.offered = retains;
        self.read |= !session_present;
        self.written = None;
    }

    /// Whether a barrier should be sent for what is held now.
    pub(crate) fn wants(&self, number: u64) -> bool {
        self.is_open() && self.kept != Some(number)
    }

    /// What a barrier says of what is held, and whether it is to be retained.
    pub(crate) fn write(&mut self, own: String, number: u64, held: &[Arc<str>]) -> (String, bool) {
        if !self.wants(number) {
            return (own, false);
        }
        if !fits(held) {
            self.kept = Some(number);
            return (own, false);
        }
        let text = held.iter().fold(own, |text, filter| text + SEPARATOR + filter);
        self.kept = None;
        self.written = Some(number);
        (text, true)
    }

    /// A retained message of the barrier's topic.
    pub(crate) fn heard(&mut self, payload: &[u8]) {
        if !self.read {
            let text = String::from_utf8_lossy(payload);
            self.found = Some(text.split(SEPARATOR).skip(1).map(str::to_owned).collect());
        }
    }

    /// A barrier came back: what it said is kept. Gives what a predecessor held beyond what is held now, the first time.
    pub(crate) fn passed(&mut self, number: u64, held: &[Arc<str>]) -> Vec<String> {
        if let Some(written) = self.written.take() {
            self.kept = Some(written);
        }
        self.read = true;
        let Some(mut found) = self.found.take() else { return Vec::new() };
        if found.iter().map(String::as_str).eq(held.iter().map(AsRef::as_ref)) {
            self.kept = Some(number);
        }
        found.retain(|filter| !held.iter().any(|own| **own == **filter));
        found
    }

    /// Whether there may be something to take away when the session ends for good.
    pub(crate) fn is_kept(&self) -> bool {
        self.durable && self.offered && (self.kept.is_some() || self.written.is_some())
    }

    fn is_open(&self) -> bool {
        self.durable && self.offered && self.read
    }
}

/// The barrier's own text in a message that may name filters too.
pub(crate) fn own_text(payload: &[u8]) -> &[u8] {
    payload.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn fits(held: &[Arc<str>]) -> bool {
    held.iter().map(|filter| filter.len() + 1).sum::<usize>() <= MOST_BYTES
}

#[cfg(test)]
mod tests {
    use super::{Arc, Memory, own_text};

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn connected(session_present: bool) -> Memory {
        let mut memory = Memory::new(true);
        memory.connected(session_present, true);
        memory
    }

    #[test]
    fn what_a_new_session_holds_is_kept_by_its_first_barrier() {
        let mut memory = connected(false);
        let held = names(&["a", "b"]);
        assert!(memory.wants(1));
        let (text, retained) = memory.write("7-1".to_owned(), 1, &held);
        assert_eq!((text.as_str(), retained), ("7-1\0a\0b", true));
        assert_eq!(own_text(text.as_bytes()), b"7-1");
        assert!(memory.passed(1, &held).is_empty());
        assert!(!memory.wants(1));
        assert!(memory.wants(2));
        let (text, retained) = memory.write("7-2".to_owned(), 1, &held);
        assert_eq!((text.as_str(), retained), ("7-2", false), "it is kept already");
    }

    #[test]
    fn what_a_predecessor_held_is_read_before_it_is_written_over() {
        let mut memory = connected(true);
        let held = names(&["a"]);
        assert_eq!(memory.write("7-1".to_owned(), 1, &held), ("7-1".to_owned(), false));
        memory.heard(b"6-9\0a\0old");
        assert_eq!(memory.passed(1, &held), ["old"]);
        assert!(memory.write("7-2".to_owned(), 1, &held).1);
        assert!(memory.passed(1, &held).is_empty());
        memory.heard(b"7-2\0a");
        assert!(memory.passed(1, &held).is_empty(), "one's own memory, at the next connection");
        assert!(!memory.wants(1));
    }

    #[test]
    fn a_predecessor_that_held_the_same_needs_no_message_more() {
        let mut memory = connected(true);
        memory.heard(b"6-9\0a\0b");
        assert!(memory.passed(1, &names(&["a", "b"])).is_empty());
        assert!(!memory.wants(1));
    }

    #[test]
    fn what_may_not_have_been_kept_is_written_again() {
        let mut memory = connected(false);
        let _ = memory.write("7-1".to_owned(), 1, &names(&["a"]));
        memory.connected(true, true);
        assert!(memory.wants(1));
    }

    #[test]
    fn nothing_is_kept_of_a_short_session_by_a_broker_that_retains_nothing_or_of_too_much() {
        let mut short = Memory::new(false);
        short.connected(false, true);
        let mut plain = Memory::new(true);
        plain.connected(false, false);
        for memory in [short, plain] {
            assert!(!memory.wants(1) && !memory.is_kept());
        }
        let mut memory = connected(false);
        let much = vec![Arc::from("x".repeat(1000)); 100];
        assert_eq!(memory.write("7-1".to_owned(), 1, &much), ("7-1".to_owned(), false));
        assert!(!memory.wants(1));
    }
}
