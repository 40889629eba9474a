//! The fixed header: where one packet ends and the next begins (MQTT 5, 2.1).

use bytes::{Bytes, BytesMut};

use super::Fault;
use crate::reason;

/// One whole packet: a range of what was read. It counts no reference, for each would be one more on a counter that the
/// socket's task and whoever holds a message contend for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    /// The low half of the first byte.
    pub(crate) flags: u8,
    /// Everything that was read, in which it lies.
    pub(super) read: &'a Bytes,
    /// The packet.
    pub(super) whole: &'a [u8],
    /// Bytes of the fixed header.
    pub(super) header: usize,
}

impl<'a> Frame<'a> {
    /// What follows the fixed header.
    pub(crate) fn body(&self) -> &'a [u8] {
        &self.whole[self.header..]
    }
}

/// The frames of what [`split_frames`] gave, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frames<'a> {
    read: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    pub(crate) fn of(read: &'a Bytes) -> Self {
        Self { read, rest: read }
    }

    /// The next whole one.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'a>>, Fault> {
        let Some(Header { kind, flags, len, total }) = header(self.rest, u32::MAX)? else {
            return Ok(None);
        };
        let Some((whole, rest)) = self.rest.split_at_checked(total) else { return Ok(None) };
        self.rest = rest;
        Ok(Some(Frame { kind, flags, read: self.read, whole, header: len }))
    }
}

/// The packet types that a broker may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ConnAck,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    SubAck,
    UnsubAck,
    PingResp,
    Disconnect,
}

impl Kind {
    fn of(first: u8) -> Result<Self, Fault> {
        Ok(match first >> 4 {
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            9 => Self::SubAck,
            11 => Self::UnsubAck,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            0 => return Err(Fault::malformed("packet type 0")),
            15 => return Err(Fault::protocol("AUTH, which was not asked for")),
            other => return Err(Fault::protocol(format!("packet type {other} from a broker"))),
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::SubAck => "SUBACK",
            Self::UnsubAck => "UNSUBACK",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
        }
    }

    /// The reserved flags of 2.1.3.
    fn check_flags(self, flags: u8) -> Result<(), Fault> {
        let allowed = match self {
            Self::Publish => return Ok(()),
            Self::PubRel => 0b0010,
            _ => 0,
        };
        if flags == allowed {
            return Ok(());
        }
        Err(Fault::malformed(format!("{} with reserved flags {flags:04b}", self.name())))
    }
}

/// A checked fixed header.
#[derive(Clone, Copy, Debug)]
struct Header {
    kind: Kind,
    flags: u8,
    /// Bytes of the fixed header.
    len: usize,
    /// Bytes of the packet, header included.
    total: usize,
}

/// Splits all whole frames off the front of `buffer`, in one piece. Where a header behind them is
/// wrong, says so: the frames before it are still good.
pub(crate) fn split_frames(buffer: &mut BytesMut, limit: u32) -> (Bytes, Option<Fault>) {
    let mut whole = 0;
    let fault = loop {
        match header(&buffer[whole..], limit) {
            Ok(Some(header)) if header.total <= buffer.len() - whole => whole += header.total,
            Ok(Some(header)) => {
                // A large packet is read into one piece of memory, grown once.
                buffer.reserve(whole + header.total - buffer.len());
                break None;
            }
            Ok(None) => break None,
            Err(fault) => break Some(fault),
        }
    };
    (buffer.split_to(whole).freeze(), fault)
}

/// The first frame of `buffer`, if it is whole.
pub(crate) fn split_first(buffer: &mut BytesMut, limit: u32) -> Result<Option<Bytes>, Fault> {
    match header(buffer, limit)? {
        Some(header) if header.total <= buffer.len() => {
            Ok(Some(buffer.split_to(header.total).freeze()))
        }
        _ => Ok(None),
    }
}

/// `None`: not enough bytes yet to know the length.
fn header(bytes: &[u8], limit: u32) -> Result<Option<Header>, Fault> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let kind = Kind::of(first)?;
    let flags = first & 0x0F;
    kind.check_flags(flags)?;
    let Some((remaining, length_bytes)) = variable_integer(&bytes[1..])? else {
        return Ok(None);
    };
    let len = 1 + length_bytes;
    let total = len + remaining as usize;
    if total > limit as usize {
        let detail = format!("{} of {total} bytes, more than {limit}", kind.name());
        return Err(Fault::new(reason::PACKET_TOO_LARGE, detail));
    }
    Ok(Some(Header { kind, flags, len, total }))
}

/// A variable byte integer and its length (MQTT 5, 1.5.5); `None` where bytes are missing.
pub(super) fn variable_integer(bytes: &[u8]) -> Result<Option<(u32, usize)>, Fault> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            if byte == 0 && i > 0 {
                return Err(Fault::malformed("a length with padding"));
            }
            return Ok(Some((value, i + 1)));
        }
    }
    if bytes.len() < 4 {
        return Ok(None);
    }
    Err(Fault::malformed("a length of more than four bytes"))
}
