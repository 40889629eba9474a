//! From bytes to packets and back: rumqttc's codec, guarded.
//!
//! rumqttc's decoder never sees a byte that [`frame`] and [`properties`] haven't checked: it gets
//! one whole frame at a time (its "insufficient bytes" would otherwise mean both "wait for more" and
//! "malformed"), and its blind spots (duplicate properties, flags, DISCONNECT without a reason) are
//! closed here. PUBLISH is decoded by [`publish`], without copying and without allocation.

mod encode;
mod frame;
mod properties;
mod publish;

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5::{ConnAck, Packet};

pub(crate) use self::{
    encode::{
        Ask, Outbound, ack, ack_with_reason, connect, disconnect, encode_publish, pingreq,
        subscribe, unsubscribe,
    },
    frame::{Frame, Frames, Kind, split_first, split_frames},
    publish::Received,
};
use crate::reason;

/// A packet that breaks the rules: the connection ends with this reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail} ({}, 0x{code:02x})", reason::words(*.code))]
pub(crate) struct Fault {
    /// Goes into our DISCONNECT.
    pub(crate) code: u8,
    detail: Cow<'static, str>,
}

impl Fault {
    pub(crate) fn new(code: u8, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into() }
    }

    fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(reason::MALFORMED_PACKET, detail)
    }

    pub(crate) fn protocol(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(reason::PROTOCOL_ERROR, detail)
    }
}

/// What a broker may send.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Incoming<'a> {
    ConnAck(Box<Greeting>),
    Publish(Received<'a>),
    PubAck { id: u16, code: u8 },
    PubRec { id: u16, code: u8 },
    PubRel { id: u16 },
    PubComp { id: u16 },
    SubAck { id: u16, codes: Bytes },
    UnsubAck { id: u16, codes: Bytes },
    PingResp,
    Disconnect { code: u8, detail: Option<String> },
}

/// A CONNACK, its reason code as it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Greeting {
    pub(crate) code: u8,
    pub(crate) session_present: bool,
    /// `None` where the packet is of MQTT 3.1.1 or carries none.
    pub(crate) connack: Option<ConnAck>,
}

/// Decodes one frame.
pub(crate) fn decode(frame: Frame<'_>) -> Result<Incoming<'_>, Fault> {
    let body = frame.body();
    match frame.kind {
        Kind::Publish => publish::decode(frame).map(Incoming::Publish),
        Kind::PingResp if body.is_empty() => Ok(Incoming::PingResp),
        Kind::PingResp => Err(Fault::malformed("a PINGRESP with a body")),
        Kind::Disconnect if body.len() < 2 => {
            Ok(Incoming::Disconnect { code: body.first().copied().unwrap_or(0), detail: None })
        }
        Kind::ConnAck if body.len() == 2 => greeting(frame, None).map(Incoming::ConnAck),
        _ => plain_ack(frame).map_or_else(|| decode_control(frame), Ok),
    }
}

/// The acknowledgements of the usual path, for which rumqttc's decoder would allocate twice; anything else is left to it.
fn plain_ack(frame: Frame<'_>) -> Option<Incoming<'static>> {
    let (id, code) = match *frame.body() {
        [high, low] => (u16::from_be_bytes([high, low]), 0),
        [high, low, code @ (0 | reason::NO_SUBSCRIBERS)] => (u16::from_be_bytes([high, low]), code),
        _ => return None,
    };
    match frame.kind {
        _ if id == 0 => None,
        Kind::PubAck => Some(Incoming::PubAck { id, code }),
        Kind::PubRec => Some(Incoming::PubRec { id, code }),
        Kind::PubRel if code == 0 => Some(Incoming::PubRel { id }),
        Kind::PubComp if code == 0 => Some(Incoming::PubComp { id }),
        _ => None,
    }
}

fn decode_control(frame: Frame<'_>) -> Result<Incoming<'static>, Fault> {
    check_properties(frame)?;
    let packet = read(frame)?;
    let body = frame.body();
    // The reason codes are taken from the frame: rumqttc's enums have no number.
    let code = body.get(2).copied().unwrap_or(0);
    let incoming = match packet {
        Packet::ConnAck(connack) => Incoming::ConnAck(greeting(frame, Some(connack))?),
        Packet::PubAck(ack) => Incoming::PubAck { id: ack.pkid, code },
        Packet::PubRec(ack) => Incoming::PubRec { id: ack.pkid, code },
        Packet::PubRel(ack) => Incoming::PubRel { id: ack.pkid },
        Packet::PubComp(ack) => Incoming::PubComp { id: ack.pkid },
        Packet::SubAck(ack) => {
            Incoming::SubAck { id: ack.pkid, codes: tail(frame, ack.return_codes.len()) }
        }
        Packet::UnsubAck(ack) => {
            Incoming::UnsubAck { id: ack.pkid, codes: tail(frame, ack.reasons.len()) }
        }
        Packet::Disconnect(disconnect) => Incoming::Disconnect {
            code: body.first().copied().unwrap_or(0),
            detail: disconnect.properties.and_then(|properties| properties.reason_string),
        },
        _ => return Err(Fault::protocol("a packet that only a client sends")),
    };
    check_id(&incoming)?;
    Ok(incoming)
}

/// The last `count` bytes: where SUBACK and UNSUBACK keep their codes.
fn tail(frame: Frame<'_>, count: usize) -> Bytes {
    let body = frame.body();
    Bytes::copy_from_slice(&body[body.len().saturating_sub(count)..])
}

fn check_id(incoming: &Incoming<'_>) -> Result<(), Fault> {
    match incoming {
        Incoming::PubAck { id: 0, .. }
        | Incoming::PubRec { id: 0, .. }
        | Incoming::PubRel { id: 0 }
        | Incoming::PubComp { id: 0 }
        | Incoming::SubAck { id: 0, .. }
        | Incoming::UnsubAck { id: 0, .. } => Err(Fault::protocol("packet identifier 0")),
        _ => Ok(()),
    }
}

/// rumqttc's decoder on a frame of its own.
fn read(frame: Frame<'_>) -> Result<Packet, Fault> {
    let mut alone = BytesMut::from(frame.whole);
    Packet::read(&mut alone, None)
        .map_err(|error| Fault::malformed(format!("{}: {error}", frame.kind.name())))
}

/// Where the properties of a control packet stand, each at most once: rumqttc checks neither.
fn check_properties(frame: Frame<'_>) -> Result<(), Fault> {
    let offset = match frame.kind {
        Kind::ConnAck | Kind::SubAck | Kind::UnsubAck => 2,
        Kind::Disconnect => 1,
        // A reason without properties is three bytes (MQTT 5, 3.4.2.2.1).
        _ if frame.body().len() < 4 => return Ok(()),
        _ => 3,
    };
    let (section, _) = properties::section(frame.body().get(offset..).unwrap_or_default())?;
    properties::Walk::new(section).try_for_each(|property| property.map(drop))
}

fn greeting(frame: Frame<'_>, connack: Option<ConnAck>) -> Result<Box<Greeting>, Fault> {
    let &[flags, code, ..] = frame.body() else {
        return Err(Fault::malformed("a CONNACK without a reason code"));
    };
    if flags > 1 {
        return Err(Fault::malformed("a CONNACK with reserved flags"));
    }
    let session_present = flags == 1;
    if session_present && code != 0 {
        return Err(Fault::protocol("a refusing CONNACK with a session"));
    }
    Ok(Box::new(Greeting { code, session_present, connack }))
}

#[cfg(test)]
mod tests;
