//! Rejects payloads that break a JSON Schema.

use jsonschema::Validator;

use super::Entered;
use crate::{
    message::Message,
    outcome::{Failure, Outcome, class},
    payload::{Encodable, PayloadError},
    secrets::Watched,
};

/// The `validate` middleware. A schema of a ConfigMap is read again when its file changes.
#[derive(Debug)]
pub(crate) enum Validate {
    Inline(Box<Validator>),
    Watched(Watched<Validator>),
}

impl Validate {
    pub(crate) fn enter(&self, message: &Message) -> Result<Entered, Failure> {
        let value = message.payload().decoded()?;
        let json = serde_json::to_value(Encodable { value, binary: false })
            .map_err(|_| PayloadError::NotEncodable { format: "JSON" })?;
        let valid = match self {
            Self::Inline(schema) => schema.is_valid(&json),
            Self::Watched(schema) => schema.get().is_valid(&json),
        };
        if valid {
            return Ok(Entered::Continue);
        }
        Ok(Entered::End(Outcome::Rejected(class::INVALID)))
    }
}

/// Compiles a schema. References to other documents are not followed: a worker fetches nothing.
pub(crate) fn compile(schema: &serde_json::Value) -> Result<Validator, String> {
    jsonschema::validator_for(schema).map_err(|error| format!("not a JSON Schema: {error}"))
}

/// Compiles the text of a schema.
pub(crate) fn parse(text: &[u8]) -> Result<Validator, String> {
    let schema = serde_json::from_slice(text).map_err(|error| format!("not JSON: {error}"))?;
    compile(&schema)
}
