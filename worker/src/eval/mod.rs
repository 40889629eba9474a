//! Expressions run against messages.
//!
//! One base context a table; each run gets an inner scope whose variables are resolved by name from
//! the message, so that nothing is built that the expression does not ask for.
//!
//! # Guarantees
//! - A failure is permanent, of class [`class::EXPRESSION`], and names the expression's source, never a value.
//! - A missing field is an error everywhere, also in `when` and `filter`: ask `has(payload.x)` first.
//! - A panic of the evaluator is caught and becomes such a failure.

mod columns;
mod error;
#[cfg(test)]
mod tests;
mod variables;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use cel::common::{
    types::{CelBool, CelString},
    value::Val,
};
pub(crate) use columns::Columns;
use routemq_crds::expression::Expression;

use crate::{
    message::Message,
    outcome::{Failure, class},
    payload::{self, Decoded},
};

/// Runs expressions. One a table.
pub(crate) struct Evaluator {
    base: cel::Context<'static, 'static>,
}

impl Evaluator {
    pub(crate) fn new() -> Self {
        Self { base: cel::Context::default() }
    }

    /// The value as an owned CEL value.
    pub(crate) fn value(&self, at: &Expression, message: &Message) -> Result<cel::Value, Failure> {
        self.run(at, message, |value| cel::Value::try_from(value).map_err(|_| wrong(at, "a value")))
    }

    /// The value as a payload field.
    pub(crate) fn decoded(&self, at: &Expression, message: &Message) -> Result<Decoded, Failure> {
        let value = self.value(at, message)?;
        Decoded::try_from(value).map_err(|_| wrong(at, "a value"))
    }

    /// The bytes to publish: a string or bytes as they are, anything else as JSON.
    pub(crate) fn bytes(&self, at: &Expression, message: &Message) -> Result<Bytes, Failure> {
        self.run(at, message, |value| {
            payload::to_bytes(value).ok_or_else(|| wrong(at, "something with a JSON form"))
        })
    }

    /// The bytes of an expression that gives the same for every message; `None` where it does not, or fails: then each
    /// message says so.
    pub(crate) fn constant(&self, at: &Expression) -> Option<Bytes> {
        if !at.is_constant() {
            return None;
        }
        let work = AssertUnwindSafe(|| {
            let base: &cel::Context<'_, '_> = &self.base;
            let scope = base.new_inner_scope();
            let value = cel::Value::resolve_val(at.program().expression(), &scope).ok()?;
            payload::to_bytes(value.as_ref())
        });
        catch_unwind(work).ok().flatten()
    }

    /// The value as text: a string as it is, anything else as JSON.
    pub(crate) fn text(&self, at: &Expression, message: &Message) -> Result<String, Failure> {
        self.run(at, message, |value| {
            if let Some(text) = value.downcast_ref::<CelString<'_>>() {
                return Ok(text.inner().to_owned());
            }
            let json = payload::Encodable { value, binary: false };
            serde_json::to_string(&json).map_err(|_| wrong(at, "something with a JSON form"))
        })
    }

    /// The value as a condition.
    pub(crate) fn condition(&self, at: &Expression, message: &Message) -> Result<bool, Failure> {
        self.run(at, message, |value| match value.downcast_ref::<CelBool>() {
            Some(flag) => Ok(*flag.inner()),
            None => Err(wrong(at, "true or false")),
        })
    }

    fn run<T>(
        &self,
        at: &Expression,
        message: &Message,
        read: impl FnOnce(&dyn Val) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let payload = if at.uses_payload() { Some(message.payload().decoded()?) } else { None };
        let work = AssertUnwindSafe(|| self.evaluate(at, message, payload, read));
        catch_unwind(work).unwrap_or_else(|_| Err(wrong(at, "an expression that can be run")))
    }

    fn evaluate<T>(
        &self,
        at: &Expression,
        message: &Message,
        payload: Option<&(dyn Val + 'static)>,
        read: impl FnOnce(&dyn Val) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let variables = variables::Variables { message, payload };
        let base: &cel::Context<'_, '_> = &self.base;
        let mut scope = base.new_inner_scope();
        scope.set_variable_resolver(&variables);
        let value = cel::Value::resolve_val(at.program().expression(), &scope)
            .map_err(|error| error::failure(at, &error))?;
        read(value.as_ref())
    }
}

fn wrong(at: &Expression, wanted: &str) -> Failure {
    Failure::permanent(class::EXPRESSION, format!("`{}` does not give {wanted}", at.source()))
}

impl std::fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Evaluator")
    }
}
