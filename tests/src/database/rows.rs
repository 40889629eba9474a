//! Statements over a connection that the worker knows nothing of.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Executor as _, MySqlPool, PgPool, Row as _, mysql::MySqlPoolOptions,
    postgres::PgPoolOptions,
};

/// For a connection; a database that is away is an error after this.
const PATIENCE: Duration = Duration::from_secs(10);

/// The accountant: what is in the database, asked over a connection of its own.
#[derive(Clone, Debug)]
pub enum Rows {
    /// MariaDB or MySQL.
    MySql(MySqlPool),
    /// PostgreSQL.
    Postgres(PgPool),
}

impl Rows {
    /// Opened at the first statement.
    pub fn mysql(url: &str) -> Self {
        let options = MySqlPoolOptions::new().max_connections(2).acquire_timeout(PATIENCE);
        Self::MySql(options.connect_lazy(url).expect("the harness makes good URLs"))
    }

    /// Opened at the first statement.
    pub(super) fn postgres(url: &str) -> Self {
        let options = PgPoolOptions::new().max_connections(2).acquire_timeout(PATIENCE);
        Self::Postgres(options.connect_lazy(url).expect("the harness makes good URLs"))
    }

    /// Runs one or more statements.
    pub async fn execute(&self, sql: &str) {
        self.try_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// Runs one or more statements; the error where the database refuses or is away.
    pub async fn try_execute(&self, sql: &str) -> Result<(), sqlx::Error> {
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::MySql(pool) => pool.execute(statement).await.map(drop),
            Self::Postgres(pool) => pool.execute(statement).await.map(drop),
        }
    }

    /// The one number that a statement gives, such as `SELECT COUNT(*) …`.
    pub async fn count(&self, sql: &str) -> i64 {
        let statement = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()));
        let result = match self {
            Self::MySql(pool) => statement.fetch_one(pool).await,
            Self::Postgres(pool) => {
                sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(pool).await
            }
        };
        result.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// The first column of each row as text (cast it in the statement where it is none).
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let statement = AssertSqlSafe(sql.to_owned());
        let result = match self {
            Self::MySql(pool) => sqlx::query(statement)
                .fetch_all(pool)
                .await
                .map(|rows| rows.iter().map(|row| row.get(0)).collect()),
            Self::Postgres(pool) => sqlx::query(statement)
                .fetch_all(pool)
                .await
                .map(|rows| rows.iter().map(|row| row.get(0)).collect()),
        };
        result.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }
}
