//! What a client sends.

use bytes::{BufMut, Bytes, BytesMut};
use rumqttc::v5::mqttbytes::{
    self,
    v5::{
        self, Connect, ConnectProperties, Disconnect, DisconnectProperties, Filter, Packet,
        RetainForwardRule, Subscribe, SubscribeProperties, Unsubscribe,
    },
};

use super::{
    Kind,
    properties::{
        CONTENT_TYPE, CORRELATION_DATA, MESSAGE_EXPIRY, PAYLOAD_FORMAT, RESPONSE_TOPIC,
        USER_PROPERTY,
    },
};
use crate::{Login, Properties, QoS, SessionConfig, Subscription};

/// Why a packet cannot be written: it holds a field or is as a whole larger than MQTT can say.
#[derive(Debug, thiserror::Error)]
#[error("the packet does not fit into MQTT's format")]
pub(crate) struct Unwritable;

fn write(packet: &Packet, out: &mut BytesMut) -> Result<(), Unwritable> {
    packet.write(out, None).map(drop).map_err(|_| Unwritable)
}

/// CONNECT for `config`, with what the credentials say now.
pub(crate) fn connect(
    config: &SessionConfig,
    login: Option<Login>,
    out: &mut BytesMut,
) -> Result<(), Unwritable> {
    let properties = ConnectProperties {
        session_expiry_interval: Some(seconds(config.session_expiry)),
        receive_maximum: Some(config.receive_maximum.max(1)),
        max_packet_size: Some(config.maximum_packet_size.max(1)),
        ..ConnectProperties::new()
    };
    let connect = Connect {
        keep_alive: u16::try_from(config.keep_alive.as_secs()).unwrap_or(u16::MAX),
        client_id: config.client_id.clone(),
        clean_start: config.clean_start,
        properties: Some(properties),
    };
    let login = login.map(|login| v5::Login {
        username: login.username.unwrap_or_default(),
        password: login.password.unwrap_or_default(),
    });
    write(&Packet::Connect(connect, None, login), out)
}

/// Whole seconds, rounded up: half a second must not become "end with the connection".
fn seconds(duration: std::time::Duration) -> u32 {
    let up = u64::from(duration.subsec_nanos() > 0);
    u32::try_from(duration.as_secs().saturating_add(up)).unwrap_or(u32::MAX)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP of success.
pub(crate) fn ack(kind: Kind, id: u16, out: &mut BytesMut) {
    out.put_u8(ack_byte(kind));
    out.put_u8(2);
    out.put_u16(id);
}

/// The same with a reason code.
pub(crate) fn ack_with_reason(kind: Kind, id: u16, code: u8, out: &mut BytesMut) {
    out.put_u8(ack_byte(kind));
    out.put_u8(3);
    out.put_u16(id);
    out.put_u8(code);
}

fn ack_byte(kind: Kind) -> u8 {
    match kind {
        Kind::PubRec => 0x50,
        Kind::PubRel => 0x62,
        Kind::PubComp => 0x70,
        _ => 0x40,
    }
}

/// PINGREQ.
pub(crate) fn pingreq(out: &mut BytesMut) {
    out.put_u16(0xC000);
}

/// What a SUBSCRIBE asks for beside the filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// Whether copies shall name the subscription.
    pub(crate) identifier: bool,
    /// Whether retained messages shall come though the subscription is there already.
    pub(crate) retained_again: bool,
}

impl Ask {
    /// Of the session's own topic.
    pub(crate) const OWN: Self = Self { identifier: false, retained_again: true };
}

/// SUBSCRIBE to one filter: the identifier belongs to the packet.
pub(crate) fn subscribe(
    id: u16,
    wanted: &Subscription,
    ask: Ask,
    out: &mut BytesMut,
) -> Result<(), Unwritable> {
    if wanted.filter.len() > usize::from(u16::MAX) {
        return Err(Unwritable);
    }
    let filter = Filter {
        path: wanted.filter.to_string(),
        qos: codec_qos(wanted.qos),
        nolocal: false,
        preserve_retain: false,
        // A retained message belongs to a new subscription, not to each reconnect; and never to a
        // share (mosquitto before 2.0.13 sends it all the same).
        retain_forward_rule: if wanted.filter.starts_with("$share/") {
            RetainForwardRule::Never
        } else if ask.retained_again {
            RetainForwardRule::OnEverySubscribe
        } else {
            RetainForwardRule::OnNewSubscribe
        },
    };
    let properties = (ask.identifier && wanted.identifier != 0).then(|| SubscribeProperties {
        id: Some(wanted.identifier as usize),
        user_properties: Vec::new(),
    });
    let mut packet = Subscribe::new(filter, properties);
    packet.pkid = id;
    write(&Packet::Subscribe(packet), out)
}

/// UNSUBSCRIBE from one filter.
pub(crate) fn unsubscribe(id: u16, filter: &str, out: &mut BytesMut) -> Result<(), Unwritable> {
    let mut packet = Unsubscribe::new(filter, None);
    packet.pkid = id;
    write(&Packet::Unsubscribe(packet), out)
}

