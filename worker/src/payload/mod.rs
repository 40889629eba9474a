//! A message's payload: bytes, decoded once and only when something asks for it.

mod decode;
mod edit;
mod encode;
mod fields;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use bytes::Bytes;
use cel::common::value::Val;
use routemq_crds::{table::PayloadRules, v1alpha1::PayloadFormat};
use smallvec::smallvec;

pub(crate) use encode::{Encodable, to_bytes};
pub(crate) use fields::{Fields, Found as FieldsFound};

use crate::{
    message::Slice,
    outcome::{Failure, class},
};

/// A decoded payload, as expressions see it.
pub(crate) type Decoded = Box<dyn Val>;

/// The payload of a message, as the steps so far left it.
///
/// Decoding happens on first use and is kept; a payload that middleware changed is encoded again,
/// in the route's format, when somebody asks for its bytes.
#[derive(Clone, Debug)]
pub struct Payload {
    rules: PayloadRules,
    source: Source,
    /// Of a changed value, once somebody asked.
    encoded: OnceLock<Box<Bytes>>,
    value: OnceLock<Result<Decoded, Box<PayloadError>>>,
}

/// Where the bytes are.
#[derive(Clone, Debug)]
enum Source {
    Read(Slice),
    Bytes(Bytes),
    /// Nowhere: the value came first.
    Value,
}

/// Why a payload is not what the route's rules ask for. Permanent: class `PayloadFormat`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Larger than `maxBytes`.
    #[error("the payload has {size} bytes, the route takes at most {limit}")]
    TooLarge {
        /// Bytes.
        size: usize,
        /// Bytes.
        limit: usize,
    },
    /// Nested deeper than `maxDepth`.
    #[error("the payload nests deeper than {limit} levels")]
    TooDeep {
        /// Levels.
        limit: usize,
    },
    /// A map has the same key twice: readers would disagree about its value, so nobody reads it.
    #[error("the payload has a key twice in one object")]
    DuplicateKey,
    /// Not of the route's format.
    #[error("the payload is not {format}: {reason}")]
    Malformed {
        /// `JSON`, `text`, `CBOR`, `MessagePack`.
        format: &'static str,
        /// The parser's words, without content.
        reason: String,
    },
    /// A changed payload has no form in the route's format.
    #[error("the changed payload cannot be written as {format}")]
    NotEncodable {
        /// As above.
        format: &'static str,
    },
}

impl Payload {
    /// A payload as received.
    pub fn new(bytes: Bytes, rules: PayloadRules) -> Self {
        Self::of(Source::Bytes(bytes), rules)
    }

    /// The same, where it was read.
    pub(crate) fn of_read(bytes: Slice, rules: PayloadRules) -> Self {
        Self::of(Source::Read(bytes), rules)
    }

    fn of(source: Source, rules: PayloadRules) -> Self {
        Self { rules, source, encoded: OnceLock::new(), value: OnceLock::new() }
    }

    /// The bytes, encoded anew where a step changed the payload.
    ///
    /// # Errors
    /// [`PayloadError::NotEncodable`] for a changed payload.
    pub fn bytes(&self) -> Result<Bytes, PayloadError> {
        match &self.source {
            Source::Read(slice) => Ok(slice.bytes()),
            Source::Bytes(bytes) => Ok(bytes.clone()),
            Source::Value => self.encoded().cloned(),
        }
    }

    /// The same, to be looked at.
    pub(crate) fn view(&self) -> Result<&[u8], PayloadError> {
        match &self.source {
            Source::Read(slice) => Ok(slice.view()),
            Source::Bytes(bytes) => Ok(bytes),
            Source::Value => self.encoded().map(|bytes| &**bytes),
        }
    }

    /// Of a value that came first.
    fn encoded(&self) -> Result<&Bytes, PayloadError> {
        if let Some(bytes) = self.encoded.get() {
            return Ok(bytes);
        }
        let bytes = encode::payload(self.decoded()?, self.rules.format)?;
        Ok(self.encoded.get_or_init(|| Box::new(bytes)))
    }

    /// The bytes that came first.
    fn raw(&self) -> Option<&[u8]> {
        match &self.source {
            Source::Read(slice) => Some(slice.view()),
            Source::Bytes(bytes) => Some(bytes),
            Source::Value => None,
        }
    }

    /// The decoded payload.
    ///
    /// # Errors
    /// Where it breaks the route's rules.
    pub(crate) fn decoded(&self) -> Result<&(dyn Val + 'static), PayloadError> {
        let decode = || match self.raw() {
            Some(bytes) => decode::decode(bytes, self.rules).map_err(Box::new),
            None => Err(Box::new(PayloadError::NotEncodable { format: "bytes" })),
        };
        match self.value.get_or_init(decode) {
            Ok(value) => Ok(&**value),
            Err(error) => Err(PayloadError::clone(error)),
        }
    }

    /// Some fields for so many places, of JSON that nobody has decoded yet or of what was decoded; `None`: an expression tells why.
    pub(crate) fn fields(&self, wanted: &Fields, places: usize) -> Option<FieldsFound> {
        let is_json = matches!(self.rules.format, PayloadFormat::Auto | PayloadFormat::Json);
        let mut found: FieldsFound = smallvec![None; places];
        match (self.value.get(), self.raw()) {
            (Some(Ok(value)), _) => fields::pick(&**value, wanted, &mut found)?,
            (None, Some(bytes)) if is_json => {
                fields::read(bytes, decode::levels(self.rules.max_depth), wanted, &mut found)?;
            }
            _ => return None,
        }
        Some(found)
    }

    /// The decoded payload as an owned CEL value.
    ///
    /// # Errors
    /// Where it breaks the route's rules.
    pub fn value(&self) -> Result<cel::Value, PayloadError> {
        cel::Value::try_from(self.decoded()?)
            .map_err(|_| PayloadError::NotEncodable { format: "a value" })
    }

    /// Whether the route's rules hold that can be checked before anything asks for the content:
    /// the size always, the format where the route insists on one.
    pub(crate) fn check(&self) -> Result<(), PayloadError> {
        let size = self.raw().map_or(0, <[u8]>::len);
        if size > self.rules.max_bytes {
            return Err(PayloadError::TooLarge { size, limit: self.rules.max_bytes });
        }
        match self.rules.format {
            PayloadFormat::Auto | PayloadFormat::Raw => Ok(()),
            _ => self.decoded().map(drop),
        }
    }

    /// Replaces the payload by bytes, which are read by the route's rules when somebody asks.
    pub fn set_bytes(&mut self, bytes: impl Into<Bytes>) {
        *self = Self::new(bytes.into(), self.rules);
    }

    pub(crate) fn set_decoded(&mut self, value: Decoded) {
        (self.source, self.encoded) = (Source::Value, OnceLock::new());
        self.value = OnceLock::from(Ok(value));
    }
}

impl From<PayloadError> for Failure {
    fn from(error: PayloadError) -> Self {
        Self::permanent(class::PAYLOAD_FORMAT, error.to_string())
    }
}
