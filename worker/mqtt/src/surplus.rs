//! Messages beyond the Receive Maximum. A broker must not send them, but mosquitto before 2.0.13 does
//! when it resumes a session, and any broker may when the session resumes with a smaller window than
//! before. Refusing them would end in reconnecting for ever, so they wait here: nobody is handed more
//! unacknowledged messages than the window.

use std::collections::VecDeque;

use crate::{AckToken, Publish, codec::Fault, reason};

/// Messages that wait for others to be acknowledged, in receive order.
#[derive(Debug)]
pub(crate) struct Surplus {
    held: VecDeque<(Publish, AckToken)>,
    bytes: usize,
    /// Bytes beyond which a broker is not clumsy but hostile.
    limit: usize,
    warned: bool,
}

impl Surplus {
    pub(crate) fn new(limit: usize) -> Self {
        Self { held: VecDeque::new(), bytes: 0, limit, warned: false }
    }

    /// A new connection: what was held comes again.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Holds one back.
    pub(crate) fn hold(&mut self, publish: Publish, token: AckToken) -> Result<(), Fault> {
        if !self.warned {
            self.warned = true;
            tracing::warn!(
                "the broker sends more unacknowledged messages than the receive maximum"
            );
        }
        self.bytes += publish.topic.len() + publish.payload.len();
        // Packet identifiers are unique among what is unacknowledged: there cannot be more of them.
        if self.bytes > self.limit || self.held.len() >= usize::from(u16::MAX) {
            let detail = "far more unacknowledged messages than the receive maximum";
            return Err(Fault::new(reason::RECEIVE_MAXIMUM_EXCEEDED, detail));
        }
        self.held.push_back((publish, token));
        Ok(())
    }

    /// The next one to hand over.
    pub(crate) fn next(&mut self) -> Option<(Publish, AckToken)> {
        let (publish, token) = self.held.pop_front()?;
        self.bytes -= publish.topic.len() + publish.payload.len();
        Some((publish, token))
    }
}
