//! What a client sends.

use bytes::{BufMut, Bytes, BytesMut};
use rumqttc::v5::mqttbytes::{
    self,
    v5::{
        self, Connect, ConnectProperties, Disconnect, DisconnectProperties, Filter, Packet,
        PublishProperties, RetainForwardRule, Subscribe, SubscribeProperties, Unsubscribe,
    },
};

use super::Kind;
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
        path: wanted.filter.clone(),
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

impl Outbound<'_> {
    fn packet(&self, id: u16) -> v5::Publish {
        v5::Publish {
            dup: false,
            qos: codec_qos(self.qos),
            retain: self.retain,
            topic: Bytes::copy_from_slice(self.topic.as_bytes()),
            pkid: id,
            payload: self.payload.clone(),
            properties: self.properties.map(publish_properties),
        }
    }

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

/// PUBLISH. The identifier is 0 at QoS 0 only.
pub(crate) fn encode_publish(
    message: &Outbound<'_>,
    id: u16,
    out: &mut BytesMut,
) -> Result<(), Unwritable> {
    if !message.fits() {
        return Err(Unwritable);
    }
    let before = out.len();
    message.packet(id).write(out).map(drop).map_err(|_| {
        out.truncate(before);
        Unwritable
    })
}

fn publish_properties(properties: &Properties) -> PublishProperties {
    PublishProperties {
        payload_format_indicator: properties.payload_is_utf8.map(u8::from),
        message_expiry_interval: properties.message_expiry,
        topic_alias: None,
        response_topic: properties.response_topic.clone(),
        correlation_data: properties.correlation_data.clone(),
        user_properties: properties.user.clone(),
        subscription_identifiers: Vec::new(),
        content_type: properties.content_type.clone(),
    }
}

fn codec_qos(qos: QoS) -> mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce => mqttbytes::QoS::AtLeastOnce,
        QoS::ExactlyOnce => mqttbytes::QoS::ExactlyOnce,
    }
}
