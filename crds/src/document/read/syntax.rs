use granit_parser::{ErrorKind, ScanError};

use super::{Fault, position};

/// What is said of a syntax error.
pub(super) fn syntax(error: &ScanError) -> Fault {
    let info = error.info();
    let message = match hint(error.kind()) {
        Some(hint) => format!("not YAML, {info}: {hint}"),
        None => format!("not YAML, {info}"),
    };
    Fault { at: position(error.marker()), field: String::new(), message }
}

/// How to mend the mistakes that people make.
fn hint(kind: &ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => "indent with spaces",
        ErrorKind::MappingValueNotAllowed
        | ErrorKind::InvalidColonPlacement
        | ErrorKind::InvalidMappingValueWhitespace
        | ErrorKind::SimpleKeyExpected
        | ErrorKind::InvalidSimpleKey => {
            "check the indentation and the colon of this line, and quote text that holds a colon"
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::InvalidIndentation
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::MappingKeyNotAllowed => {
            "indent this line as its neighbours, and quote text that starts with { [ or *"
        }
        ErrorKind::UnclosedQuotedScalar => "close the quote",
        ErrorKind::UnclosedFlowCollection { .. } => "close the bracket",
        ErrorKind::UnknownAnchor => "quote text that starts with *, or define the anchor before",
        ErrorKind::RecursionLimitExceeded => "nest at most 100 levels deep",
        ErrorKind::UnexpectedCharacter { .. } => "quote text that starts with this character",
        _ => return None,
    })
}
