//! A message's payload: bytes, decoded once and only when something asks for it.

mod decode;
mod edit;
mod encode;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use cel::common::value::Val;
use routemq_crds::{table::PayloadRules, v1alpha1::PayloadFormat};

pub(crate) use encode::{Encodable, to_bytes};

use crate::{
    message::Received,
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
    encoded: OnceLock<Bytes>,
    value: OnceLock<Result<Decoded, PayloadError>>,
}

/// Where the bytes are. Those of a message as received stay there: all messages of a read share one count of references,
/// over which the socket's task and the lanes would contend.
#[derive(Clone, Debug)]
enum Source {
    Received(Arc<Received>),
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

    /// The payload of a message, by the rules of its route.
    pub(crate) fn of_received(received: Arc<Received>) -> Self {
        let rules = received.info().payload;
        Self::of(Source::Received(received), rules)
    }

    fn of(source: Source, rules: PayloadRules) -> Self {
        Self { rules, source, encoded: OnceLock::new(), value: OnceLock::new() }
    }

    /// The bytes, encoded anew where a step changed the payload.
    ///
    /// # Errors
    /// [`PayloadError::NotEncodable`] for a changed payload.
    pub fn bytes(&self) -> Result<Bytes, PayloadError> {
        self.view().cloned()
    }

    /// The same, to be looked at.
    pub(crate) fn view(&self) -> Result<&Bytes, PayloadError> {
        if let Some(bytes) = self.raw() {
            return Ok(bytes);
        }
        let bytes = encode::payload(self.decoded()?, self.rules.format)?;
        Ok(self.encoded.get_or_init(|| bytes))
    }

    /// The bytes, where there are any.
    fn raw(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Received(received) => Some(received.original_payload()),
            Source::Bytes(bytes) => Some(bytes),
            Source::Value => self.encoded.get(),
        }
    }

    /// The decoded payload.
    ///
    /// # Errors
    /// Where it breaks the route's rules.
    pub(crate) fn decoded(&self) -> Result<&(dyn Val + 'static), PayloadError> {
        let decode = || match self.raw() {
            Some(bytes) => decode::decode(bytes, self.rules),
            None => Err(PayloadError::NotEncodable { format: "bytes" }),
        };
        match self.value.get_or_init(decode) {
            Ok(value) => Ok(&**value),
            Err(error) => Err(error.clone()),
        }
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
        let size = self.raw().map_or(0, Bytes::len);
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
