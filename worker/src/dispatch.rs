//! Messages without a broker: how users test their routes, and `routemq test` its fixtures.

use std::time::SystemTime;

use bytes::Bytes;
use bytestring::ByteString;
use routemq_mqtt::{Outgoing, Properties, Publish, QoS};

use crate::{Engine, FinalOutcome, outbox::Outbox};

/// A message to dispatch. Made from `(topic, payload)`; the rest has MQTT's defaults, with QoS 1.
///
/// ```
/// use routemq_worker::dispatch::Incoming;
///
/// let message = Incoming::new("devices/7/control", r#"{"command": "restart"}"#)
///     .response_topic("answers/7")
///     .user_property("api-key", "secret");
/// ```
#[derive(Clone, Debug)]
pub struct Incoming {
    publish: Publish,
}

/// What became of a dispatched message.
#[derive(Clone, Debug)]
pub struct Report {
    /// The route's name; `None` where no route matches.
    pub route: Option<String>,
    /// The params of the route's pattern, in the pattern's order.
    pub params: Vec<(String, String)>,
    /// How it ended; `None` where no route matches.
    pub outcome: Option<FinalOutcome>,
    /// Attempts of the handler that was tried most often.
    pub attempts: u32,
    /// What handlers published, the dead letter included, in order.
    pub published: Vec<Outgoing>,
}

impl Incoming {
    /// A message with this topic and payload.
    pub fn new(topic: impl Into<ByteString>, payload: impl Into<Bytes>) -> Self {
        let publish = Publish {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            duplicate: false,
            subscriptions: routemq_mqtt::SubscriptionIds::default(),
            properties: None,
        };
        Self { publish }
    }

    /// Delivered with this quality of service.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.publish.qos = qos;
        self
    }

    /// Sent because it was retained.
    #[must_use]
    pub fn retained(mut self) -> Self {
        self.publish.retain = true;
        self
    }

    /// Sent once more by the broker, because it was not acknowledged (the DUP flag).
    #[must_use]
    pub fn sent_again(mut self) -> Self {
        self.publish.duplicate = true;
        self
    }

    /// With this user property, after those it has.
    #[must_use]
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties().user.push((name.into(), value.into()));
        self
    }

    /// With this content type.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.properties().content_type = Some(content_type.into());
        self
    }

    /// Asking for an answer there.
    #[must_use]
    pub fn response_topic(mut self, topic: impl Into<String>) -> Self {
        self.properties().response_topic = Some(topic.into());
        self
    }

    /// With this correlation data.
    #[must_use]
    pub fn correlation_data(mut self, data: impl Into<Bytes>) -> Self {
        self.properties().correlation_data = Some(data.into());
        self
    }

    /// The message as a session would hand it over.
    pub fn into_publish(self) -> Publish {
        self.publish
    }

    fn properties(&mut self) -> &mut Properties {
        self.publish.properties.get_or_insert_default()
    }
}

impl<T: Into<ByteString>, P: Into<Bytes>> From<(T, P)> for Incoming {
    fn from((topic, payload): (T, P)) -> Self {
        Self::new(topic, payload)
    }
}

impl From<Publish> for Incoming {
    fn from(publish: Publish) -> Self {
        Self { publish }
    }
}

impl Engine {
    /// Handles one message as a worker would, and tells what became of it. Waits as long as
    /// [`Engine::handle`] does. `published` is filled where the engine's outbox is in memory.
    pub async fn dispatch(&self, message: impl Into<Incoming> + Send) -> Report {
        let publish = message.into().publish;
        let Ok(message) = self.admit(publish, SystemTime::now()) else {
            return Report::unmatched();
        };
        let received = std::sync::Arc::clone(message.received());
        let ended = self.handle(message).await;
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Report {
            route: Some(received.route().to_string()),
            params: received.params().map(own).collect(),
            outcome: Some(ended.outcome),
            attempts: ended.attempts,
            published: self.recorded(),
        }
    }

    fn recorded(&self) -> Vec<Outgoing> {
        match self.outbox() {
            Outbox::Memory(recorder) => recorder.take(),
            Outbox::Broker(_) => Vec::new(),
        }
    }
}

impl Report {
    fn unmatched() -> Self {
        Self { route: None, params: Vec::new(), outcome: None, attempts: 0, published: Vec::new() }
    }

    /// Whether the message found a route and every handler did its work.
    pub fn is_done(&self) -> bool {
        self.outcome == Some(FinalOutcome::Done)
    }
}
