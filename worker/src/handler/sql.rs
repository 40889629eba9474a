//! Writes a row, or runs a statement; done after the commit.

use routemq_crds::table;

use crate::{
    database::{Database, Inserter, SqlValue, StatementRunner},
    engine::Shared,
    eval::Columns,
    message::Message,
    outcome::{Failure, class},
};

/// The `sql` handler.
#[derive(Debug)]
pub(crate) struct Sql {
    values: Columns,
    pub(super) work: Work,
}

/// What is done with the values.
#[derive(Debug)]
pub(super) enum Work {
    Insert(Inserter),
    Statement(StatementRunner),
}

impl Sql {
    /// With `table` and `columns`. Starts the task that batches its rows.
    pub(crate) fn insert(spec: &table::Insert, database: &Database) -> Self {
        let values = Columns::new(spec.columns.iter().map(|(_, value)| value.clone()));
        Self { values, work: Work::Insert(database.inserter(spec)) }
    }

    /// With `statement` and `binds`.
    pub(crate) fn statement(spec: &table::Statement, database: &Database) -> Self {
        let values = Columns::new(spec.binds.iter().map(|(_, value)| value.clone()));
        Self { values, work: Work::Statement(database.statement(spec)) }
    }

    /// What is written for a message.
    pub(crate) fn values(
        &self,
        message: &Message,
        shared: &Shared,
    ) -> Result<Vec<SqlValue>, Failure> {
        let values = self.values.values(message, &shared.evaluator);
        let stored = values.map(|(at, value)| {
            SqlValue::try_from(value?).map_err(|error| {
                let words = format!("`{}` does not give something that can be stored", at.source());
                Failure::permanent(class::EXPRESSION, words).with_source(error)
            })
        });
        stored.collect()
    }
}
