//! MQTT's framing: the first byte, the remaining length, the rest.

use bytes::{Buf, Bytes, BytesMut};

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
    /// PUBLISH (MQTT 5, 2.1.2).
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
    /// UNSUBSCRIBE.
    pub const UNSUBSCRIBE: u8 = 10;
    /// PINGREQ.
    pub const PINGREQ: u8 = 12;
    /// DISCONNECT.
    pub const DISCONNECT: u8 = 14;

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

    /// Takes one packet from what was read; `None` where it is not all there.
    pub(super) fn take(read: &mut BytesMut) -> Option<Self> {
        let mut length = 0;
        for (i, &byte) in read.iter().skip(1).take(4).enumerate() {
            length |= usize::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                let header = i + 2;
                let whole = header + length;
                return (read.len() >= whole)
                    .then(|| Self { bytes: read.split_to(whole).freeze(), header });
            }
        }
        None
    }
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
    fn half_a_packet_stays_until_the_rest_comes() {
        let mut read = BytesMut::from(&b"\x40\x02\x00"[..]);
        assert!(Frame::take(&mut read).is_none());
        read.extend_from_slice(b"\x07");
        assert_eq!(Frame::take(&mut read).unwrap().packet_id(), Some(7));
    }
}
