//! What went wrong in an expression, in words that hold no value of the message.

use cel::ExecutionError;
use routemq_crds::expression::Expression;

use crate::outcome::{Failure, class};

/// A permanent failure that names the expression.
pub(super) fn failure(at: &Expression, error: &ExecutionError) -> Failure {
    let source = at.source();
    Failure::permanent(class::EXPRESSION, format!("`{source}`: {}", words(source, error)))
}

/// The evaluator's own words quote operands, which come from payloads: only names and types are kept.
fn words(source: &str, error: &ExecutionError) -> String {
    match error {
        // A key that stands in the expression is a name; any other came from the message.
        ExecutionError::NoSuchKey(key) if source.contains(key.as_str()) => {
            format!("there is no {key:?}; ask has(…) first where it may be missing")
        }
        ExecutionError::NoSuchKey(_) => "there is no such key".to_owned(),
        ExecutionError::UndeclaredReference(name) => format!("there is no variable {name:?}"),
        ExecutionError::NoSuchOverload(error) => error.to_string(),
        ExecutionError::UnexpectedType { got, want } => format!("got {got} where {want} is wanted"),
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("a function takes {expected} arguments, not {actual}")
        }
        ExecutionError::FunctionError { function, .. } => format!("{function}() failed"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "a number overflows".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "an index is out of bounds".to_owned(),
        ExecutionError::ValuesNotComparable(a, b) => {
            format!("{} cannot be compared to {}", a.type_of(), b.type_of())
        }
        ExecutionError::UnsupportedBinaryOperator(operator, a, b) => {
            format!("cannot {operator} {} and {}", a.type_of(), b.type_of())
        }
        _ => "the types do not fit".to_owned(),
    }
}
