//! The bytes of MQTT 5 that a stand-in broker and a bare subscriber need, and no more.

use std::collections::HashMap;

/// Messages in the ring: one for each packet identifier, so that identifiers are written once.
pub(crate) const RING: usize = 65_535;
/// Sequence numbers begin here: all have as many digits.
pub(crate) const FIRST_SEQUENCE: u64 = 1_000_000_000_000;
const DIGITS: usize = 13;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;

/// One packet: its first byte, what follows the fixed header, where the next begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) first: u8,
    pub(crate) body: &'a [u8],
    pub(crate) end: usize,
}

impl Packet<'_> {
    pub(crate) fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// The two bytes at `at`.
    pub(crate) fn number(&self, at: usize) -> u16 {
        let bytes = self.body.get(at..at + 2).unwrap_or(&[0, 0]);
        u16::from_be_bytes([bytes[0], bytes[1]])
    }
}

/// The packet at `start`, if it is whole.
pub(crate) fn packet(buffer: &[u8], start: usize) -> Option<Packet<'_>> {
    let first = *buffer.get(start)?;
    let (length, at) = variable(buffer, start + 1)?;
    let body = buffer.get(at..at + length)?;
    Some(Packet { first, body, end: at + length })
}

/// A variable byte integer and where it ends.
pub(crate) fn variable(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    let (mut value, mut at, mut shift) = (0, start, 0);
    loop {
        let byte = *bytes.get(at)?;
        value |= usize::from(byte & 0x7F) << shift;
        (at, shift) = (at + 1, shift + 7);
        if byte < 0x80 || shift > 21 {
            return Some((value, at));
        }
    }
}

pub(crate) fn put_variable(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(value & 0x7F).unwrap_or(0);
        value >>= 7;
        out.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return;
        }
    }
}

pub(crate) fn put_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(text);
}

/// A packet of this first byte and body.
pub(crate) fn put_packet(first: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    put_variable(body.len(), out);
    out.extend_from_slice(body);
}

/// CONNECT with a clean start.
pub(crate) fn connect(client_id: &str, receive_maximum: u16) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(b"MQTT", &mut body);
    body.extend([5, 2, 0, 0, 3, 0x21]);
    body.extend(receive_maximum.to_be_bytes());
    put_text(client_id.as_bytes(), &mut body);
    let mut out = Vec::new();
    put_packet(0x10, &body, &mut out);
    out
}

/// SUBSCRIBE to one filter, without an identifier.
pub(crate) fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1, 0];
    put_text(filter.as_bytes(), &mut body);
    body.push(qos);
    let mut out = Vec::new();
    put_packet(0x82, &body, &mut out);
    out
}

/// What is sent: so many routes, so many devices in each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    pub(crate) routes: usize,
    pub(crate) devices: usize,
    pub(crate) qos: u8,
}

impl Traffic {
    /// The route and the key of the ring's `slot`-th message.
    pub(crate) fn route_and_key(self, slot: usize) -> (usize, usize) {
        let key = slot % (self.routes * self.devices);
        (key % self.routes, key)
    }

    pub(crate) fn topic(self, slot: usize) -> String {
        let (route, key) = self.route_and_key(slot);
        format!("site/{route}/d{key}")
    }

    pub(crate) fn filter(route: usize) -> String {
        format!("site/{route}/+")
    }
}

/// Prebuilt PUBLISH packets in one piece of memory; only their sequence numbers are written anew.
#[derive(Debug)]
pub(crate) struct Ring {
    bytes: Vec<u8>,
    /// Where each packet begins, and where the last one ends.
    starts: Vec<usize>,
    sequences: Vec<usize>,
}

