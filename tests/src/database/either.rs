//! One or the other database, for suites that hold on both.

use super::{MariaDb, Postgres, Rows};

/// A running database.
#[derive(Debug)]
pub enum Database {
    /// MariaDB.
    MariaDb(MariaDb),
    /// PostgreSQL.
    Postgres(Postgres),
}

impl Database {
    /// A MariaDB with the defaults.
    pub async fn mariadb() -> Self {
        Self::MariaDb(MariaDb::start().await)
    }

    /// A PostgreSQL with the defaults.
    pub async fn postgres() -> Self {
        Self::Postgres(Postgres::start().await)
    }

    /// For `DATABASE_URL`.
    pub fn url(&self) -> String {
        match self {
            Self::MariaDb(server) => server.url(),
            Self::Postgres(server) => server.url(),
        }
    }

    /// A connection of its own.
    pub fn rows(&self) -> &Rows {
        match self {
            Self::MariaDb(server) => server.rows(),
            Self::Postgres(server) => server.rows(),
        }
    }

    /// Ends it in good order.
    pub async fn stop(&mut self) {
        match self {
            Self::MariaDb(server) => server.stop().await,
            Self::Postgres(server) => server.stop().await,
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        match self {
            Self::MariaDb(server) => server.kill(),
            Self::Postgres(server) => server.kill(),
        }
    }

    /// Starts it again with the same data.
    pub async fn restart(&mut self) {
        match self {
            Self::MariaDb(server) => server.restart().await,
            Self::Postgres(server) => server.restart().await,
        }
    }

    /// Stands still with its connections open.
    pub fn pause(&mut self) {
        match self {
            Self::MariaDb(server) => server.pause(),
            Self::Postgres(server) => server.pause(),
        }
    }

    /// Goes on.
    pub fn resume(&mut self) {
        match self {
            Self::MariaDb(server) => server.resume(),
            Self::Postgres(server) => server.resume(),
        }
    }
}
