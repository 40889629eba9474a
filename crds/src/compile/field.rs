//! What every field is checked with: problems are collected, and a value comes out all the same.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use super::order;
use crate::{
    expression::{Expression, MAX_EXPRESSION, MAX_PAYLOAD_EXPRESSION, Scope},
    problem::Problem,
};

/// The problems found so far.
#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem::new(field, message));
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn into_sorted(mut self) -> Vec<Problem> {
        self.0.sort_by_cached_key(|problem| order::key(&problem.field));
        // A group's middleware is compiled for each of its routes.
        self.0.dedup();
        self.0
    }

    /// A number within `range`, which must be one of `T`'s.
    pub(super) fn number<N, T>(
        &mut self,
        field: impl Display,
        given: Option<N>,
        default: T,
        range: RangeInclusive<i64>,
    ) -> T
    where
        N: Into<i64>,
        T: TryFrom<i64>,
    {
        let Some(value) = given.map(Into::into) else { return default };
        if !range.contains(&value) {
            let (least, most) = (range.start(), range.end());
            self.add(field.to_string(), format!("is {value}; it must be {least} to {most}"));
            return default;
        }
        T::try_from(value).unwrap_or(default)
    }

    pub(super) fn seconds<N: Into<i64>>(
        &mut self,
        field: &str,
        given: Option<N>,
        default: u64,
        range: RangeInclusive<i64>,
    ) -> Duration {
        Duration::from_secs(self.number(field, given, default, range))
    }

    /// What a quality of service may be.
    pub(super) fn qos(&mut self, field: impl Display, given: Option<i32>) -> u8 {
        self.number(field, given, 1, 0..=2)
    }

    pub(super) fn expression(
        &mut self,
        field: &str,
        source: &str,
        scope: &Scope<'_>,
    ) -> Option<Expression> {
        self.bounded_expression(field, source, scope, MAX_EXPRESSION)
    }

    pub(super) fn payload(
        &mut self,
        field: &str,
        source: &str,
        scope: &Scope<'_>,
    ) -> Option<Expression> {
        self.bounded_expression(field, source, scope, MAX_PAYLOAD_EXPRESSION)
    }

    fn bounded_expression(
        &mut self,
        field: &str,
        source: &str,
        scope: &Scope<'_>,
        most: usize,
    ) -> Option<Expression> {
        let length = source.chars().count();
        if length > most {
            self.add(
                field,
                format!(
                    "the expression has {length} characters; at most {most} are allowed; shorten it"
                ),
            );
            return None;
        }
        self.take(field, Expression::compile(source, scope))
    }

    /// The expressions of a map, by name; `check` says what is wrong with a name.
    pub(super) fn expressions<'a>(
        &mut self,
        field: &str,
        map: impl IntoIterator<Item = (&'a String, &'a String)>,
        scope: &Scope<'_>,
        check: impl Fn(&str) -> Option<String>,
    ) -> Vec<(String, Expression)> {
        let mut compiled = Vec::new();
        for (name, source) in map {
            let field = format!("{field}.{name}");
            if let Some(fault) = check(name) {
                self.add(&field, fault);
            }
            let expression = self.expression(&field, source, scope);
            compiled.extend(expression.map(|expression| (name.clone(), expression)));
        }
        compiled
    }

    /// Says of the last problem whom it concerns.
    pub(super) fn concerns_route(&mut self, name: &str) {
        if let Some(problem) = self.0.last_mut() {
            problem.message = format!("for route \"{name}\": {}", problem.message);
        }
    }

    pub(super) fn take<T>(
        &mut self,
        field: impl Display,
        result: Result<T, impl Display>,
    ) -> Option<T> {
        result.map_err(|error| self.add(field.to_string(), error.to_string())).ok()
    }

    /// The name of a group or route.
    pub(super) fn name(&mut self, field: impl Display, name: &str) {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() {
            self.add(field.to_string(), "is empty; give it a name");
        } else if name.len() > 63 {
            let length = name.chars().count();
            self.add(
                field.to_string(),
                format!("has {length} characters; at most 63 are allowed; shorten it"),
            );
        } else if !name.chars().all(good) {
            self.add(
                field.to_string(),
                format!(
                    "\"{}\" may hold only letters, digits, \".\", \"_\" and \"-\"",
                    name.escape_debug()
                ),
            );
        }
    }

    /// What was registered in code.
    pub(super) fn registered(&mut self, field: impl Display, name: &str) {
        if name.is_empty() {
            self.add(field.to_string(), "is empty; write the name that the worker image registers");
        } else if name.chars().count() > 63 {
            self.add(
                field.to_string(),
                "is longer than 63 characters; shorten the registered name",
            );
        }
    }
}

/// What is wrong with an SQL or CEL identifier.
pub(super) fn identifier_fault(name: &str) -> Option<String> {
    let first = name.chars().next();
    let good = first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.len() <= 63;
    (!good).then(|| {
        format!(
            "\"{}\" is no name; use letters, digits and \"_\", not a digit first, at most 63",
            name.escape_debug()
        )
    })
}

/// What is wrong with the name of an MQTT 5 user property.
pub(super) fn property_fault(name: &str) -> Option<String> {
    (name.is_empty() || name.chars().any(char::is_control)).then(|| {
        format!(
            "\"{}\" is no name of a user property; name it without control characters",
            name.escape_debug()
        )
    })
}
