//! MQTT's framing: the first byte, the remaining length, the rest.

use bytes::{Buf, Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5::Packet;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client.
    ToBroker,
    /// From the broker.
    ToClient,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is lost.
    Drop,
    /// The connection is reset before it goes on.
    CutBefore,
    /// It goes on, then the connection is reset.
    CutAfter,
}

/// One packet.
#[derive(Clone, Debug)]
pub struct Frame {
    bytes: Bytes,
    header: usize,
}

impl Frame {
    /// CONNECT (MQTT 5, 2.1.2).
    pub const CONNECT: u8 = 1;
    /// CONNACK.
    pub const CONNACK: u8 = 2;
    /// PUBLISH.
    pub const PUBLISH: u8 = 3;
    /// PUBACK.
    pub const PUBACK: u8 = 4;
    /// PUBREC.
    pub const PUBREC: u8 = 5;
    /// PUBREL.
    pub const PUBREL: u8 = 6;
    /// PUBCOMP.
    pub const PUBCOMP: u8 = 7;
    /// SUBSCRIBE.
    pub const SUBSCRIBE: u8 = 8;
    /// SUBACK.
    pub const SUBACK: u8 = 9;
    /// UNSUBSCRIBE.
    pub const UNSUBSCRIBE: u8 = 10;
    /// PINGREQ.
    pub const PINGREQ: u8 = 12;
    /// DISCONNECT.
    pub const DISCONNECT: u8 = 14;

    /// A packet as it stands on the wire.
    pub fn of(packet: &Packet) -> Self {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).expect("the packet is well-formed");
        Self::take(&mut bytes).expect("it is whole")
    }

    /// The packet type.
    pub fn kind(&self) -> u8 {
        self.bytes[0] >> 4
    }

    /// All of it.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The packet identifier of a PUBLISH with QoS 1 or 2, or of its acknowledgements.
    pub fn packet_id(&self) -> Option<u16> {
        let mut body = self.bytes.get(self.header..)?;
        match self.kind() {
            Self::PUBLISH if self.bytes[0] & 0b110 == 0 => return None,
            Self::PUBLISH => body = body.get(2 + self.topic()?.len()..)?,
            4..=11 => {}
            _ => return None,
        }
        body.get(..2).map(|mut id| id.get_u16())
    }

    /// The topic of a PUBLISH, as bytes.
    pub fn topic(&self) -> Option<&[u8]> {
        if self.kind() != Self::PUBLISH {
            return None;
        }
        let mut body = self.bytes.get(self.header..)?;
        let length = usize::from(body.try_get_u16().ok()?);
        body.get(..length)
    }

    /// The client identifier of a CONNECT of MQTT 5 (3.1.3.1).
    pub fn client_id(&self) -> Option<&str> {
        if self.kind() != Self::CONNECT {
            return None;
        }
        // The protocol's name, its version, flags and keep-alive.
        let mut body = self.bytes.get(self.header + 10..)?;
        let (properties, rest) = variable_length(body)?;
        body = body.get(rest + properties..)?;
        let length = usize::from(body.try_get_u16().ok()?);
        std::str::from_utf8(body.get(..length)?).ok()
    }

    /// Whether a CONNACK says that the broker has the session (3.2.2.1.1).
    pub fn session_present(&self) -> bool {
        self.kind() == Self::CONNACK
            && self.bytes.get(self.header).is_some_and(|flags| flags & 1 == 1)
    }

    /// Takes one packet from what was read; `None` where it is not all there.
    pub(super) fn take(read: &mut BytesMut) -> Option<Self> {
        let (length, size) = variable_length(read.get(1..)?)?;
        let header = 1 + size;
        let whole = header + length;
        (read.len() >= whole).then(|| Self { bytes: read.split_to(whole).freeze(), header })
    }
}

/// A variable byte integer (MQTT 5, 1.5.5) and how many bytes it takes; `None` where it is not all there.
fn variable_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_gives_its_topic_and_packet_id() {
        let mut read = BytesMut::from(&b"\x32\x08\x00\x01a\x01\x02\x00hi\xc0\x00"[..]);
        let publish = Frame::take(&mut read).unwrap();
        assert_eq!(
            (publish.kind(), publish.topic(), publish.packet_id()),
            (3, Some(&b"a"[..]), Some(0x0102))
        );
        let ping = Frame::take(&mut read).unwrap();
        assert_eq!((ping.kind(), ping.packet_id(), read.len()), (Frame::PINGREQ, None, 0));
    }

    #[test]
    fn a_connect_gives_its_client_id() {
        let mut read = BytesMut::from(
            &b"\x10\x14\x00\x04MQTT\x05\x02\x00\x0f\x05\x11\x00\x00\x00\x0a\x00\x02w0"[..],
        );
        let connect = Frame::take(&mut read).unwrap();
        assert_eq!((connect.kind(), connect.client_id()), (Frame::CONNECT, Some("w0")));
        assert_eq!(connect.topic(), None);
    }

    #[test]
    fn half_a_packet_stays_until_the_rest_comes() {
        let mut read = BytesMut::from(&b"\x40\x02\x00"[..]);
        assert!(Frame::take(&mut read).is_none());
        read.extend_from_slice(b"\x07");
        assert_eq!(Frame::take(&mut read).unwrap().packet_id(), Some(7));
    }
}
