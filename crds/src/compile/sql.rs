//! `sql` handlers: a row or a statement.

use std::time::Duration;

use super::{field::identifier_fault, handlers::Step, statement};
use crate::{
    suggest::hint,
    table::{Action, Batch, Insert, Statement},
    v1alpha1::{OnConflict, SqlHandler},
};

const MAX_STATEMENT: usize = 8_192;

pub(super) fn compile(step: &mut Step<'_, '_>, given: &SqlHandler) -> Option<Action> {
    let batch = batch(step, given);
    match (&given.table, &given.statement) {
        (Some(table), None) => Some(Action::Insert(Box::new(insert(step, given, table, batch)))),
        (None, Some(text)) => Some(Action::Statement(Box::new(run(step, given, text, batch)))),
        (table, _) => {
            let count = if table.is_some() { "both" } else { "neither" };
            step.problems.add(
                step.field("sql"),
                format!("has {count} of table and statement; write table with columns, or statement with binds"),
            );
            None
        }
    }
}

fn batch(step: &mut Step<'_, '_>, given: &SqlHandler) -> Batch {
    let rows = step.field("sql.maxBatchRows");
    let delay = step.field("sql.maxBatchDelayMilliseconds");
    Batch {
        max_rows: step.problems.number(&rows, given.max_batch_rows, 500, 1..=10_000),
        max_delay: Duration::from_millis(step.problems.number(
            &delay,
            given.max_batch_delay_milliseconds,
            5,
            0..=60_000,
        )),
    }
}

fn insert(step: &mut Step<'_, '_>, given: &SqlHandler, table: &str, batch: Batch) -> Insert {
    let parts: Vec<&str> = table.split('.').collect();
    let fault = parts.iter().find_map(|part| identifier_fault(part));
    if let Some(fault) = fault.or_else(|| {
        (parts.len() > 2)
            .then(|| format!("\"{table}\" has more than one dot; write table or schema.table"))
    }) {
        step.problems.add(step.field("sql.table"), fault);
    }
    if given.columns.is_empty() {
        step.problems.add(step.field("sql.columns"), "is empty; say which column gets which value");
    }
    if !given.binds.is_empty() {
        step.problems.add(
            step.field("sql.binds"),
            "belongs to a statement; the values of a table are its columns",
        );
    }
    let field = step.field("sql.columns");
    let columns = step.problems.expressions(&field, &given.columns, &step.scope, identifier_fault);
    check_key(step, given);
    Insert {
        table: table.to_owned(),
        columns,
        on_conflict: given.on_conflict.unwrap_or_default(),
        key: given.key.clone(),
        batch,
    }
}

fn check_key(step: &mut Step<'_, '_>, given: &SqlHandler) {
    let on_conflict = given.on_conflict.unwrap_or_default();
    if on_conflict != OnConflict::Error && given.key.is_empty() {
        step.problems.add(
            step.field("sql.key"),
            format!(
                "is missing, and onConflict is {on_conflict:?}; list the columns of the unique key"
            ),
        );
    }
    for (index, column) in given.key.iter().enumerate() {
        let field = step.field(&format!("sql.key[{index}]"));
        if !given.columns.contains_key(column) {
            let hint = hint(column, given.columns.keys().map(String::as_str));
            step.problems.add(field, format!("\"{column}\" is none of the columns{hint}"));
        } else if given.key[..index].contains(column) {
            step.problems.add(field, format!("\"{column}\" is there twice; remove one"));
        }
    }
}

fn run(step: &mut Step<'_, '_>, given: &SqlHandler, text: &str, batch: Batch) -> Statement {
    for (is_given, name) in [
        (!given.columns.is_empty(), "columns"),
        (given.on_conflict.is_some(), "onConflict"),
        (!given.key.is_empty(), "key"),
    ] {
        if is_given {
            let field = step.field(&format!("sql.{name}"));
            step.problems.add(field, "belongs to a table; say it in the statement itself");
        }
    }
    let field = step.field("sql.statement");
    let length = text.chars().count();
    if length > MAX_STATEMENT {
        step.problems.add(
            &field,
            format!("has {length} characters; at most {MAX_STATEMENT} are allowed; shorten it"),
        );
    } else if let Some(names) = step.problems.take(&field, statement::binds(text)) {
        check_binds(step, given, &names);
    }
    let field = step.field("sql.binds");
    let binds = step.problems.expressions(&field, &given.binds, &step.scope, identifier_fault);
    Statement { text: text.to_owned(), binds, batch }
}

fn check_binds(step: &mut Step<'_, '_>, given: &SqlHandler, names: &[&str]) {
    for name in names.iter().filter(|name| !given.binds.contains_key(**name)) {
        let field = step.field("sql.binds");
        step.problems
            .add(field, format!("has no \"{name}\", and the statement binds :{name}; add it"));
    }
    for name in given.binds.keys().filter(|name| !names.contains(&name.as_str())) {
        let field = step.field(&format!("sql.binds.{name}"));
        let hint = match hint(name, names.iter().copied()) {
            none if none.is_empty() => "; use it there, or take the bind away".to_owned(),
            hint => hint,
        };
        step.problems.add(field, format!("the statement has no :{name}{hint}"));
    }
}
