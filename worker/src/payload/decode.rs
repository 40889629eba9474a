//! Bytes to CEL values, straight from the parser: no tree in between.

use std::{collections::HashMap, fmt};

use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use routemq_crds::{table::PayloadRules, v1alpha1::PayloadFormat};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::{Decoded, PayloadError};

/// serde_json's own bound on recursion, which a spec cannot raise.
const DEEPEST: usize = 127;

/// Our words inside a parser's error: how the two refusals that are ours come back out of it.
const TOO_DEEP: &str = "routemq: nested too deep";
const DUPLICATE_KEY: &str = "routemq: duplicate key";

/// Reads a payload by its route's rules.
pub(super) fn decode(bytes: &[u8], rules: PayloadRules) -> Result<Decoded, PayloadError> {
    match rules.format {
        PayloadFormat::Auto => auto(bytes, rules),
        PayloadFormat::Json => json(bytes, rules),
        PayloadFormat::Text => text(bytes),
        PayloadFormat::Raw => Ok(Box::new(CelBytes::from(bytes.to_vec()))),
        PayloadFormat::Cbor => cbor(bytes, rules),
        PayloadFormat::MessagePack => message_pack(bytes, rules),
    }
}

/// Levels that may open within each other.
pub(super) fn levels(max_depth: usize) -> usize {
    max_depth.min(DEEPEST)
}

/// JSON if it parses, else text, else bytes. JSON that parses but breaks a rule of ours (depth,
/// duplicate keys) stays an error: as text it would slip past what checks fields.
fn auto(bytes: &[u8], rules: PayloadRules) -> Result<Decoded, PayloadError> {
    match json(bytes, rules) {
        Err(PayloadError::Malformed { .. }) => {
            Ok(text(bytes).unwrap_or_else(|_| Box::new(CelBytes::from(bytes.to_vec()))))
        }
        other => other,
    }
}

fn text(bytes: &[u8]) -> Result<Decoded, PayloadError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Box::new(CelString::from(text.to_owned()))),
        Err(error) => Err(malformed("text", &error.to_string(), 0)),
    }
}

fn json(bytes: &[u8], rules: PayloadRules) -> Result<Decoded, PayloadError> {
    let seed = Seed::new(rules.max_depth);
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = seed.deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    value.map_err(|error| malformed("JSON", &error.to_string(), rules.max_depth))
}

fn cbor(bytes: &[u8], rules: PayloadRules) -> Result<Decoded, PayloadError> {
    use ciborium::de::{Error, from_reader_with_recursion_limit};
    let mut rest = bytes;
    let limit = rules.max_depth.min(DEEPEST);
    match from_reader_with_recursion_limit::<Tree, _>(&mut rest, limit + 1) {
        Ok(Tree(value)) => all_read(rest, "CBOR", value),
        Err(Error::RecursionLimitExceeded) => Err(PayloadError::TooDeep { limit }),
        Err(Error::Semantic(_, words)) => Err(malformed("CBOR", &words, limit)),
        Err(_) => Err(malformed("CBOR", "it ends early or holds an invalid item", limit)),
    }
}

fn message_pack(bytes: &[u8], rules: PayloadRules) -> Result<Decoded, PayloadError> {
    let mut rest = bytes;
    let mut parser = rmp_serde::Deserializer::new(&mut rest);
    parser.set_max_depth(DEEPEST + 1);
    let value = Seed::new(rules.max_depth)
        .deserialize(&mut parser)
        .map_err(|error| malformed("MessagePack", &error.to_string(), rules.max_depth))?;
    drop(parser);
    all_read(rest, "MessagePack", value)
}

/// Bytes behind the value mean that this was not one value of the format.
fn all_read(rest: &[u8], format: &'static str, value: Decoded) -> Result<Decoded, PayloadError> {
    if rest.is_empty() {
        return Ok(value);
    }
    Err(malformed(format, "there are bytes behind its end", 0))
}

fn malformed(format: &'static str, words: &str, limit: usize) -> PayloadError {
    if words.contains(TOO_DEEP)
        || words.contains("recursion limit")
        || words.contains("depth limit")
    {
        return PayloadError::TooDeep { limit: limit.min(DEEPEST) };
    }
    if words.contains(DUPLICATE_KEY) {
        return PayloadError::DuplicateKey;
    }
    let mut reason = words.to_owned();
    crate::outcome::truncate(&mut reason, 200);
    PayloadError::Malformed { format, reason }
}

/// Reads one value; knows how many levels may still open below it.
#[derive(Clone, Copy)]
struct Seed {
    left: usize,
}

/// A whole value, where the parser bounds the depth itself.
struct Tree(Decoded);

impl Seed {
    fn new(max_depth: usize) -> Self {
        Self { left: levels(max_depth) }
    }

    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        let left = self.left.checked_sub(1).ok_or_else(|| E::custom(TOO_DEEP))?;
        Ok(Self { left })
    }
}

impl<'de> serde::Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Seed::new(DEEPEST).deserialize(deserializer).map(Self)
    }
}

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Decoded;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Decoded, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Decoded;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Decoded, E> {
        Ok(Box::new(CelBool::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Decoded, E> {
        Ok(Box::new(CelInt::from(value)))
    }

    /// A whole number is an `int` wherever it fits, so that `payload.n == 1` holds; else a `uint`.
    fn visit_u64<E>(self, value: u64) -> Result<Decoded, E> {
        match i64::try_from(value) {
            Ok(value) => Ok(Box::new(CelInt::from(value))),
            Err(_) => Ok(Box::new(CelUInt::from(value))),
        }
    }

    fn visit_f64<E>(self, value: f64) -> Result<Decoded, E> {
        Ok(Box::new(CelDouble::from(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Decoded, E> {
        Ok(Box::new(CelString::from(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Decoded, E> {
        Ok(Box::new(CelString::from(value)))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Decoded, E> {
        Ok(Box::new(CelBytes::from(value.to_vec())))
    }

    fn visit_byte_buf<E>(self, value: Vec<u8>) -> Result<Decoded, E> {
        Ok(Box::new(CelBytes::from(value)))
    }

    fn visit_unit<E>(self) -> Result<Decoded, E> {
        Ok(Box::new(CelNull))
    }

    fn visit_none<E>(self) -> Result<Decoded, E> {
        Ok(Box::new(CelNull))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Decoded, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Decoded, D::Error> {
        self.deserialize(inner)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Decoded, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Box::new(CelList::from(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Decoded, A::Error> {
        let inner = self.inner()?;
        let mut map: HashMap<CelMapKey<'static>, Decoded> = HashMap::new();
        while let Some(key) = entries.next_key_seed(KeySeed)? {
            let value = entries.next_value_seed(inner)?;
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom(DUPLICATE_KEY));
            }
        }
        Ok(Box::new(CelMap::from(map)))
    }
}

/// Reads a map's key: text, or in CBOR and MessagePack also a whole number or a boolean.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = CelMapKey<'static>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = CelMapKey<'static>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key of text, whole number or boolean")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(CelMapKey::from(key.to_owned()))
    }

    fn visit_string<E>(self, key: String) -> Result<Self::Value, E> {
        Ok(CelMapKey::from(key))
    }

    fn visit_bool<E>(self, key: bool) -> Result<Self::Value, E> {
        Ok(CelMapKey::from(key))
    }

    fn visit_i64<E>(self, key: i64) -> Result<Self::Value, E> {
        Ok(CelMapKey::from(key))
    }

    fn visit_u64<E>(self, key: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(key).map_or_else(|_| CelMapKey::from(key), CelMapKey::from))
    }
}
