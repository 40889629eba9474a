//! CEL expressions: compiled once, refused with their position, run against each message.

mod check;
mod names;
pub(crate) mod stack;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

/// The longest expression of all, in characters: that of a payload.
pub const MAX_PAYLOAD_EXPRESSION: usize = 4_096;
/// The longest expression of any other field, in characters.
pub const MAX_EXPRESSION: usize = 1_024;

/// A compiled expression. Cheap to clone.
#[derive(Clone)]
pub struct Expression {
    inner: Arc<Inner>,
}

struct Inner {
    source: String,
    program: cel::Program,
    uses_payload: bool,
    uses_params: bool,
    is_constant: bool,
}

/// What an expression may name.
#[derive(Clone, Debug, Default)]
pub struct Scope<'a> {
    /// The params of the route's pattern; `params.x` of another name is refused. `None`: not checked.
    pub params: Option<&'a [&'a str]>,
    /// Params that a message may lack: `params.x` is accepted where the expression asks `has(params.x)`.
    pub optional_params: &'a [&'a str],
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

impl ExpressionError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// Equal where they are written alike: names are looked up when an expression runs.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Expression {
    /// Compiles `source`.
    ///
    /// # Errors
    /// Where it does not parse, names an unknown variable, function or param, or nests comprehensions more than two deep.
    pub fn compile(source: &str, scope: &Scope<'_>) -> Result<Self, ExpressionError> {
        check::length(source)?;
        let program = parse(source, scope)?;
        let references = program.references();
        let uses_payload = references.has_variable("payload");
        let uses_params = references.has_variable("params");
        let is_constant = references.variables().is_empty();
        drop(references);
        let source = source.to_owned();
        Ok(Self {
            inner: Arc::new(Inner { source, program, uses_payload, uses_params, is_constant }),
        })
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

    /// Whether it names no variable, and so gives the same for every message.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.inner.is_constant
    }

    /// What it names, where it does nothing but name something: `payload.status.code` gives `payload`, `status`, `code`.
    #[must_use]
    pub fn path(&self) -> Option<Vec<&str>> {
        names::path(&self.program().expression().expr)
    }

    /// Whether it names the params of a route, so that it means something else for each.
    #[must_use]
    pub fn uses_params(&self) -> bool {
        self.inner.uses_params
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

fn parse(source: &str, scope: &Scope<'_>) -> Result<cel::Program, ExpressionError> {
    stack::roomy(|| parse_here(source, scope)).unwrap_or_else(|refused| {
        Err(ExpressionError::new(match refused {
            stack::Refused::Panicked => {
                "the CEL parser cannot read the expression; rewrite it".to_owned()
            }
            stack::Refused::NoThread(error) => {
                format!("no thread to parse the expression with: {error}")
            }
        }))
    })
}

fn parse_here(source: &str, scope: &Scope<'_>) -> Result<cel::Program, ExpressionError> {
    let program =
        cel::Program::compile(source).map_err(|errors| check::syntax_error(source, &errors))?;
    check::names(&program, source, scope)?;
    Ok(program)
}