/// DISCONNECT; `end_session` sets the session's expiry to zero.
pub(crate) fn disconnect(code: u8, end_session: bool, out: &mut BytesMut) {
    if end_session {
        let packet = Disconnect {
            reason_code: v5::DisconnectReasonCode::NormalDisconnection,
            properties: Some(DisconnectProperties {
                session_expiry_interval: Some(0),
                reason_string: None,
                user_properties: Vec::new(),
                server_reference: None,
            }),
        };
        // A fixed, small packet: nothing in it can be too long.
        let _ = write(&Packet::Disconnect(packet), out);
    } else {
        out.put_slice(&[0xE0, 1, code]);
    }
}

/// A PUBLISH to be written, borrowed.
#[derive(Debug)]
pub(crate) struct Outbound<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: Option<&'a Properties>,
}

/// The largest remaining length (MQTT 5, 1.5.5).
const MAX_REMAINING: usize = 268_435_455;

impl Outbound<'_> {
    /// Strings and binary fields have two bytes for their length.
    fn fits(&self) -> bool {
        let short = |len: usize| u16::try_from(len).is_ok();
        short(self.topic.len())
            && self.properties.is_none_or(|properties| {
                let text = |text: &Option<String>| text.as_ref().is_none_or(|t| short(t.len()));
                text(&properties.response_topic)
                    && text(&properties.content_type)
                    && properties.correlation_data.as_ref().is_none_or(|data| short(data.len()))
                    && properties.user.iter().all(|(k, v)| short(k.len()) && short(v.len()))
            })
    }
}

/// PUBLISH, straight into the buffer. The identifier is 0 at QoS 0 only.
pub(crate) fn encode_publish(
    message: &Outbound<'_>,
    id: u16,
    out: &mut BytesMut,
) -> Result<(), Unwritable> {
    let properties = message.properties.map_or(0, properties_length);
    let id_length = if message.qos == QoS::AtMostOnce { 0 } else { 2 };
    let length_bytes = variable_length(properties);
    let head = 2 + message.topic.len() + id_length + length_bytes;
    let remaining = head + properties + message.payload.len();
    if !message.fits() || remaining > MAX_REMAINING {
        return Err(Unwritable);
    }
    out.reserve(1 + variable_length(remaining) + remaining);
    out.put_u8(0x30 | (message.qos as u8) << 1 | u8::from(message.retain));
    put_variable(remaining, out);
    put_text(message.topic.as_bytes(), out);
    if message.qos != QoS::AtMostOnce {
        out.put_u16(id);
    }
    put_variable(properties, out);
    if let Some(properties) = message.properties {
        put_properties(properties, out);
    }
    out.put_slice(message.payload);
    Ok(())
}

fn properties_length(properties: &Properties) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, |text| 3 + text.len());
    let data = properties.correlation_data.as_ref().map_or(0, |data| 3 + data.len());
    let user: usize = properties.user.iter().map(|(k, v)| 5 + k.len() + v.len()).sum();
    let format = if properties.payload_is_utf8.is_some() { 2 } else { 0 };
    let expiry = if properties.message_expiry.is_some() { 5 } else { 0 };
    format
        + expiry
        + text(&properties.content_type)
        + text(&properties.response_topic)
        + data
        + user
}

fn put_properties(properties: &Properties, out: &mut BytesMut) {
    if let Some(is_utf8) = properties.payload_is_utf8 {
        out.put_slice(&[PAYLOAD_FORMAT, u8::from(is_utf8)]);
    }
    if let Some(seconds) = properties.message_expiry {
        out.put_u8(MESSAGE_EXPIRY);
        out.put_u32(seconds);
    }
    let fields = [
        (CONTENT_TYPE, properties.content_type.as_ref().map(String::as_bytes)),
        (RESPONSE_TOPIC, properties.response_topic.as_ref().map(String::as_bytes)),
        (CORRELATION_DATA, properties.correlation_data.as_deref()),
    ];
    for (identifier, value) in fields {
        if let Some(value) = value {
            out.put_u8(identifier);
            put_text(value, out);
        }
    }
    for (name, value) in &properties.user {
        out.put_u8(USER_PROPERTY);
        put_text(name.as_bytes(), out);
        put_text(value.as_bytes(), out);
    }
}

/// Two bytes of length, then the bytes: [`Outbound::fits`] has looked at their number.
fn put_text(text: &[u8], out: &mut BytesMut) {
    out.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.put_slice(text);
}

/// A variable byte integer (MQTT 5, 1.5.5), at most [`MAX_REMAINING`].
fn put_variable(mut value: usize, out: &mut BytesMut) {
    loop {
        let low = u8::try_from(value & 0x7F).unwrap_or(0);
        value >>= 7;
        out.put_u8(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return;
        }
    }
}

fn variable_length(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

fn codec_qos(qos: QoS) -> mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce => mqttbytes::QoS::AtLeastOnce,
        QoS::ExactlyOnce => mqttbytes::QoS::ExactlyOnce,
    }
}
