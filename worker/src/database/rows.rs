//! The rows that a statement gives back, as CEL values.

use std::{collections::HashMap, sync::Arc};

use cel::Value;
use futures::{Stream, StreamExt};
use sqlx::{Column, Row};

use super::fault::{Fault, Verdict};

/// Rows, each a map from column to value.
pub(crate) type Rows = Vec<Value>;

/// A statement that gives back more is refused: `results` lives in memory, once for each message.
pub(crate) const MAX_ROWS: usize = 1_000;

/// Reads all rows, each column by `read`.
pub(crate) async fn gather<R: Row>(
    mut stream: impl Stream<Item = Result<R, sqlx::Error>> + Unpin,
    read: impl Fn(&R, usize) -> Result<Value, sqlx::Error>,
) -> Result<Rows, Fault> {
    let mut rows = Rows::new();
    while let Some(row) = stream.next().await {
        if rows.len() == MAX_ROWS {
            return Err(too_many());
        }
        rows.push(one(&row?, &read)?);
    }
    Ok(rows)
}

fn too_many() -> Fault {
    let message = format!("the statement gives back more than {MAX_ROWS} rows; add a LIMIT");
    Fault::new(Verdict::Row, message)
}

fn one<R: Row>(
    row: &R,
    read: impl Fn(&R, usize) -> Result<Value, sqlx::Error>,
) -> Result<Value, Fault> {
    let mut map = HashMap::with_capacity(row.columns().len());
    for (index, column) in row.columns().iter().enumerate() {
        let value = read(row, index).map_err(|e| Fault::new(Verdict::Row, e.to_string()))?;
        map.insert(cel::objects::Key::String(Arc::new(column.name().to_owned())), value);
    }
    Ok(Value::Map(cel::objects::Map { map: Arc::new(map) }))
}

/// JSON text as a CEL value.
pub(crate) fn json(text: &str) -> Result<Value, sqlx::error::BoxDynError> {
    let json: serde_json::Value = serde_json::from_str(text)?;
    cel::to_value(json).map_err(|error| error.to_string().into())
}

/// MySQL and SQLite have no NaN; SQLite would make it NULL without a word.
pub(crate) fn finite(value: f64) -> Result<f64, Fault> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(Fault::new(Verdict::Row, format!("{value} is not a number that the database can store")))
}
