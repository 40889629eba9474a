use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use routemq_crds::table::Statement;
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::{
    Inner, Server,
    batch::Row,
    fault::{Fault, Verdict},
    mysql, postgres,
    rows::Rows,
    sqlite,
    statement_sql::StatementText,
    value::SqlValue,
};
use crate::outcome::Failure;

/// Runs one statement of the spec, once for each message. Cheap to clone.
#[derive(Clone)]
pub struct StatementRunner {
    shared: Arc<Shared>,
}

struct Shared {
    database: Arc<Inner>,
    text: StatementText,
    /// Where the value of each placeholder stands among the statement's binds.
    order: Vec<usize>,
    plain: Arc<str>,
    /// PostgreSQL's types of the binds; looked up again after an error of the schema.
    prepared: Mutex<Option<Arc<postgres::Prepared>>>,
}

impl std::fmt::Debug for StatementRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatementRunner").field("text", &self.shared.plain).finish_non_exhaustive()
    }
}

impl StatementRunner {
    pub(crate) fn new(database: Arc<Inner>, statement: &Statement) -> Self {
        let text = StatementText::parse(database.server.dialect(), &statement.text);
        let place = |name: &String| statement.binds.iter().position(|(bind, _)| bind == name);
        // `compile` has seen to it that every name has its bind; one without is out of range and refused when run.
        let order = text.binds.iter().map(|name| place(name).unwrap_or(usize::MAX)).collect();
        let plain = text.write(&[]).into();
        let shared = Shared { database, text, order, plain, prepared: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Runs the statement with the values of its binds, in the order of `Statement::binds`; gives
    /// the rows it returns, each a map. It runs to its end even where this future is dropped.
    ///
    /// # Errors
    /// As [`Inserter::write`](super::Inserter::write); more than 1,000 rows are a permanent failure.
    pub async fn run(&self, values: Vec<SqlValue>) -> Result<Vec<cel::Value>, Failure> {
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(async move { shared.run(values).await });
        let stopped = |_| Err(Fault::new(Verdict::Away, "the statement was stopped"));
        let result = task.await.unwrap_or_else(stopped);
        result.map_err(|fault| fault.failure("the statement"))
    }
}

impl Shared {
    async fn run(&self, values: Vec<SqlValue>) -> Result<Rows, Fault> {
        let values = self.arranged(&values)?;
        let text = AssertSqlSafe(Arc::clone(&self.plain)).into_sql_str();
        match &self.database.server {
            Server::MySql(pool) => {
                pool.connector().check_size(std::slice::from_ref(&values))?;
                let mut lease = pool.lease().await?;
                let work = mysql::query(&mut lease.connection, text, values);
                let result = pool.bounded(work).await;
                lease.settle(result)
            }
            Server::Sqlite(pool) => {
                let mut lease = pool.lease().await?;
                let work = sqlite::query(&mut lease.connection, text, values);
                let result = pool.bounded(work).await;
                lease.settle(result)
            }
            Server::Postgres(pool) => {
                let mut lease = pool.lease().await?;
                let result = pool.bounded(self.on_postgres(&mut lease.connection, &values)).await;
                lease.settle(result)
            }
        }
    }

    async fn on_postgres(
        &self,
        connection: &mut sqlx::PgConnection,
        values: &Row,
    ) -> Result<Rows, Fault> {
        let prepared = self.prepared(connection).await?;
        let result = postgres::query(connection, &prepared, values).await;
        if matches!(&result, Err(fault) if fault.verdict == Verdict::Refused) {
            *self.known() = None;
        }
        result
    }

    async fn prepared(
        &self,
        connection: &mut sqlx::PgConnection,
    ) -> Result<Arc<postgres::Prepared>, Fault> {
        let known = self.known().clone();
        if let Some(prepared) = known {
            return Ok(prepared);
        }
        let prepared = Arc::new(postgres::prepare(connection, &self.text).await?);
        *self.known() = Some(Arc::clone(&prepared));
        Ok(prepared)
    }

    fn known(&self) -> MutexGuard<'_, Option<Arc<postgres::Prepared>>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One value for each placeholder.
    fn arranged(&self, values: &[SqlValue]) -> Result<Row, Fault> {
        let value = |&place: &usize| values.get(place).cloned();
        self.order.iter().map(value).collect::<Option<Row>>().ok_or_else(|| {
            Fault::new(Verdict::Refused, "a :name of the statement has no bind; add it to `binds`")
        })
    }
}
