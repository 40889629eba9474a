//! A connection of its own for what handlers publish: each message confirmed by PUBACK.

use std::time::Duration;

use bytes::Bytes;

use crate::{Properties, QoS, SessionConfig};

/// A message to publish.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// Without wildcards.
    pub topic: String,
    /// As it goes.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: QoS,
    /// Kept by the broker for later subscribers.
    pub retain: bool,
    /// What goes with it.
    pub properties: Option<Box<Properties>>,
}

/// The broker has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The broker said that nobody subscribes to the topic (reason 0x10).
    pub no_subscribers: bool,
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The broker refused it (PUBACK or PUBREC ≥ 0x80): permanent.
    #[error("the broker refused the publish to {topic:?}: {reason} (0x{code:02x})")]
    Refused {
        /// Where to.
        topic: String,
        /// MQTT 5, 3.4.2.1.
        code: u8,
        /// The code's name in words.
        reason: &'static str,
    },
    /// Larger than the broker takes: permanent.
    #[error("a publish of {size} bytes is larger than the broker's maximum packet size of {limit}")]
    TooLarge {
        /// Bytes of the packet.
        size: usize,
        /// Bytes that the broker takes.
        limit: u32,
    },
    /// The publisher was stopped.
    #[error("the publisher is stopped")]
    Stopped,
}

/// Publishes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher;

impl Publisher {
    /// Starts the connection (client id as configured; clean start, no session expiry; `receive_maximum` bounds what is in flight).
    #[must_use]
    pub fn spawn(_config: SessionConfig) -> Self {
        unimplemented!()
    }

    /// Publishes and waits until the broker has it: PUBACK, PUBCOMP, or the write for QoS 0. While the connection is
    /// away it waits (the caller bounds it by a timeout); after a reconnect the message is sent again, so it may arrive twice.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(&self, _message: Outgoing) -> Result<Published, PublishError> {
        unimplemented!()
    }

    /// Resolves when the connection is there.
    pub async fn connected(&self) {
        unimplemented!()
    }

    /// Writes what is under way and disconnects; returns when that is done or `patience` is over.
    pub async fn stop(&self, _patience: Duration) {
        unimplemented!()
    }
}
