//! MySQL and MariaDB.

use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection, Row as _, TypeInfo, ValueRef,
    mysql::{MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlRow, MySqlValueRef},
};
use url::Url;

use super::{
    DatabaseOptions,
    batch::Row,
    fault::{Fault, Verdict},
    pool::Connect,
    queue,
    rows::{self, Rows},
    value::SqlValue,
};

/// Bytes of a packet that are not values.
const PACKET_OVERHEAD: usize = 64 * 1024;

/// Statements that a connection keeps prepared: those of a dozen inserts.
const PREPARED: usize = 256;

/// Opens connections that refuse what does not fit, speak utf8mb4 and think in UTC.
#[derive(Debug)]
pub(crate) struct MySqlConnector {
    options: MySqlConnectOptions,
    bounds: DatabaseOptions,
    /// The server's `max_allowed_packet`, known after the first connection.
    max_packet: AtomicUsize,
}

impl MySqlConnector {
    pub(crate) fn new(url: &Url, bounds: DatabaseOptions) -> Result<Self, sqlx::Error> {
        let options = MySqlConnectOptions::from_url(url)?
            .charset("utf8mb4")
            .timezone(Some("+00:00".to_owned()))
            .pipes_as_concat(false)
            .statement_cache_capacity(PREPARED)
            .disable_statement_logging();
        Ok(Self { options, bounds, max_packet: AtomicUsize::new(usize::MAX) })
    }

    /// Refuses what the server would answer by closing the connection.
    pub(crate) fn check_size(&self, rows: &[Row]) -> Result<(), Fault> {
        let limit = self.max_packet.load(Ordering::Relaxed).saturating_sub(PACKET_OVERHEAD);
        let bytes: usize = rows.iter().map(queue::size).sum();
        if bytes <= limit {
            return Ok(());
        }
        let message = format!("{bytes} bytes are more than the server's max_allowed_packet takes");
        Err(Fault::new(Verdict::Row, message))
    }

    async fn set_up(&self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        let lock_wait = self.bounds.lock_timeout.as_secs().max(1);
        let session = format!(
            "SET SESSION sql_mode = CONCAT_WS(',', NULLIF(@@sql_mode, ''), 'STRICT_TRANS_TABLES', 'STRICT_ALL_TABLES'), \
             innodb_lock_wait_timeout = {lock_wait}, lock_wait_timeout = {lock_wait}"
        );
        sqlx::raw_sql(AssertSqlSafe(session)).execute(&mut *connection).await?;
        let (version, packet): (String, u64) =
            sqlx::query_as("SELECT VERSION(), CAST(@@max_allowed_packet AS UNSIGNED)")
                .fetch_one(&mut *connection)
                .await?;
        self.max_packet.store(usize::try_from(packet).unwrap_or(usize::MAX), Ordering::Relaxed);
        if version.contains("MariaDB") {
            let seconds = self.bounds.statement_timeout.as_secs_f64();
            let limit = format!("SET SESSION max_statement_time = {seconds}");
            sqlx::raw_sql(AssertSqlSafe(limit)).execute(connection).await?;
        }
        Ok(())
    }
}

impl Connect for MySqlConnector {
    type Connection = MySqlConnection;

    async fn open(&self) -> Result<MySqlConnection, Fault> {
        let mut connection = MySqlConnection::connect_with(&self.options).await?;
        self.set_up(&mut connection).await?;
        Ok(connection)
    }
}

/// Runs a statement of `values` in rows; resolves after its commit.
pub(crate) async fn insert(
    connection: &mut MySqlConnection,
    text: sqlx::SqlStr,
    rows: &[Row],
) -> Result<(), Fault> {
    let arguments = arguments(rows)?;
    sqlx::query_with(text, arguments).execute(connection).await?;
    Ok(())
}

/// Runs a statement with one value for each placeholder.
pub(crate) async fn query(
    connection: &mut MySqlConnection,
    text: sqlx::SqlStr,
    values: Row,
) -> Result<Rows, Fault> {
    let arguments = arguments(&[values])?;
    rows::gather(sqlx::query_with(text, arguments).fetch(connection), read).await
}

fn arguments(rows: &[Row]) -> Result<MySqlArguments, Fault> {
    use sqlx::Arguments as _;
    let mut arguments = MySqlArguments::default();
    let values = rows.iter().map(Vec::len).sum();
    arguments.reserve(values, rows.iter().map(queue::size).sum());
    for value in rows.iter().flatten() {
        match value {
            SqlValue::Null => arguments.add(None::<&str>),
            SqlValue::Bool(value) => arguments.add(value),
            SqlValue::Int(value) => arguments.add(value),
            SqlValue::UInt(value) => arguments.add(value),
            SqlValue::Float(value) => arguments.add(rows::finite(*value)?),
            SqlValue::Text(text) => arguments.add(text.as_str()),
            SqlValue::Json(text) => arguments.add(text.as_str()),
            SqlValue::Bytes(bytes) => arguments.add(&bytes[..]),
            SqlValue::Timestamp(moment) => arguments.add(moment),
        }
        .map_err(|error| Fault::new(Verdict::Row, error.to_string()))?;
    }
    Ok(arguments)
}

fn read(row: &MySqlRow, index: usize) -> Result<cel::Value, sqlx::Error> {
    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(cel::Value::Null);
    }
    let kind = value.type_info().into_owned();
    // Text that is compared byte by byte is called a BLOB, too; its character set tells.
    let is_text = <str as sqlx::Type<sqlx::MySql>>::compatible(&kind);
    let name = if is_text { "TEXT" } else { kind.name() };
    decode(value, name).map_err(|source| sqlx::Error::ColumnDecode {
        index: row.column(index).name().to_owned(),
        source,
    })
}

fn decode(value: MySqlValueRef<'_>, name: &str) -> Result<cel::Value, sqlx::error::BoxDynError> {
    use sqlx::Decode;
    Ok(match name {
        "BOOLEAN" => <bool as Decode<sqlx::MySql>>::decode(value)?.into(),
        "TIMESTAMP" | "DATETIME" => {
            let moment = <chrono::DateTime<chrono::Utc> as Decode<sqlx::MySql>>::decode(value)?;
            cel::Value::Timestamp(moment.fixed_offset())
        }
        "DATE" => <chrono::NaiveDate as Decode<sqlx::MySql>>::decode(value)?.to_string().into(),
        "TIME" => <chrono::NaiveTime as Decode<sqlx::MySql>>::decode(value)?.to_string().into(),
        "FLOAT" => f64::from(<f32 as Decode<sqlx::MySql>>::decode(value)?).into(),
        "DOUBLE" => <f64 as Decode<sqlx::MySql>>::decode(value)?.into(),
        "DECIMAL" => <&str as Decode<sqlx::MySql>>::decode(value)?.parse::<f64>()?.into(),
        "JSON" => rows::json(<&str as Decode<sqlx::MySql>>::decode(value)?)?,
        name if name.ends_with("UNSIGNED") || name == "YEAR" || name == "BIT" => {
            <u64 as Decode<sqlx::MySql>>::decode(value)?.into()
        }
        name if name.contains("INT") => <i64 as Decode<sqlx::MySql>>::decode(value)?.into(),
        name if name.contains("BLOB") || name.contains("BINARY") || name == "GEOMETRY" => {
            <Vec<u8> as Decode<sqlx::MySql>>::decode(value)?.into()
        }
        _ => <&str as Decode<sqlx::MySql>>::decode(value)?.into(),
    })
}
