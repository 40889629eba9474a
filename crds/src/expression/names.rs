//! What an expression may name: the engine gives these, no others.

use cel::common::ast::Expr;

/// The variables of every expression.
pub(super) const VARIABLES: &[&str] =
    &["topic", "params", "payload", "message", "route", "results"];

/// The members of `message`.
pub(super) const MESSAGE_MEMBERS: &[&str] =
    &["qos", "retain", "duplicate", "properties", "contentType", "responseTopic", "receivedAt"];

/// CEL's types, as `type(x)` gives them.
pub(super) const TYPES: &[&str] =
    &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// The functions of CEL's standard library (`cel::Env::stdlib`).
pub(super) const FUNCTIONS: &[&str] = &[
    "bool",
    "bytes",
    "contains",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "timestamp",
    "type",
    "uint",
];

/// What the parser expands; a call of that name which is left was called in a wrong way.
pub(super) const MACROS: &[(&str, &str)] = &[
    ("has", "has(payload.field)"),
    ("all", "list.all(x, condition)"),
    ("exists", "list.exists(x, condition)"),
    ("exists_one", "list.exists_one(x, condition)"),
    ("map", "list.map(x, value)"),
    ("filter", "list.filter(x, condition)"),
];

/// Operators are calls too, by names that no source text can spell.
pub(super) fn is_operator(function: &str) -> bool {
    function.contains(['_', '@']) && !function.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// The names of a chain of fields, the variable first; `None` for anything else.
pub(super) fn path(mut at: &Expr) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    while let Expr::Select(select) = at {
        if select.test {
            return None;
        }
        names.push(select.field.as_str());
        at = &select.operand.expr;
    }
    let Expr::Ident(variable) = at else { return None };
    names.push(variable);
    names.reverse();
    Some(names)
}
