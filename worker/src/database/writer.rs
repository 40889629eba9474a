use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::{
    Inner, Server,
    batch::{Row, WriteRows},
    dialect::Dialect,
    fault::{Fault, Verdict},
    insert_sql::InsertText,
    mysql, postgres, sqlite,
};

/// How often a statement that lost a deadlock is tried before its rows are given back.
const DEADLOCK_TRIES: u32 = 4;

/// How many of so many rows go into one statement: up to eight exactly, then a power of two or the half between two, or
/// a full batch. So a few statements serve all batches and stay prepared. One that is closed again costs 40 ms: the
/// driver leaves Nagle's algorithm on, which holds the next statement back until the server's delayed ACK of the close.
fn prepared_rows(rows: usize, full: usize) -> usize {
    if rows >= full {
        return full;
    }
    if rows <= 8 {
        return rows;
    }
    let power = 1 << rows.ilog2();
    if rows >= power + power / 2 { power + power / 2 } else { power }
}

/// Writes rows of one insert, in one statement each time.
pub(crate) struct InsertWriter {
    database: Arc<Inner>,
    text: InsertText,
    /// Rows of a full batch.
    full: usize,
    texts: Mutex<HashMap<usize, Arc<str>>>,
    plan: Mutex<Option<Arc<postgres::Plan>>>,
}

impl InsertWriter {
    pub(crate) fn new(database: Arc<Inner>, text: InsertText, full: usize) -> Self {
        Self { database, text, full, texts: Mutex::default(), plan: Mutex::default() }
    }

    async fn once(&self, rows: &[Row]) -> Result<(), Fault> {
        match &self.database.server {
            Server::MySql(pool) => {
                pool.connector().check_size(rows)?;
                let text = self.values_text(rows.len());
                let mut lease = pool.lease().await?;
                let work = mysql::insert(&mut lease.connection, text, rows);
                let result = pool.bounded(work).await;
                lease.settle(result)
            }
            Server::Sqlite(pool) => {
                let text = self.values_text(rows.len());
                let mut lease = pool.lease().await?;
                let work = sqlite::insert(&mut lease.connection, text, rows);
                let result = pool.bounded(work).await;
                lease.settle(result)
            }
            Server::Postgres(pool) => {
                let mut lease = pool.lease().await?;
                let result = pool.bounded(self.on_postgres(&mut lease.connection, rows)).await;
                lease.settle(result)
            }
        }
    }

    /// A refusal may come from a column that has changed since it was looked up: then once more.
    async fn on_postgres(
        &self,
        connection: &mut sqlx::PgConnection,
        rows: &[Row],
    ) -> Result<(), Fault> {
        let rows = postgres::merged(rows, self.text.merge_key().as_deref());
        let known = self.known_plan().clone();
        let Some(plan) = known else {
            let plan = self.look_up(connection).await?;
            return postgres::insert(connection, &plan, &rows).await;
        };
        let result = postgres::insert(connection, &plan, &rows).await;
        if !matches!(&result, Err(fault) if fault.verdict.may_be_stale()) {
            return result;
        }
        let fresh = self.look_up(connection).await?;
        if *fresh == *plan { result } else { postgres::insert(connection, &fresh, &rows).await }
    }

    async fn look_up(
        &self,
        connection: &mut sqlx::PgConnection,
    ) -> Result<Arc<postgres::Plan>, Fault> {
        *self.known_plan() = None;
        let plan = Arc::new(postgres::plan(connection, &self.text).await?);
        *self.known_plan() = Some(Arc::clone(&plan));
        Ok(plan)
    }

    /// The statement for this many rows.
    fn values_text(&self, rows: usize) -> SqlStr {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let text = texts.entry(rows).or_insert_with(|| self.text.values(rows).into());
        AssertSqlSafe(Arc::clone(text)).into_sql_str()
    }

    fn known_plan(&self) -> std::sync::MutexGuard<'_, Option<Arc<postgres::Plan>>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WriteRows for InsertWriter {
    async fn write(&self, rows: &[Row]) -> Result<(), Fault> {
        for tries in 1..DEADLOCK_TRIES {
            match self.once(rows).await {
                Err(fault) if fault.verdict == Verdict::Deadlock => {
                    let pause = Duration::from_millis(fastrand::u64(1..=5 << tries));
                    tokio::time::sleep(pause).await;
                }
                result => return result,
            }
        }
        self.once(rows).await
    }

    fn begin(&self, rows: usize) {
        self.database.batch_rows.numbered(rows);
    }

    fn take(&self, rows: usize) -> usize {
        match self.text.dialect {
            Dialect::Postgres => rows.min(self.text.max_rows()),
            Dialect::MySql | Dialect::Sqlite => prepared_rows(rows, self.full),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_rows_is_made_of_few_statements() {
        let mut sizes = std::collections::BTreeSet::new();
        for rows in 1..=500 {
            let (mut left, mut statements) = (rows, 0);
            while left > 0 {
                let taken = prepared_rows(left, 500);
                assert!((1..=left).contains(&taken), "{rows}");
                sizes.insert(taken);
                left -= taken;
                statements += 1;
            }
            assert!(statements <= 5, "{rows} rows take {statements} statements");
        }
        assert!(sizes.len() <= 21, "{sizes:?}");
    }
}
