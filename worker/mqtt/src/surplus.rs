//! Messages beyond the Receive Maximum. A broker must not send them, but mosquitto before 2.0.13 sends all that a
//! resumed session has queued, and any broker may when the session resumes with a smaller window than before.
//! Refusing them would end in reconnecting for ever, so they wait here: nobody is handed more unacknowledged
//! messages than the window. When there is no more room, nothing is read: the rest waits with the broker.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{AckToken, Arrival, Publish};

/// Beyond either nothing more is read; what the last read brought still finds its place.
const MESSAGES: usize = 1024;
const BYTES: usize = 4 * 1024 * 1024;

/// Messages that wait for others to be acknowledged, in receive order.
#[derive(Debug, Default)]
pub(crate) struct Surplus {
    held: VecDeque<Held>,
    bytes: usize,
    warned: bool,
}

/// One of them. It shares its read buffer.
#[derive(Debug)]
pub(crate) struct Held {
    read: Bytes,
    publish: Publish,
    pub(crate) token: AckToken,
}

impl Held {
    /// As it came.
    pub(crate) fn arrival(&self) -> Arrival<'_> {
        self.publish.arrival(&self.read)
    }
}

impl Surplus {
    /// A new connection: what was held comes again.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether nothing more should be read for now.
    pub(crate) fn is_full(&self) -> bool {
        self.held.len() >= MESSAGES || self.bytes >= BYTES
    }

    /// Holds one back.
    pub(crate) fn hold(&mut self, arrival: Arrival<'_>, token: AckToken) {
        if !self.warned {
            self.warned = true;
            tracing::warn!(
                "the broker sends more unacknowledged messages than the receive maximum"
            );
        }
        let read = arrival.read.clone();
        let publish = arrival.into_publish();
        self.bytes += publish.topic.len() + publish.payload.len();
        self.held.push_back(Held { read, publish, token });
    }

    /// The next one to hand over.
    pub(crate) fn next(&mut self) -> Option<Held> {
        let held = self.held.pop_front()?;
        self.bytes -= held.publish.topic.len() + held.publish.payload.len();
        Some(held)
    }
}
