//! Messages that cannot be handled, kept where somebody can look at them and send them again.
//!
//! A dead letter is the message as it came (payload, user properties, content type, response topic,
//! correlation data) with user properties that say what went wrong. It does not expire.

use std::{borrow::Cow, time::SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use routemq_crds::template::{TemplateError, TopicTemplate};
use routemq_mqtt::{Outgoing, Properties, PublishError, QoS};

use crate::{
    engine::Here,
    message::Received,
    outcome::{Failure, FailureKind, class},
    retry::Retry,
};

/// Bytes of `routemq-error` at most.
const ERROR_LIMIT: usize = 512;

/// Publishes a dead letter; returns when the broker has it, however long that takes.
pub(crate) async fn publish(
    topic: &TopicTemplate,
    here: Here<'_>,
    received: &Received,
    failure: &Failure,
) {
    let shared = here.shared();
    let mut retry = Retry::new(u32::MAX, &shared.health);
    let mut whole = true;
    loop {
        let letter = letter(topic, here, received, failure, whole);
        let sent = tokio::time::timeout(shared.timeout, shared.outbox.publish(letter)).await;
        let refusal = match sent {
            Ok(Ok(published)) => {
                shared.health.dead_letter(!published.no_subscribers);
                if published.no_subscribers {
                    here.route().counters.unheard.up();
                }
                return;
            }
            Ok(Err(PublishError::TooLarge { .. })) if whole => {
                whole = false;
                continue;
            }
            Ok(Err(error)) => held(&error).with_source(error),
            Err(_) => Failure::unavailable(
                class::BROKER,
                "the broker has not confirmed a dead letter in time",
            ),
        };
        if retry.after(refusal).await.is_err() {
            return;
        }
    }
}

/// Whatever the broker says, the original is not acknowledged before its dead letter is stored.
fn held(error: &PublishError) -> Failure {
    match error {
        PublishError::Stopped => {
            Failure::unavailable(class::BROKER, "a dead letter cannot be published")
        }
        PublishError::Refused { .. } | PublishError::TooLarge { .. } => Failure::new(
            FailureKind::Systemic,
            class::DEAD_LETTER_REFUSED,
            "a dead letter cannot be published: allow the topic in the broker's access rules, or name another in delivery.deadLetter",
        ),
    }
}

/// `whole`: with the original's properties; without them where the broker finds it too large.
fn letter(
    topic: &TopicTemplate,
    here: Here<'_>,
    received: &Received,
    failure: &Failure,
    whole: bool,
) -> Outgoing {
    let mut properties = if whole { original(received) } else { Properties::default() };
    properties.user.extend(story(here, received, failure));
    Outgoing {
        topic: address(topic, received).into(),
        payload: received.shared_payload(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: Some(Box::new(properties)),
    }
}

fn original(received: &Received) -> Properties {
    let mut properties = received.properties().cloned().unwrap_or_default();
    properties.message_expiry = None;
    properties
}

/// What went wrong, where and when.
fn story(here: Here<'_>, received: &Received, failure: &Failure) -> [(String, String); 8] {
    [
        ("routemq-topic", received.topic().to_owned()),
        ("routemq-route", received.route().to_string()),
        ("routemq-class", failure.class.to_owned()),
        ("routemq-error", failure.describe(ERROR_LIMIT)),
        ("routemq-attempts", failure.attempts.to_string()),
        ("routemq-first-received", time(received.received_at())),
        ("routemq-dead-lettered-at", time(SystemTime::now())),
        ("routemq-worker", here.shared().worker.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// So fine that it tells two letters of one worker apart, whatever they hold: `routemq dlq` knows a repeat by it.
fn time(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// The topic; a param's value that may not stand in it (a tail has slashes) gets `_` for what is forbidden,
/// since a dead letter must have somewhere to go.
fn address(topic: &TopicTemplate, received: &Received) -> String {
    let exact: Result<String, TemplateError> = topic.render(|index| received.param_at(index));
    exact.unwrap_or_else(|_| {
        let values: Vec<Cow<'_, str>> = received.params().map(|(_, value)| plain(value)).collect();
        let value = |index: usize| values.get(index).map_or("_", |value| &**value);
        topic.render(value).unwrap_or_else(|_| topic.source().replace(['{', '}', '+', '#'], "_"))
    })
}

fn plain(value: &str) -> Cow<'_, str> {
    if value.is_empty() {
        return Cow::Borrowed("_");
    }
    Cow::Owned(value.replace(['/', '+', '#', '\0'], "_"))
}
