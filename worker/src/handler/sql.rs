//! Writes a row, or runs a statement; done after the commit.

use std::sync::Arc;

use routemq_crds::{expression::Expression, table};

use super::Answer;
use crate::{
    database::{Database, Inserter, SqlValue, StatementRunner},
    engine::Shared,
    message::Message,
    outcome::{Failure, class},
};

/// The `sql` handler.
#[derive(Debug)]
pub(crate) struct Sql {
    values: Vec<Expression>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Insert(Inserter),
    Statement(StatementRunner),
}

impl Sql {
    /// With `table` and `columns`. Starts the task that batches its rows.
    pub(crate) fn insert(spec: &table::Insert, database: &Database) -> Self {
        let values = spec.columns.iter().map(|(_, value)| value.clone()).collect();
        Self { values, work: Work::Insert(database.inserter(spec)) }
    }

    /// With `statement` and `binds`.
    pub(crate) fn statement(spec: &table::Statement, database: &Database) -> Self {
        let values = spec.binds.iter().map(|(_, value)| value.clone()).collect();
        Self { values, work: Work::Statement(database.statement(spec)) }
    }

    /// What is written for a message.
    pub(crate) fn values(
        &self,
        message: &Message,
        shared: &Shared,
    ) -> Result<Vec<SqlValue>, Failure> {
        self.values.iter().map(|at| value(at, message, shared)).collect()
    }

    /// A statement leaves its rows, as a list of maps.
    pub(crate) async fn run(&self, values: Vec<SqlValue>) -> Result<Answer, Failure> {
        match &self.work {
            Work::Insert(inserter) => inserter.write(values).await.map(|()| None),
            Work::Statement(runner) => {
                runner.run(values).await.map(|rows| Some(cel::Value::List(Arc::new(rows))))
            }
        }
    }
}

fn value(at: &Expression, message: &Message, shared: &Shared) -> Result<SqlValue, Failure> {
    let value = shared.evaluator.value(at, message)?;
    SqlValue::try_from(value).map_err(|error| {
        let words = format!("`{}` does not give something that can be stored", at.source());
        Failure::permanent(class::EXPRESSION, words).with_source(error)
    })
}
