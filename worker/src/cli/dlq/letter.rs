//! A dead letter: the message as it came, and the story of why it could not be handled.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use routemq_mqtt::{Outgoing, Properties, Publish, QoS};
use serde::{Deserialize, Serialize};

/// User properties that begin so are RouteMQ's own: they tell the story, and are not sent again.
const OURS: &str = "routemq-";
/// Counts how often a message was replayed; the only one of ours that goes with a replay.
const REPLAYS: &str = "routemq-replays";

/// What a list shows of a letter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    /// Of the store; 0 before it is in one.
    pub(super) id: i64,
    /// The topic that it was published to first; `None`: not a dead letter of RouteMQ.
    pub(super) topic: Option<String>,
    /// Where it was found.
    pub(super) found_at: String,
    pub(super) route: String,
    pub(super) class: String,
    pub(super) error: String,
    pub(super) attempts: i64,
    /// RFC 3339, as all times here.
    pub(super) first_received: String,
    pub(super) dead_lettered_at: String,
    /// Of the payload, in bytes.
    pub(super) size: i64,
    /// How often it was replayed and came back, before this time.
    pub(super) replays: i64,
    /// When this store replayed it.
    pub(super) replayed_at: Option<String>,
}

/// The whole of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) entry: Entry,
    pub(super) payload: Vec<u8>,
    pub(super) carried: Carried,
}

/// The original's own properties.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Carried {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_topic: Option<String>,
    /// Base 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) correlation_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload_is_utf8: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) user_properties: Vec<(String, String)>,
}

/// Now, as letters write it.
pub(super) fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Letter {
    /// As it comes from the broker.
    pub(super) fn new(publish: &Publish) -> Self {
        let none = Properties::default();
        let properties = publish.properties.as_deref().unwrap_or(&none);
        Self {
            entry: entry(publish, &properties.user),
            payload: publish.payload.to_vec(),
            carried: carried(properties),
        }
    }

    /// The original, to be handled again; `None`: nobody knows where it came from.
    pub(super) fn again(&self) -> Option<Outgoing> {
        let mut user = self.carried.user_properties.clone();
        user.push((REPLAYS.to_owned(), (self.entry.replays + 1).to_string()));
        let correlation = self.carried.correlation_data.as_deref();
        let properties = Properties {
            message_expiry: None,
            response_topic: self.carried.response_topic.clone(),
            correlation_data: correlation
                .and_then(|text| BASE64_STANDARD.decode(text).ok())
                .map(Bytes::from),
            content_type: self.carried.content_type.clone(),
            payload_is_utf8: self.carried.payload_is_utf8,
            user,
        };
        Some(Outgoing {
            topic: self.entry.topic.as_deref()?.into(),
            payload: self.payload.clone().into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: Some(Box::new(properties)),
        })
    }
}

fn entry(publish: &Publish, user: &[(String, String)]) -> Entry {
    // The last of a name: a letter of a letter has the newer story behind the older one.
    let told = |name: &str| user.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value);
    let text = |name: &str| told(name).cloned().unwrap_or_default();
    let number = |name: &str| told(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    Entry {
        id: 0,
        topic: told("routemq-topic").cloned(),
        found_at: publish.topic.to_string(),
        route: text("routemq-route"),
        class: text("routemq-class"),
        error: text("routemq-error"),
        attempts: number("routemq-attempts"),
        first_received: text("routemq-first-received"),
        dead_lettered_at: told("routemq-dead-lettered-at").cloned().unwrap_or_else(now),
        size: i64::try_from(publish.payload.len()).unwrap_or(i64::MAX),
        replays: number(REPLAYS),
        replayed_at: None,
    }
}

fn carried(properties: &Properties) -> Carried {
    let own = properties.user.iter().filter(|(name, _)| !name.starts_with(OURS));
    Carried {
        content_type: properties.content_type.clone(),
        response_topic: properties.response_topic.clone(),
        correlation_data: properties.correlation_data.as_ref().map(|it| BASE64_STANDARD.encode(it)),
        payload_is_utf8: properties.payload_is_utf8,
        user_properties: own.cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use routemq_mqtt::SubscriptionIds;

    use super::*;

    fn publish(user: &[(&str, &str)]) -> Publish {
        let user = user.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Publish {
            topic: "dead/control".into(),
            payload: Bytes::from_static(b"{"),
            qos: QoS::AtLeastOnce,
            retain: false,
            duplicate: false,
            subscriptions: SubscriptionIds::default(),
            properties: Some(Box::new(Properties {
                correlation_data: Some(Bytes::from_static(b"\0c")),
                user: user.collect(),
                ..Properties::default()
            })),
        }
    }

    #[test]
    fn a_replay_is_the_original_with_one_count_more() {
        let story = [("trace", "7"), ("routemq-topic", "a/b"), ("routemq-replays", "1")];
        let again = Letter::new(&publish(&story)).again().unwrap();
        assert_eq!((&*again.topic, &again.payload[..]), ("a/b", &b"{"[..]));
        let properties = again.properties.unwrap();
        assert_eq!(properties.correlation_data.as_deref(), Some(&b"\0c"[..]));
        let user = [("trace", "7"), ("routemq-replays", "2")];
        assert_eq!(properties.user, user.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_letter_of_a_letter_tells_the_newer_story() {
        let story = [("routemq-class", "Old"), ("routemq-class", "New")];
        assert_eq!(Letter::new(&publish(&story)).entry.class, "New");
    }

    #[test]
    fn a_message_of_somebody_else_is_kept_and_not_replayed() {
        let letter = Letter::new(&publish(&[]));
        assert!(letter.entry.topic.is_none() && letter.again().is_none());
        assert!(!letter.entry.dead_lettered_at.is_empty());
    }
}
