//! PostgreSQL. It is strictly typed, so every value goes as text and is cast to the type that its
//! column (or its place in a statement) has.

use std::{collections::HashMap, sync::Arc};

use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection, Either, Executor, Row as _, SqlSafeStr,
    Statement as _, TypeInfo, ValueRef,
    postgres::{PgConnectOptions, PgConnection, PgRow, PgValueRef},
};
use url::Url;

use super::{
    DatabaseOptions,
    batch::Row,
    fault::{Fault, Verdict},
    insert_sql::InsertText,
    pool::Connect,
    rows::{self, Rows},
    statement_sql::StatementText,
};

/// Opens connections with bounds on how long the server works and waits for locks.
#[derive(Debug)]
pub(crate) struct PgConnector {
    options: PgConnectOptions,
    bounds: DatabaseOptions,
}

impl PgConnector {
    pub(crate) fn new(url: &Url, bounds: DatabaseOptions) -> Result<Self, sqlx::Error> {
        let options = PgConnectOptions::from_url(url)?;
        let options = options.application_name("routemq").disable_statement_logging();
        Ok(Self { options, bounds })
    }
}

impl Connect for PgConnector {
    type Connection = PgConnection;

    async fn open(&self) -> Result<PgConnection, Fault> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        let session = format!(
            "SET lock_timeout = {}; SET statement_timeout = {}; SET TIME ZONE 'UTC'",
            self.bounds.lock_timeout.as_millis(),
            self.bounds.statement_timeout.as_millis()
        );
        sqlx::raw_sql(AssertSqlSafe(session)).execute(&mut connection).await?;
        Ok(connection)
    }
}

/// How rows become one INSERT, found once from the table's columns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    text: Arc<str>,
    /// Whether each column is `bytea`.
    bytea: Vec<bool>,
}

const COLUMNS: &str = "SELECT a.attname::text, format_type(a.atttypid, -1), \
     COALESCE(NULLIF(t.typbasetype, 0), t.oid) = 'bytea'::regtype \
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
     WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";

/// Looks the table's columns up.
pub(crate) async fn plan(
    connection: &mut PgConnection,
    insert: &InsertText,
) -> Result<Plan, Fault> {
    let table = insert.dialect.quote_table(&insert.table);
    let found: Vec<(String, String, bool)> =
        sqlx::query_as(COLUMNS).bind(&table).fetch_all(connection).await?;
    if found.is_empty() {
        return Err(Fault::new(Verdict::Refused, "there is no such table; create it"));
    }
    let columns: HashMap<&str, (&str, bool)> =
        found.iter().map(|(name, kind, bytea)| (name.as_str(), (kind.as_str(), *bytea))).collect();
    let (mut types, mut bytea) = (Vec::new(), Vec::new());
    for name in &insert.columns {
        let Some(&(kind, is_bytea)) = columns.get(name.as_str()) else {
            let message = format!("the table has no column {name}; add it or correct `columns`");
            return Err(Fault::new(Verdict::Refused, message));
        };
        types.push(kind.to_owned());
        bytea.push(is_bytea);
    }
    Ok(Plan { text: insert.unnest(&types).into(), bytea })
}

/// Writes all rows in one statement; resolves after its commit.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    plan: &Plan,
    rows: &[&Row],
) -> Result<(), Fault> {
    let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&plan.text)));
    for (index, &bytea) in plan.bytea.iter().enumerate() {
        let column = rows.iter().map(|row| row[index].postgres_text(bytea));
        let column = column.collect::<Result<Vec<_>, _>>();
        query = query.bind(column.map_err(|message| Fault::new(Verdict::Row, message))?);
    }
    query.execute(connection).await?;
    Ok(())
}

/// The last row of each key, in order: what is left after writing all of them one by one.
pub(crate) fn merged<'a>(rows: &'a [Row], key: Option<&[usize]>) -> Vec<&'a Row> {
    let Some(key) = key else { return rows.iter().collect() };
    let mut last = HashMap::with_capacity(rows.len());
    for (position, row) in rows.iter().enumerate() {
        let text = key.iter().map(|&i| row[i].postgres_text(true)).collect::<Vec<_>>();
        last.insert(text, position);
    }
    let mut positions: Vec<usize> = last.into_values().collect();
    positions.sort_unstable();
    positions.into_iter().map(|position| &rows[position]).collect()
}

/// A statement whose binds are cast from text to what their place asks for.
#[derive(Debug)]
pub(crate) struct Prepared {
    text: Arc<str>,
    bytea: Vec<bool>,
}

