//! A server of either kind, and what the suites say to it.

use std::time::Duration;

use futures::future::join_all;
use routemq_crds::{
    expression::{Expression, Scope},
    table::{Batch, Insert, Statement},
    v1alpha1::OnConflict,
};
use routemq_tests::{MariaDb, MariaDbConfig, Postgres, Rows};
use routemq_worker::{
    database::{Database, DatabaseOptions, Inserter, SqlValue},
    outcome::{Failure, FailureKind},
};

/// Either server.
pub(crate) enum Bed {
    MariaDb(MariaDb),
    Postgres(Postgres),
}

impl Bed {
    /// MariaDB as careless as it can be set up: not strict, and in another time zone.
    pub(crate) async fn mariadb() -> Self {
        let extra = vec!["--sql-mode=".to_owned(), "--default-time-zone=+05:00".to_owned()];
        Self::MariaDb(
            MariaDb::start_with(MariaDbConfig { extra, ..MariaDbConfig::default() }).await,
        )
    }

    pub(crate) async fn postgres() -> Self {
        Self::Postgres(Postgres::start().await)
    }

    pub(crate) async fn both() -> [Self; 2] {
        let (mariadb, postgres) = tokio::join!(Self::mariadb(), Self::postgres());
        [mariadb, postgres]
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::MariaDb(_) => "MariaDB",
            Self::Postgres(_) => "PostgreSQL",
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::MariaDb(server) => server.url(),
            Self::Postgres(server) => server.url(),
        }
    }

    pub(crate) fn rows(&self) -> &Rows {
        match self {
            Self::MariaDb(server) => server.rows(),
            Self::Postgres(server) => server.rows(),
        }
    }

    pub(crate) async fn stop(&mut self) {
        match self {
            Self::MariaDb(server) => server.stop().await,
            Self::Postgres(server) => server.stop().await,
        }
    }

    pub(crate) fn kill(&mut self) {
        match self {
            Self::MariaDb(server) => server.kill(),
            Self::Postgres(server) => server.kill(),
        }
    }

    pub(crate) async fn restart(&mut self) {
        match self {
            Self::MariaDb(server) => server.restart().await,
            Self::Postgres(server) => server.restart().await,
        }
    }

    pub(crate) fn pause(&mut self) {
        match self {
            Self::MariaDb(server) => server.pause(),
            Self::Postgres(server) => server.pause(),
        }
    }

    pub(crate) fn resume(&mut self) {
        match self {
            Self::MariaDb(server) => server.resume(),
            Self::Postgres(server) => server.resume(),
        }
    }

    pub(crate) async fn connect(&self) -> Database {
        self.connect_with(DatabaseOptions::default()).await
    }

    pub(crate) async fn connect_with(&self, options: DatabaseOptions) -> Database {
        Database::connect(&self.url(), options).await.unwrap()
    }
}

fn expression() -> Expression {
    Expression::compile("1", &Scope::default()).unwrap()
}

pub(crate) fn insert(
    table: &str,
    columns: &[&str],
    on_conflict: OnConflict,
    key: &[&str],
) -> Insert {
    Insert {
        table: table.to_owned(),
        columns: columns.iter().map(|name| ((*name).to_owned(), expression())).collect(),
        on_conflict,
        key: key.iter().map(|&name| name.to_owned()).collect(),
        batch: Batch { max_rows: 500, max_delay: Duration::from_millis(5) },
    }
}

pub(crate) fn statement(text: &str, binds: &[&str]) -> Statement {
    Statement {
        text: text.to_owned(),
        binds: binds.iter().map(|name| ((*name).to_owned(), expression())).collect(),
        batch: Batch { max_rows: 1, max_delay: Duration::ZERO },
    }
}

/// All at once, as the messages of one receive window.
pub(crate) async fn write_all(
    inserter: &Inserter,
    rows: impl IntoIterator<Item = Vec<SqlValue>>,
) -> Vec<Result<(), Failure>> {
    join_all(rows.into_iter().map(|row| inserter.write(row))).await
}

pub(crate) fn kinds(results: &[Result<(), Failure>]) -> Vec<Option<FailureKind>> {
    results.iter().map(|result| result.as_ref().err().map(|failure| failure.kind)).collect()
}

pub(crate) fn row(key: i64, value: &str) -> Vec<SqlValue> {
    vec![key.into(), value.into()]
}
