//! Walks the properties of a packet (MQTT 5, 2.2.2): each within its bounds, each at most once.

use super::{Fault, frame::variable_integer};

/// May stand several times in one packet.
pub(super) const USER_PROPERTY: u8 = 0x26;
/// May stand several times in a PUBLISH.
pub(super) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
pub(super) const PAYLOAD_FORMAT: u8 = 0x01;
pub(super) const MESSAGE_EXPIRY: u8 = 0x02;
pub(super) const CONTENT_TYPE: u8 = 0x03;
pub(super) const RESPONSE_TOPIC: u8 = 0x08;
pub(super) const CORRELATION_DATA: u8 = 0x09;
pub(super) const TOPIC_ALIAS: u8 = 0x23;

/// A property's value, borrowed from the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// One, two or four bytes, or a variable byte integer.
    Number(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    Pair(&'a str, &'a str),
}

/// The property section at the front of `bytes`, and what follows it.
pub(super) fn section(bytes: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let (len, length_bytes) = variable_integer(bytes)?
        .ok_or_else(|| Fault::malformed("a packet without its property length"))?;
    bytes[length_bytes..]
        .split_at_checked(len as usize)
        .ok_or_else(|| Fault::malformed("properties longer than their packet"))
}

/// Iterates over (identifier, value).
#[derive(Debug)]
pub(super) struct Walk<'a> {
    rest: &'a [u8],
    /// A bit an identifier; the highest known is 42.
    seen: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(section: &'a [u8]) -> Self {
        Self { rest: section, seen: 0 }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (head, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| Fault::malformed("a property longer than its section"))?;
        self.rest = rest;
        Ok(head)
    }

    fn number(&mut self, len: usize) -> Result<Value<'a>, Fault> {
        let bytes = self.take(len)?;
        Ok(Value::Number(bytes.iter().fold(0, |value, &byte| value << 8 | u32::from(byte))))
    }

    fn variable(&mut self) -> Result<Value<'a>, Fault> {
        let (value, len) = variable_integer(self.rest)?
            .ok_or_else(|| Fault::malformed("a property longer than its section"))?;
        self.take(len)?;
        Ok(Value::Number(value))
    }

    fn binary(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.take(2)?.iter().fold(0, |len, &byte| len << 8 | usize::from(byte));
        self.take(len)
    }

    fn text(&mut self) -> Result<&'a str, Fault> {
        let bytes = self.binary()?;
        match std::str::from_utf8(bytes) {
            Ok(text) if !bytes.contains(&0) => Ok(text),
            _ => Err(Fault::malformed("a property that is not UTF-8 text")),
        }
    }

    fn value(&mut self, identifier: u8) -> Result<Value<'a>, Fault> {
        match identifier {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => self.number(1),
            0x13 | 0x21..=0x23 => self.number(2),
            0x02 | 0x11 | 0x18 | 0x27 => self.number(4),
            0x0B => self.variable(),
            0x09 | 0x16 => self.binary().map(Value::Binary),
            0x26 => Ok(Value::Pair(self.text()?, self.text()?)),
            0x03 | 0x08 | 0x12 | 0x15 | 0x1A | 0x1C | 0x1F => self.text().map(Value::Text),
            _ => Err(Fault::malformed(format!("unknown property 0x{identifier:02x}"))),
        }
    }

    fn property(&mut self, identifier: u8) -> Result<(u8, Value<'a>), Fault> {
        let value = self.value(identifier)?;
        let bit = 1 << identifier;
        if self.seen & bit != 0 && !matches!(identifier, USER_PROPERTY | SUBSCRIPTION_IDENTIFIER) {
            return Err(Fault::protocol(format!("property 0x{identifier:02x} twice")));
        }
        self.seen |= bit;
        Ok((identifier, value))
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<(u8, Value<'a>), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&identifier, rest) = self.rest.split_first()?;
        self.rest = rest;
        let property = self.property(identifier);
        if property.is_err() {
            self.rest = &[];
        }
        Some(property)
    }
}
