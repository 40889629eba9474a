//! Publishes a message; done when the broker has it.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use routemq_crds::{
    expression::Expression,
    table,
    template::{TemplateError, TopicTemplate},
};
use routemq_mqtt::{Confirmation, Outgoing, Properties, PublishError, QoS};

use crate::{
    engine::Shared,
    eval::Evaluator,
    message::Message,
    outcome::{Failure, class},
};

/// The `publish` handler.
#[derive(Debug)]
pub(crate) struct Publish {
    spec: table::Publish,
    /// Where it is the same for every message.
    payload: Option<Bytes>,
    expiry_seconds: Option<u32>,
}

impl Publish {
    pub(crate) fn new(spec: table::Publish, evaluator: &Evaluator) -> Self {
        let expiry_seconds =
            spec.expiry.map(|expiry| u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX));
        let payload = evaluator.constant(&spec.payload);
        Self { spec, payload, expiry_seconds }
    }

    pub(crate) fn begin(
        &self,
        message: &Message,
        shared: &Shared,
    ) -> Result<Confirmation, Failure> {
        Ok(shared.outbox.publish(self.outgoing(message, shared)?))
    }

    fn outgoing(&self, message: &Message, shared: &Shared) -> Result<Outgoing, Failure> {
        let spec = &self.spec;
        let topic = topic(&spec.topic, message)?;
        let user = user_properties(&spec.user_properties, message, shared)?;
        Ok(Outgoing {
            topic,
            payload: match &self.payload {
                Some(payload) => payload.clone(),
                None => shared.evaluator.bytes(&spec.payload, message)?,
            },
            qos: quality(spec.qos),
            retain: spec.retain,
            properties: properties(user, self.expiry_seconds),
        })
    }
}

/// Bytes of a buffer that topics are cut from. One that waits for its confirmation keeps its buffer alive.
const TOPICS: usize = 4096;

thread_local! {
    /// One allocation for some hundred topics.
    static BUFFER: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(TOPICS));
}

/// The topic of a message to publish.
pub(super) fn topic(template: &TopicTemplate, message: &Message) -> Result<ByteString, Failure> {
    let rendered = BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        let push = |text: &str| buffer.extend_from_slice(text.as_bytes());
        template.render_to(push, |index| message.param_at(index))?;
        Ok(buffer.split().freeze())
    });
    let permanent = |error: TemplateError| Failure::permanent(class::TEMPLATE, error.to_string());
    let invalid = |_| Failure::permanent(class::TEMPLATE, "the topic is not UTF-8");
    ByteString::try_from(rendered.map_err(permanent)?).map_err(invalid)
}

fn quality(qos: u8) -> QoS {
    match qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

fn properties(user: Vec<(String, String)>, message_expiry: Option<u32>) -> Option<Box<Properties>> {
    if user.is_empty() && message_expiry.is_none() {
        return None;
    }
    Some(Box::new(Properties { user, message_expiry, ..Properties::default() }))
}

/// Evaluates the user properties of a message to publish.
pub(super) fn user_properties(
    spec: &[(String, Expression)],
    message: &Message,
    shared: &Shared,
) -> Result<Vec<(String, String)>, Failure> {
    let pair =
        |(name, at): &(String, Expression)| Ok((name.clone(), shared.evaluator.text(at, message)?));
    spec.iter().map(pair).collect()
}

/// MQTT 5, 3.4.2.1: which refusals may pass. The topic stands in the error, so it is in `source`.
pub(super) fn refused(error: PublishError) -> Failure {
    let words = "a publish was refused";
    let failure = match error {
        // Not authorized: the same for every message until the broker's access rules change.
        PublishError::Refused { code: 0x87, .. } => {
            Failure::systemic(class::PUBLISH_REFUSED, words)
        }
        // Unspecified, implementation specific, packet id in use, quota exceeded.
        PublishError::Refused { code: 0x80 | 0x83 | 0x91 | 0x97, .. } => {
            Failure::transient(class::PUBLISH_REFUSED, words)
        }
        PublishError::Refused { .. } | PublishError::TooLarge { .. } => {
            Failure::permanent(class::PUBLISH_REFUSED, words)
        }
        PublishError::Stopped => {
            Failure::unavailable(class::BROKER, "the connection for publishing is stopped")
        }
    };
    failure.with_source(error)
}
