//! Answers on the message's MQTT 5 response topic, with its correlation data.

use bytestring::ByteString;
use routemq_crds::{expression::Expression, template::TopicTemplate};
use routemq_mqtt::{Confirmation, Outgoing, Properties, QoS};

use super::publish;
use crate::{engine::Here, message::Message, outcome::Failure};

/// The `reply` handler. A response topic with wildcards is no topic (MQTT-3.3.2-14): treated as none.
#[derive(Debug)]
pub(crate) struct Reply {
    payload: Expression,
    fallback_topic: Option<TopicTemplate>,
    user_properties: Vec<(String, Expression)>,
}

impl Reply {
    pub(crate) fn new(
        payload: Expression,
        fallback_topic: Option<TopicTemplate>,
        user_properties: Vec<(String, Expression)>,
    ) -> Self {
        Self { payload, fallback_topic, user_properties }
    }

    /// `None`: nobody asked for an answer.
    pub(crate) fn begin(
        &self,
        message: &Message,
        here: Here<'_>,
    ) -> Result<Option<Confirmation>, Failure> {
        let Some(topic) = self.topic(message)? else {
            here.route().counters.unanswered.up();
            return Ok(None);
        };
        let shared = here.shared();
        let user = publish::user_properties(&self.user_properties, message, shared)?;
        let correlation_data = message.properties().and_then(|it| it.correlation_data.clone());
        let properties = Properties { user, correlation_data, ..Properties::default() };
        let outgoing = Outgoing {
            topic,
            payload: shared.evaluator.bytes(&self.payload, message)?,
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: Some(Box::new(properties)),
        };
        Ok(Some(shared.outbox.publish(outgoing)))
    }

    fn topic(&self, message: &Message) -> Result<Option<ByteString>, Failure> {
        let asked = message.properties().and_then(|it| it.response_topic.as_deref());
        if let Some(topic) = asked.filter(|topic| is_topic(topic)) {
            return Ok(Some(topic.into()));
        }
        self.fallback_topic.as_ref().map(|topic| publish::topic(topic, message)).transpose()
    }
}

fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#', '\0'])
}
