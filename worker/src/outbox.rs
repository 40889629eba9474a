//! Where handlers publish to: the broker, or a recorder where there is none.

use std::sync::{Arc, Mutex, PoisonError};

use bytestring::ByteString;
use routemq_mqtt::{Confirmation, Outgoing, PublishError, Published, Publisher};

/// Publishes what handlers and dead letters send. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Outbox {
    /// A connection of its own, each message confirmed by PUBACK.
    Broker(Publisher),
    /// Keeps what is published, for `dispatch` and `routemq test`.
    Memory(Recorder),
}

/// What would have been published. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    inner: Arc<Mutex<Recorded>>,
}

#[derive(Debug, Default)]
struct Recorded {
    messages: Vec<Outgoing>,
    refusals: Vec<(ByteString, u8)>,
}

impl Outbox {
    /// An outbox that keeps what is published.
    pub fn memory() -> Self {
        Self::Memory(Recorder::default())
    }

    /// Publishes; what is returned waits until the broker has it. While the broker is away it waits; the caller bounds that.
    pub fn publish(&self, message: Outgoing) -> Confirmation {
        match self {
            Self::Broker(publisher) => publisher.publish(message),
            Self::Memory(recorder) => Confirmation::known(recorder.record(message)),
        }
    }
}

impl Recorder {
    /// From now on, publishes to `topic` are refused with `code` (MQTT 5, 3.4.2.1), as a broker's ACL would.
    pub fn refuse(&self, topic: impl Into<ByteString>, code: u8) {
        self.lock().refusals.push((topic.into(), code));
    }

    /// Nothing is refused any more.
    pub fn accept_all(&self) {
        self.lock().refusals.clear();
    }

    /// Takes what was published since the last call.
    pub fn take(&self) -> Vec<Outgoing> {
        std::mem::take(&mut self.lock().messages)
    }

    fn record(&self, message: Outgoing) -> Result<Published, PublishError> {
        let mut inner = self.lock();
        if let Some((topic, code)) =
            inner.refusals.iter().find(|(topic, _)| *topic == message.topic)
        {
            return Err(PublishError::Refused {
                topic: topic.clone(),
                code: *code,
                reason: "refused by the recorder",
            });
        }
        inner.messages.push(message);
        Ok(Published { no_subscribers: false })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Recorded> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
