//! SQLite: one connection that writes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{
    Column, ConnectOptions, Connection, Row as _, TypeInfo, ValueRef,
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow,
        SqliteSynchronous,
    },
};

use super::{
    DatabaseOptions,
    batch::Row,
    fault::{Fault, Verdict},
    pool::Connect,
    rows::{self, Rows},
    value::{SqlValue, rfc3339},
};

/// Opens the file, in WAL mode, committing durably.
#[derive(Debug)]
pub(crate) struct SqliteConnector {
    options: SqliteConnectOptions,
    /// A database in memory lives as long as one connection to it: this one, which does nothing.
    anchor: Mutex<Option<SqliteConnection>>,
    in_memory: bool,
}

impl SqliteConnector {
    pub(crate) fn new(url: &str, bounds: DatabaseOptions) -> Result<Self, sqlx::Error> {
        let mut options: SqliteConnectOptions = url.parse()?;
        if bounds.create_if_missing {
            options = options.create_if_missing(true);
        }
        let options = options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .statement_cache_capacity(256)
            .busy_timeout(bounds.lock_timeout.max(Duration::from_millis(100)))
            .disable_statement_logging();
        let in_memory = url.contains(":memory:") || url.contains("mode=memory");
        Ok(Self { options, anchor: Mutex::default(), in_memory })
    }

    fn anchor(&self) -> MutexGuard<'_, Option<SqliteConnection>> {
        self.anchor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connect for SqliteConnector {
    type Connection = SqliteConnection;

    async fn open(&self) -> Result<SqliteConnection, Fault> {
        let needs_anchor = self.in_memory && self.anchor().is_none();
        if needs_anchor {
            let anchor = SqliteConnection::connect_with(&self.options).await?;
            *self.anchor() = Some(anchor);
        }
        Ok(SqliteConnection::connect_with(&self.options).await?)
    }
}

/// Runs a statement of `values` in rows; resolves after its commit.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    text: sqlx::SqlStr,
    rows: &[Row],
) -> Result<(), Fault> {
    let arguments = arguments(rows)?;
    sqlx::query_with(text, arguments).execute(connection).await?;
    Ok(())
}

/// Runs a statement with one value for each placeholder.
pub(crate) async fn query(
    connection: &mut SqliteConnection,
    text: sqlx::SqlStr,
    values: Row,
) -> Result<Rows, Fault> {
    let arguments = arguments(&[values])?;
    rows::gather(sqlx::query_with(text, arguments).fetch(connection), read).await
}

fn arguments(rows: &[Row]) -> Result<SqliteArguments, Fault> {
    use sqlx::Arguments as _;
    let mut arguments = SqliteArguments::default();
    arguments.reserve(rows.iter().map(Vec::len).sum(), 0);
    for value in rows.iter().flatten() {
        match value {
            SqlValue::Null => arguments.add(None::<&str>),
            SqlValue::Bool(value) => arguments.add(*value),
            SqlValue::Int(value) => arguments.add(*value),
            SqlValue::UInt(value) => arguments.add(signed(*value)?),
            SqlValue::Float(value) => arguments.add(rows::finite(*value)?),
            SqlValue::Text(text) => arguments.add(text.as_str()),
            SqlValue::Json(text) => arguments.add(text.as_str()),
            SqlValue::Bytes(bytes) => arguments.add(&bytes[..]),
            SqlValue::Timestamp(moment) => arguments.add(rfc3339(moment)),
        }
        .map_err(|error| Fault::new(Verdict::Row, error.to_string()))?;
    }
    Ok(arguments)
}

/// SQLite has no unsigned integers, and would keep a larger one as an inexact float.
fn signed(value: u64) -> Result<i64, Fault> {
    let larger = || Fault::new(Verdict::Row, format!("{value} is larger than SQLite's integers"));
    i64::try_from(value).map_err(|_| larger())
}

fn read(row: &SqliteRow, index: usize) -> Result<cel::Value, sqlx::Error> {
    let value = row.try_get_raw(index)?;
    let name = value.type_info().name().to_owned();
    if value.is_null() {
        return Ok(cel::Value::Null);
    }
    decode(value, &name).map_err(|source| sqlx::Error::ColumnDecode {
        index: row.column(index).name().to_owned(),
        source,
    })
}

fn decode(
    value: sqlx::sqlite::SqliteValueRef<'_>,
    name: &str,
) -> Result<cel::Value, sqlx::error::BoxDynError> {
    use sqlx::Decode;
    Ok(match name {
        "INTEGER" => <i64 as Decode<sqlx::Sqlite>>::decode(value)?.into(),
        "REAL" => <f64 as Decode<sqlx::Sqlite>>::decode(value)?.into(),
        "BLOB" => <Vec<u8> as Decode<sqlx::Sqlite>>::decode(value)?.into(),
        _ => <&str as Decode<sqlx::Sqlite>>::decode(value)?.into(),
    })
}
