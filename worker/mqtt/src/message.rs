//! Messages as they come off the wire: slices of the read buffer.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

/// Quality of service (MQTT 5, 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QoS {
    /// 0.
    AtMostOnce = 0,
    /// 1.
    #[default]
    AtLeastOnce = 1,
    /// 2.
    ExactlyOnce = 2,
}

/// A received PUBLISH, its topic checked to be UTF-8 without wildcards and its alias resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Shares the read buffer.
    pub topic: ByteString,
    /// Shares the read buffer.
    pub payload: Bytes,
    /// As delivered.
    pub qos: QoS,
    /// Whether it was sent because it was retained.
    pub retain: bool,
    /// Whether the broker sends it again.
    pub duplicate: bool,
    /// The subscriptions that this copy was sent for; empty where the broker does not say.
    pub subscriptions: SubscriptionIds,
    /// `None` where the packet has none worth keeping.
    pub properties: Option<Box<Properties>>,
}

impl Publish {
    /// As it would be handed over: `read` is what topic and payload lie in, where they do.
    #[must_use]
    pub fn arrival<'a>(&'a self, read: &'a Bytes) -> Arrival<'a> {
        Arrival {
            read,
            topic: &self.topic,
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            duplicate: self.duplicate,
            subscriptions: self.subscriptions.clone(),
            properties: self.properties.clone(),
        }
    }
}

/// A PUBLISH as it is handed over: its parts lie in what was read. Whoever keeps them keeps ranges of [`Self::read`], or
/// [`Self::into_publish`]; so that nothing is counted for each message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// What the socket gave: `topic` and `payload` lie in it, beside those of other messages.
    pub read: &'a Bytes,
    /// Checked to be without wildcards.
    pub topic: &'a str,
    /// The content.
    pub payload: &'a [u8],
    /// As delivered.
    pub qos: QoS,
    /// Whether it was sent because it was retained.
    pub retain: bool,
    /// Whether the broker sends it again.
    pub duplicate: bool,
    /// The subscriptions that this copy was sent for; empty where the broker does not say.
    pub subscriptions: SubscriptionIds,
    /// `None` where the packet has none worth keeping.
    pub properties: Option<Box<Properties>>,
}

impl Arrival<'_> {
    /// Bytes that a sender can make large.
    #[must_use]
    pub fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.as_ref().map_or(0, |it| it.size())
    }

    /// Topic and payload in a piece of memory of their own, one behind the other; and so for the correlation data. One small
    /// message that waits keeps a whole read buffer in memory, with all that came beside it: too much where messages wait that
    /// are not acknowledged, and so not bounded by the broker.
    #[must_use]
    pub fn detach(&mut self) -> Bytes {
        let mut own = BytesMut::with_capacity(self.topic.len() + self.payload.len());
        own.extend_from_slice(self.topic.as_bytes());
        own.extend_from_slice(self.payload);
        if let Some(data) = self.properties.as_mut().and_then(|it| it.correlation_data.as_mut()) {
            *data = Bytes::copy_from_slice(data);
        }
        own.freeze()
    }

    /// The message by itself; shares the read buffer.
    #[must_use]
    pub fn into_publish(self) -> Publish {
        Publish {
            topic: self.read.slice_ref(self.topic.as_bytes()).try_into().unwrap_or_default(),
            payload: self.read.slice_ref(self.payload),
            qos: self.qos,
            retain: self.retain,
            duplicate: self.duplicate,
            subscriptions: self.subscriptions,
            properties: self.properties,
        }
    }
}

impl Properties {
    /// Bytes that a sender can make large.
    #[must_use]
    pub fn size(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let user: usize = self.user.iter().map(|(name, value)| name.len() + value.len()).sum();
        let data = self.correlation_data.as_ref().map_or(0, Bytes::len);
        text(&self.response_topic) + text(&self.content_type) + data + user
    }
}

/// The properties of a PUBLISH that concern the application (MQTT 5, 3.3.2.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Seconds left.
    pub message_expiry: Option<u32>,
    /// Where an answer should go.
    pub response_topic: Option<String>,
    /// Goes back with the answer.
    pub correlation_data: Option<Bytes>,
    /// A MIME type by convention.
    pub content_type: Option<String>,
    /// Whether the sender says that the payload is UTF-8.
    pub payload_is_utf8: Option<bool>,
    /// In order; names may repeat.
    pub user: Vec<(String, String)>,
}

/// The subscription identifiers of one copy (MQTT 5, 3.3.2.3.8). The usual one is kept inline, so
/// that a message of a shared subscription allocates nothing for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionIds {
    /// 0: none, which MQTT never sends.
    first: u32,
    /// Those after the first; a broker that merges overlapping filters sends several.
    rest: Vec<u32>,
}

impl SubscriptionIds {
    /// Adds one; zero, which MQTT forbids, is left out.
    pub fn push(&mut self, identifier: u32) {
        if self.first == 0 {
            self.first = identifier;
        } else if identifier != 0 {
            self.rest.push(identifier);
        }
    }

    /// Whether the broker named none.
    pub fn is_empty(&self) -> bool {
        self.first == 0
    }

    /// Whether this copy was sent for the subscription `identifier`.
    pub fn contains(&self, identifier: u32) -> bool {
        self.iter().any(|own| own == identifier)
    }

    /// In the order of the packet.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let first = (self.first != 0).then_some(self.first);
        first.into_iter().chain(self.rest.iter().copied())
    }
}

impl FromIterator<u32> for SubscriptionIds {
    fn from_iter<I: IntoIterator<Item = u32>>(identifiers: I) -> Self {
        let mut ids = Self::default();
        identifiers.into_iter().for_each(|identifier| ids.push(identifier));
        ids
    }
}

/// A message and the debt that comes with it.
#[derive(Clone, Debug)]
pub struct Delivery<'a> {
    /// The message.
    pub arrival: Arrival<'a>,
    /// What to give back when the outcome is final; `None` for QoS 0.
    pub token: Option<AckToken>,
}

/// Names one unacknowledged message of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AckToken {
    /// Counts the session's connections.
    pub epoch: u32,
    /// Counts the deliveries of the connection.
    pub sequence: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detached_message_is_equal_and_shares_no_memory() {
        let read = Bytes::from_static(b"topic payload data");
        let properties = Properties {
            correlation_data: Some(read.slice(14..)),
            user: vec![("name".to_owned(), "value".to_owned())],
            ..Properties::default()
        };
        let mut arrival = Arrival {
            read: &read,
            topic: "topic",
            payload: &read[6..13],
            qos: QoS::AtMostOnce,
            retain: false,
            duplicate: false,
            subscriptions: SubscriptionIds::default(),
            properties: Some(Box::new(properties)),
        };
        assert_eq!(arrival.size(), 5 + 7 + 4 + 9);
        let own = arrival.detach();
        assert_eq!(&own[..], b"topicpayload");
        let data = arrival.properties.and_then(|it| it.correlation_data).unwrap();
        assert_eq!(&data[..], b"data");
        assert!(!read.as_ptr_range().contains(&data.as_ptr()));
    }
}
