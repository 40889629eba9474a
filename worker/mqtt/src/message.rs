//! Messages as they come off the wire: slices of the read buffer.

use bytes::Bytes;
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
#[derive(Clone, Debug)]
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
    /// `None` where the packet has none worth keeping.
    pub properties: Option<Box<Properties>>,
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
    /// The subscriptions that this copy was sent for; empty where the broker does not say.
    pub subscription_identifiers: Vec<u32>,
}

/// A message and the debt that comes with it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub publish: Publish,
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
