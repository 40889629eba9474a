//! Rows into MySQL, MariaDB, PostgreSQL and SQLite: batched, bound, acknowledged after the commit.
//!
//! `Inserter::write → queue (by number, bytes, time) → batch (halved around bad rows) → writer (one
//! statement, its text by dialect) → pool (a few connections, closed when in doubt)`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use routemq_crds::table::{Insert, Statement};
use tokio::sync::mpsc;
use url::Url;

mod batch;
mod dialect;
mod error;
mod fault;
mod insert_sql;
mod inserter;
mod mysql;
mod pool;
mod postgres;
mod queue;
mod rows;
mod sqlite;
mod statement;
mod statement_sql;
mod tables;
mod value;
mod writer;

pub(crate) use self::inserter::Writing;
pub use self::{
    dialect::Dialect,
    error::DatabaseError,
    inserter::Inserter,
    statement::StatementRunner,
    value::{SqlValue, SqlValueError},
};
use self::{
    fault::Fault, insert_sql::InsertText, mysql::MySqlConnector, pool::Pool, postgres::PgConnector,
    queue::Pending, sqlite::SqliteConnector, writer::InsertWriter,
};
use crate::metrics::Histogram;

/// Batches of one inserter that are written at the same time, at most.
const IN_FLIGHT: usize = 4;

/// Bounds of a database's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseOptions {
    /// Connections at most, ≥ 1. SQLite always has one.
    pub max_connections: usize,
    /// How long to wait for a free or a new connection.
    pub acquire_timeout: Duration,
    /// How long a statement may take; then its connection is closed and its rows are unavailable.
    pub statement_timeout: Duration,
    /// How long a statement waits for a lock; below `statement_timeout`. MySQL counts whole seconds.
    pub lock_timeout: Duration,
    /// How long a row waits in all, from its write to its commit; below the default `timeoutSeconds` of 30.
    pub write_timeout: Duration,
    /// Whether a SQLite file that is not there is made.
    pub create_if_missing: bool,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self {
            max_connections: 4,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(15),
            lock_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(25),
            create_if_missing: false,
        }
    }
}

/// A database: opened when needed, and again whenever it comes back. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) server: Server,
    options: DatabaseOptions,
    /// The URL without its password.
    place: ArcSwap<String>,
    /// Rows of each batch.
    pub(crate) batch_rows: Arc<Histogram>,
    /// The queues of inserts that run, by all that makes their statement: equal ones share theirs.
    queues: Mutex<HashMap<String, mpsc::WeakSender<Pending>>>,
}

/// Connections by dialect.
pub(crate) enum Server {
    MySql(Pool<MySqlConnector>),
    Postgres(Pool<PgConnector>),
    Sqlite(Pool<SqliteConnector>),
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("url", &self.place()).finish_non_exhaustive()
    }
}

impl Database {
    /// Reads the URL and opens a first connection.
    ///
    /// # Errors
    /// A URL that is none of ours, or a database that does not answer; the message names the URL (its password
    /// hidden), what failed and how to mend it.
    pub async fn connect(url: &str, options: DatabaseOptions) -> Result<Self, DatabaseError> {
        let database = Self::open(url, options)?;
        database.ping().await?;
        Ok(database)
    }

    /// Reads the URL only: the first row opens the first connection.
    ///
    /// # Errors
    /// A URL that is none of ours.
    pub fn open(url: &str, options: DatabaseOptions) -> Result<Self, DatabaseError> {
        Self::open_counted(url, options, Arc::default())
    }

    /// The same, counting the rows of batches in `batch_rows`.
    pub(crate) fn open_counted(
        url: &str,
        options: DatabaseOptions,
        batch_rows: Arc<Histogram>,
    ) -> Result<Self, DatabaseError> {
        let place = error::redacted(url);
        let server = Server::new(url, &place, options)?;
        let place = ArcSwap::from_pointee(place);
        let inner = Inner { server, options, place, batch_rows, queues: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// From now on connections are opened to this URL, which speaks the same SQL: another password, another host. What is
    /// under way ends where it is; what fails there is tried again here.
    ///
    /// # Errors
    /// A URL that is none of ours, or of another dialect; then nothing changes.
    pub fn redirect(&self, url: &str) -> Result<(), DatabaseError> {
        let place = error::redacted(url);
        let server = Server::new(url, &place, self.inner.options)?;
        let (now, then) = (self.dialect(), server.dialect());
        match (&self.inner.server, server) {
            (Server::MySql(pool), Server::MySql(other)) => pool.redirect(&other),
            (Server::Postgres(pool), Server::Postgres(other)) => pool.redirect(&other),
            (Server::Sqlite(pool), Server::Sqlite(other)) => pool.redirect(&other),
            _ => {
                let cause = format!("it speaks the SQL of {then}, and what runs that of {now}");
                return Err(DatabaseError::Url { url: place, cause });
            }
        }
        self.inner.place.store(Arc::new(place));
        Ok(())
    }

    /// Asks for an answer.
    ///
    /// # Errors
    /// The database does not answer, or refuses us.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        self.inner.server.ping().await.map_err(|fault| self.error(&fault))
    }

    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        self.inner.server.dialect()
    }

