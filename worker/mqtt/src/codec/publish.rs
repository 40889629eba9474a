//! PUBLISH: the one packet that comes by the million. Topic and payload are looked at where they were read; a packet whose only
//! property is a subscription identifier allocates nothing, and none counts a reference.

use bytes::Bytes;

use super::{
    Fault, Frame,
    frame::variable_integer,
    properties::{
        CONTENT_TYPE, CORRELATION_DATA, MESSAGE_EXPIRY, PAYLOAD_FORMAT, RESPONSE_TOPIC,
        SUBSCRIPTION_IDENTIFIER, TOPIC_ALIAS, USER_PROPERTY, Value, Walk, section,
    },
};
use crate::{Arrival, Properties, QoS, SubscriptionIds, reason};

/// A message and its packet identifier.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Received<'a> {
    pub(crate) arrival: Arrival<'a>,
    /// 0 at QoS 0.
    pub(crate) id: u16,
}

pub(super) fn decode(frame: Frame<'_>) -> Result<Received<'_>, Fault> {
    let Frame { flags, read, whole, header, .. } = frame;
    let qos = quality(flags)?;
    let duplicate = flags & 0b1000 != 0;
    if duplicate && qos == QoS::AtMostOnce {
        return Err(Fault::malformed("a PUBLISH of QoS 0 marked as duplicate"));
    }
    let topic = topic(whole, header)?;
    let mut at = header + 2 + topic.len();
    let id = if qos == QoS::AtMostOnce { 0 } else { id(whole, &mut at)? };
    let (own, payload) = section(&whole[at..])?;
    let extra = Extra::of(own, read)?;
    if topic.is_empty() {
        return Err(Fault::protocol("a PUBLISH without a topic"));
    }
    let arrival = Arrival {
        read,
        topic,
        payload,
        qos,
        retain: flags & 1 != 0,
        duplicate,
        subscriptions: extra.subscriptions,
        properties: extra.properties,
    };
    Ok(Received { arrival, id })
}

fn quality(flags: u8) -> Result<QoS, Fault> {
    match flags >> 1 & 0b11 {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        _ => Err(Fault::malformed("a PUBLISH of QoS 3")),
    }
}

/// The topic, whose length stands at `start`.
fn topic(whole: &[u8], start: usize) -> Result<&str, Fault> {
    let length = whole.get(start..start + 2).ok_or_else(truncated)?;
    let end = start + 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
    let bytes = whole.get(start + 2..end).ok_or_else(truncated)?;
    // Topics are short: this costs less than the call of what is made for long texts.
    let forbidden = |byte: &u8| matches!(byte, b'+' | b'#' | 0);
    if bytes.iter().fold(false, |any, byte| any | forbidden(byte)) {
        return Err(match bytes.iter().find(|byte| forbidden(byte)) {
            Some(0) => Fault::malformed("a topic with a NUL character"),
            _ => Fault::new(reason::TOPIC_NAME_INVALID, "a topic with a wildcard"),
        });
    }
    std::str::from_utf8(bytes).map_err(|_| Fault::malformed("a topic that is not UTF-8"))
}

/// The packet identifier at `at`, which moves behind it.
fn id(whole: &[u8], at: &mut usize) -> Result<u16, Fault> {
    let bytes = whole.get(*at..*at + 2).ok_or_else(truncated)?;
    *at += 2;
    match u16::from_be_bytes([bytes[0], bytes[1]]) {
        0 => Err(Fault::protocol("packet identifier 0")),
        id => Ok(id),
    }
}

fn truncated() -> Fault {
    Fault::malformed("a PUBLISH shorter than its parts")
}

#[derive(Default)]
struct Extra {
    subscriptions: SubscriptionIds,
    properties: Option<Box<Properties>>,
}

impl Extra {
    /// `section` lies in `read`.
    fn of(section: &[u8], read: &Bytes) -> Result<Self, Fault> {
        let mut extra = Self::default();
        // Most have the identifier of their subscription, and nothing else.
        if let [SUBSCRIPTION_IDENTIFIER, number @ ..] = section
            && let Some((number, length)) = variable_integer(number)?
            && length + 1 == section.len()
            && number > 0
        {
            extra.subscriptions.push(number);
            return Ok(extra);
        }
        for property in Walk::new(section) {
            let (identifier, value) = property?;
            extra.add(identifier, value, read)?;
        }
        Ok(extra)
    }

    fn add(&mut self, identifier: u8, value: Value<'_>, read: &Bytes) -> Result<(), Fault> {
        match (identifier, value) {
            (SUBSCRIPTION_IDENTIFIER, Value::Number(0)) => {
                return Err(Fault::protocol("subscription identifier 0"));
            }
            (SUBSCRIPTION_IDENTIFIER, Value::Number(number)) => self.subscriptions.push(number),
            (TOPIC_ALIAS, _) => {
                let detail = "a topic alias, of which none is allowed";
                return Err(Fault::new(reason::TOPIC_ALIAS_INVALID, detail));
            }
            (PAYLOAD_FORMAT, Value::Number(number @ 0..=1)) => {
                self.kept().payload_is_utf8 = Some(number == 1);
            }
            (MESSAGE_EXPIRY, Value::Number(seconds)) => self.kept().message_expiry = Some(seconds),
            (CONTENT_TYPE, Value::Text(text)) => self.kept().content_type = Some(text.to_owned()),
            (RESPONSE_TOPIC, Value::Text(text)) => {
                self.kept().response_topic = Some(text.to_owned());
            }
            (CORRELATION_DATA, Value::Binary(data)) => {
                self.kept().correlation_data = Some(read.slice_ref(data));
            }
            (USER_PROPERTY, Value::Pair(name, value)) => {
                self.kept().user.push((name.to_owned(), value.to_owned()));
            }
            _ => return Err(Fault::protocol(format!("property 0x{identifier:02x} in a PUBLISH"))),
        }
        Ok(())
    }

    fn kept(&mut self) -> &mut Properties {
        self.properties.get_or_insert_default()
    }
}