/// Asks the server for the types of the statement's binds and columns.
pub(crate) async fn prepare(
    connection: &mut PgConnection,
    statement: &StatementText,
) -> Result<Prepared, Fault> {
    let plain = AssertSqlSafe(statement.write(&[])).into_sql_str();
    let described = connection.prepare(plain).await?;
    let types: Vec<String> = match described.parameters() {
        Some(Either::Left(types)) => types.iter().map(|kind| kind.name().to_owned()).collect(),
        _ => Vec::new(),
    };
    let text = statement.write(&types);
    let odd = described.columns().iter().any(|c| !READABLE.contains(&c.type_info().name()));
    // What we cannot read ourselves, the server turns into JSON.
    let text =
        if odd { format!("WITH q AS ({text}) SELECT to_json(q) AS {ROW} FROM q") } else { text };
    let bytea = types.iter().map(|kind| kind == "BYTEA").collect();
    Ok(Prepared { text: text.into(), bytea })
}

/// The column that holds a row as JSON.
const ROW: &str = "routemq_row";

/// Column types that [`decode`] reads.
const READABLE: [&str; 18] = [
    "BOOL",
    "INT2",
    "INT4",
    "INT8",
    "FLOAT4",
    "FLOAT8",
    "TEXT",
    "VARCHAR",
    "CHAR",
    "NAME",
    "UNKNOWN",
    "BYTEA",
    "TIMESTAMPTZ",
    "TIMESTAMP",
    "DATE",
    "JSON",
    "JSONB",
    "VOID",
];

/// Runs a prepared statement with one value for each bind.
pub(crate) async fn query(
    connection: &mut PgConnection,
    prepared: &Prepared,
    values: &Row,
) -> Result<Rows, Fault> {
    let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&prepared.text)));
    for (index, value) in values.iter().enumerate() {
        let bytea = prepared.bytea.get(index).copied().unwrap_or_default();
        let text = value.postgres_text(bytea);
        query = query.bind(text.map_err(|message| Fault::new(Verdict::Row, message))?);
    }
    let rows = rows::gather(query.fetch(connection), read).await?;
    Ok(rows.into_iter().map(unwrapped).collect())
}

/// A row that came as JSON, as the map it stands for.
fn unwrapped(row: cel::Value) -> cel::Value {
    let cel::Value::Map(map) = &row else { return row };
    match map.map.get(&cel::objects::Key::from(ROW)) {
        Some(inner) if map.map.len() == 1 => inner.clone(),
        _ => row,
    }
}

fn read(row: &PgRow, index: usize) -> Result<cel::Value, sqlx::Error> {
    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(cel::Value::Null);
    }
    let name = value.type_info().name().to_owned();
    decode(value, &name).map_err(|source| sqlx::Error::ColumnDecode {
        index: row.column(index).name().to_owned(),
        source,
    })
}

fn decode(value: PgValueRef<'_>, name: &str) -> Result<cel::Value, sqlx::error::BoxDynError> {
    use sqlx::{Decode, Postgres};
    Ok(match name {
        "BOOL" => <bool as Decode<Postgres>>::decode(value)?.into(),
        "INT2" => i64::from(<i16 as Decode<Postgres>>::decode(value)?).into(),
        "INT4" => i64::from(<i32 as Decode<Postgres>>::decode(value)?).into(),
        "INT8" => <i64 as Decode<Postgres>>::decode(value)?.into(),
        "FLOAT4" => f64::from(<f32 as Decode<Postgres>>::decode(value)?).into(),
        "FLOAT8" => <f64 as Decode<Postgres>>::decode(value)?.into(),
        "BYTEA" => <Vec<u8> as Decode<Postgres>>::decode(value)?.into(),
        "DATE" => <chrono::NaiveDate as Decode<Postgres>>::decode(value)?.to_string().into(),
        "TIMESTAMPTZ" => {
            let moment = <chrono::DateTime<chrono::Utc> as Decode<Postgres>>::decode(value)?;
            cel::Value::Timestamp(moment.fixed_offset())
        }
        "TIMESTAMP" => {
            let moment = <chrono::NaiveDateTime as Decode<Postgres>>::decode(value)?;
            cel::Value::Timestamp(moment.and_utc().fixed_offset())
        }
        "JSON" => rows::json(value.as_str()?)?,
        // The first byte is the version of the format.
        "JSONB" => {
            rows::json(std::str::from_utf8(value.as_bytes()?.get(1..).unwrap_or_default())?)?
        }
        "VOID" => cel::Value::Null,
        _ => <&str as Decode<Postgres>>::decode(value)?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::value::SqlValue, *};

    #[test]
    fn the_last_row_of_a_key_wins_and_order_stays() {
        let row = |key: i64, value: i64| vec![SqlValue::Int(key), SqlValue::Int(value)];
        let rows = [row(1, 1), row(2, 2), row(1, 3), row(3, 4)];
        let kept = merged(&rows, Some(&[0]));
        assert_eq!(kept, [&row(2, 2), &row(1, 3), &row(3, 4)]);
        assert_eq!(merged(&rows, None).len(), 4);
    }
}