    /// The URL without its password.
    pub fn place(&self) -> Arc<String> {
        self.inner.place.load_full()
    }

    /// Writes the rows of one insert, together with those of all equal ones: many routes may fill one table. The task that
    /// batches them ends when the last of their inserters is dropped. Needs a Tokio runtime.
    pub fn inserter(&self, insert: &Insert) -> Inserter {
        let mut queues = self.inner.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(insert);
        let known = queues.get(&key).and_then(mpsc::WeakSender::upgrade);
        let queue = known.unwrap_or_else(|| {
            queues.retain(|_, queue| queue.strong_count() > 0);
            let queue = self.queue(insert);
            queues.insert(key, queue.downgrade());
            queue
        });
        Inserter::new(&insert.table, queue, self.inner.options.write_timeout)
    }

    fn queue(&self, insert: &Insert) -> mpsc::Sender<Pending> {
        let text = InsertText::new(self.dialect(), insert);
        let full = insert.batch.max_rows.min(text.max_rows());
        let writer = InsertWriter::new(Arc::clone(&self.inner), text, full);
        let in_flight = self.inner.server.connections(self.inner.options).min(IN_FLIGHT);
        queue::start(writer, insert.batch, in_flight)
    }

    /// Runs a statement of the spec.
    pub fn statement(&self, statement: &Statement) -> StatementRunner {
        StatementRunner::new(Arc::clone(&self.inner), statement)
    }

    /// Creates the tables and columns that the inserts name and the database lacks (SQLite only: what `dev` needs). Gives the
    /// names of those it made (`table`, or `table.column` where the table was there).
    ///
    /// # Errors
    /// The database is another one, or refuses.
    pub async fn create_missing_tables(
        &self,
        inserts: &[&Insert],
    ) -> Result<Vec<String>, DatabaseError> {
        let Server::Sqlite(pool) = &self.inner.server else {
            return Err(DatabaseError::TablesAreYours { dialect: self.dialect() });
        };
        let result = tables::create_missing(pool, inserts).await;
        result.map_err(|fault| self.error(&fault))
    }

    /// Says goodbye on the connections that are idle.
    pub async fn close(&self) {
        match &self.inner.server {
            Server::MySql(pool) => pool.close().await,
            Server::Postgres(pool) => pool.close().await,
            Server::Sqlite(pool) => pool.close().await,
        }
    }

    fn error(&self, fault: &Fault) -> DatabaseError {
        DatabaseError::unreachable(self.dialect(), &self.place(), fault)
    }
}

/// All of an insert but the expressions of its values.
fn key(insert: &Insert) -> String {
    let columns: Vec<&str> = insert.columns.iter().map(|(name, _)| name.as_str()).collect();
    format!("{:?}", (&insert.table, columns, &insert.on_conflict, &insert.key, insert.batch))
}

impl Server {
    fn new(url: &str, place: &str, options: DatabaseOptions) -> Result<Self, DatabaseError> {
        let refuse = |cause: String| DatabaseError::Url { url: place.to_owned(), cause };
        let scheme = url.split(':').next().unwrap_or_default();
        let dialect = Dialect::of_scheme(scheme)
            .ok_or_else(|| refuse(format!("the scheme {scheme:?} is none of these")))?;
        let parsed = || Url::parse(url).map_err(|error| refuse(error.to_string()));
        let driver = |error: sqlx::Error| refuse(error.to_string());
        Ok(match dialect {
            Dialect::MySql => {
                let connector = MySqlConnector::new(&parsed()?, options).map_err(driver)?;
                Self::MySql(Pool::new(connector, options.max_connections, options))
            }
            Dialect::Postgres => {
                let connector = PgConnector::new(&parsed()?, options).map_err(driver)?;
                Self::Postgres(Pool::new(connector, options.max_connections, options))
            }
            Dialect::Sqlite => {
                let connector = SqliteConnector::new(url, options).map_err(driver)?;
                Self::Sqlite(Pool::new(connector, 1, options))
            }
        })
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::MySql(_) => Dialect::MySql,
            Self::Postgres(_) => Dialect::Postgres,
            Self::Sqlite(_) => Dialect::Sqlite,
        }
    }

    fn connections(&self, options: DatabaseOptions) -> usize {
        if matches!(self, Self::Sqlite(_)) { 1 } else { options.max_connections.max(1) }
    }

    async fn ping(&self) -> Result<(), Fault> {
        match self {
            Self::MySql(pool) => pool.ping().await,
            Self::Postgres(pool) => pool.ping().await,
            Self::Sqlite(pool) => pool.ping().await,
        }
    }
}

#[cfg(test)]
mod tests;