impl Ring {
    /// `identifiers`: the subscription identifier of each filter, as the subscriber asked for it.
    pub(crate) fn new(traffic: Traffic, identifiers: &HashMap<String, u32>) -> Self {
        let mut ring = Self { bytes: Vec::new(), starts: vec![0], sequences: Vec::new() };
        for slot in 0..RING {
            let (route, key) = traffic.route_and_key(slot);
            let by = identifiers.get(&Traffic::filter(route)).or_else(|| identifiers.get("#"));
            ring.add(traffic, slot, key, by.copied().unwrap_or(0));
        }
        ring
    }

    fn add(&mut self, traffic: Traffic, slot: usize, key: usize, identifier: u32) {
        let mut body = Vec::with_capacity(160);
        put_text(traffic.topic(slot).as_bytes(), &mut body);
        if traffic.qos > 0 {
            body.extend(id(slot as u64).to_be_bytes());
        }
        put_identifier(identifier, &mut body);
        let before = body.len() + br#"{"sequence":"#.len();
        body.extend(payload(FIRST_SEQUENCE, key).into_bytes());
        put_packet(0x30 | traffic.qos << 1, &body, &mut self.bytes);
        self.sequences.push(self.bytes.len() - body.len() + before);
        self.starts.push(self.bytes.len());
    }

    /// The packets `sent..sent + count` of the stream, as far as they lie in one piece, at most `bytes` long; and how
    /// many they are.
    pub(crate) fn take(&mut self, sent: u64, count: u64, bytes: usize) -> (&[u8], u64) {
        let slot = usize::try_from(sent % RING as u64).unwrap_or(0);
        let most = usize::try_from(count).unwrap_or(RING).min(RING - slot);
        let limit = self.starts[slot] + bytes;
        let mut end = slot + 1;
        while end < slot + most && self.starts[end + 1] <= limit {
            end += 1;
        }
        for (sequence, at) in (FIRST_SEQUENCE + sent..).zip(&self.sequences[slot..end]) {
            write_digits(sequence, &mut self.bytes[*at..*at + DIGITS]);
        }
        (&self.bytes[self.starts[slot]..self.starts[end]], (end - slot) as u64)
    }
}

/// The packet identifier of the stream's `index`-th message.
pub(crate) fn id(index: u64) -> u16 {
    u16::try_from(index % RING as u64 + 1).unwrap_or(1)
}

/// What a device says, about a hundred bytes of JSON.
pub(crate) fn payload(sequence: u64, key: usize) -> String {
    format!(
        r#"{{"sequence":{sequence},"key":{key},"temperature":21.5,"humidity":40.25,"battery":87,"status":"ok"}}"#
    )
}

fn put_identifier(identifier: u32, out: &mut Vec<u8>) {
    if identifier == 0 {
        return out.push(0);
    }
    let mut property = vec![SUBSCRIPTION_IDENTIFIER];
    put_variable(identifier as usize, &mut property);
    put_variable(property.len(), out);
    out.extend(property);
}

fn write_digits(mut number: u64, out: &mut [u8]) {
    for byte in out.iter_mut().rev() {
        *byte = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_goes_round_with_its_own_identifiers_and_ever_new_sequence_numbers() {
        let traffic = Traffic { routes: 3, devices: 2, qos: 1 };
        let mut ring = Ring::new(traffic, &HashMap::from([("site/1/+".to_owned(), 300)]));
        for sent in [0, 1, RING as u64 - 1, RING as u64 + 1] {
            let (bytes, count) = ring.take(sent, 1, 1 << 20);
            let packet = packet(bytes, 0).unwrap();
            assert_eq!((count, packet.end), (1, bytes.len()));
            let topic = usize::from(packet.number(0));
            assert_eq!(packet.number(2 + topic), id(sent));
            let text = String::from_utf8_lossy(packet.body);
            assert!(text.contains(&format!(":{},", FIRST_SEQUENCE + sent)), "{text}");
        }
        let (bytes, count) = ring.take(RING as u64 - 2, 5, 1 << 20);
        assert_eq!(count, 2, "one piece ends where the ring does: {}", bytes.len());
    }
}
