//! What is wrong with a document, where, and how to mend it.

use std::fmt;

/// One problem of one object. Display: `spec.routes[2].topic: <message>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, as Kubernetes writes it: `spec.routes[2].topic`.
    pub field: String,
    /// Names the value and the fix; one sentence, lower case, deterministic.
    pub message: String,
}

impl Problem {
    /// A problem of one field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
