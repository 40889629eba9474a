use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use cel::Value;
use chrono::{DateTime, SecondsFormat, Utc};

/// A value bound to a column or a `:name` of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlValue {
    /// SQL `NULL`.
    Null,
    /// A truth value; SQLite stores 0 or 1.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer; above `i64::MAX` only MySQL's `BIGINT UNSIGNED` and decimals take it.
    UInt(u64),
    /// A float. NaN is refused where the database would make it NULL.
    Float(f64),
    /// UTF-8 text.
    Text(Arc<String>),
    /// Bytes.
    Bytes(Bytes),
    /// A moment, stored in UTC with microseconds.
    Timestamp(DateTime<Utc>),
    /// A map or list as JSON text, keys sorted.
    Json(String),
}

/// Why a CEL value cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqlValueError {
    /// Functions, optionals and structs have no SQL form.
    #[error(
        "a value of CEL type {0} cannot be stored; give a number, text, bytes, a timestamp, a map or a list"
    )]
    NoSqlForm(String),
    /// JSON has no text for it.
    #[error("a map or list with a {0} inside has no JSON form")]
    NoJsonForm(String),
}

impl SqlValue {
    /// About how many bytes it takes on the wire; used to bound a batch.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + 9,
            Self::Json(text) => text.len() + 9,
            Self::Bytes(bytes) => bytes.len() + 9,
            _ => 16,
        }
    }

    /// As PostgreSQL reads it from text: `None` is NULL. `bytea` columns take hexadecimal.
    ///
    /// # Errors
    /// Bytes that are not UTF-8 for a column that is not `bytea`.
    pub(crate) fn postgres_text(&self, bytea: bool) -> Result<Option<Cow<'_, str>>, &'static str> {
        Ok(Some(match self {
            Self::Null => return Ok(None),
            Self::Text(text) if bytea => hexadecimal(text.as_bytes()).into(),
            Self::Json(text) if bytea => hexadecimal(text.as_bytes()).into(),
            Self::Bytes(raw) if bytea => hexadecimal(raw).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Json(text) => text.as_str().into(),
            Self::Bytes(raw) => std::str::from_utf8(raw)
                .map_err(|_| "bytes that are not UTF-8 need a bytea column")?
                .into(),
            Self::Bool(value) => (if *value { "true" } else { "false" }).into(),
            Self::Int(value) => value.to_string().into(),
            Self::UInt(value) => value.to_string().into(),
            Self::Float(value) => value.to_string().into(),
            Self::Timestamp(moment) => rfc3339(moment).into(),
        }))
    }
}

/// RFC 3339 in UTC with microseconds: the one text form of a moment.
pub(crate) fn rfc3339(moment: &DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

impl TryFrom<Value> for SqlValue {
    type Error = SqlValueError;

    /// Durations become seconds; maps and lists JSON text.
    fn try_from(value: Value) -> Result<Self, SqlValueError> {
        Ok(match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Int(value) => Self::Int(value),
            Value::UInt(value) => Self::UInt(value),
            Value::Float(value) => Self::Float(value),
            Value::String(text) => Self::Text(text),
            Value::Bytes(bytes) => Self::Bytes(match Arc::try_unwrap(bytes) {
                Ok(bytes) => bytes.into(),
                Err(shared) => Bytes::copy_from_slice(&shared),
            }),
            Value::Timestamp(moment) => Self::Timestamp(moment.to_utc()),
            Value::Duration(span) => Self::Float(span.as_seconds_f64()),
            Value::List(_) | Value::Map(_) => Self::Json(json_text(&value)?),
            other => return Err(SqlValueError::NoSqlForm(other.type_of().to_string())),
        })
    }
}

/// JSON text with sorted keys, so that one value always gives one text.
fn json_text(value: &Value) -> Result<String, SqlValueError> {
    let mut json = value
        .json()
        .map_err(|_| SqlValueError::NoJsonForm("function, optional or struct".to_owned()))?;
    json.sort_all_objects();
    Ok(json.to_string())
}

impl From<&str> for SqlValue {
    fn from(text: &str) -> Self {
        Self::Text(Arc::new(text.to_owned()))
    }
}

impl From<String> for SqlValue {
    fn from(text: String) -> Self {
        Self::Text(Arc::new(text))
    }
}

impl From<i64> for SqlValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn stored(value: Value) -> SqlValue {
        SqlValue::try_from(value).unwrap()
    }

    #[test]
    fn each_cel_value_has_one_sql_form() {
        let moment = DateTime::parse_from_rfc3339("2026-11-23T22:39:00.123456+02:00").unwrap();
        let map: HashMap<String, Value> =
            (0..9).rev().map(|i| (format!("k{i}"), i.into())).collect();
        let table: [(&str, Value, SqlValue); 9] = [
            ("null", Value::Null, SqlValue::Null),
            ("bool", true.into(), SqlValue::Bool(true)),
            ("int", (-1_i64).into(), SqlValue::Int(-1)),
            ("uint above i64", u64::MAX.into(), SqlValue::UInt(u64::MAX)),
            ("float", 1.5.into(), SqlValue::Float(1.5)),
            ("text", "é'; --".into(), "é'; --".into()),
            ("bytes", Value::Bytes(vec![0, 255].into()), SqlValue::Bytes(vec![0, 255].into())),
            ("moment", Value::Timestamp(moment), SqlValue::Timestamp(moment.to_utc())),
            (
                "duration",
                Value::Duration(chrono::Duration::milliseconds(1500)),
                SqlValue::Float(1.5),
            ),
        ];
        for (name, value, expected) in table {
            assert_eq!(stored(value), expected, "{name}");
        }
        let keys = (0..9).map(|i| format!("\"k{i}\":{i}")).collect::<Vec<_>>().join(",");
        assert_eq!(stored(map.into()), SqlValue::Json(format!("{{{keys}}}")), "keys are sorted");
    }

    #[test]
    fn a_function_is_refused_with_its_type() {
        let error = SqlValue::try_from(Value::Function(Arc::new("f".into()), None)).unwrap_err();
        assert!(error.to_string().contains("function"), "{error}");
    }

    #[test]
    fn postgres_reads_each_value_from_text() {
        let bytes = SqlValue::Bytes(vec![0xff, 0x01].into());
        assert_eq!(bytes.postgres_text(true), Ok(Some("\\xff01".into())));
        assert!(bytes.postgres_text(false).is_err(), "not UTF-8, not bytea");
        assert_eq!(SqlValue::from("é").postgres_text(true), Ok(Some("\\xc3a9".into())));
        assert_eq!(SqlValue::Float(12.0).postgres_text(false), Ok(Some("12".into())));
        assert_eq!(SqlValue::Null.postgres_text(false), Ok(None));
    }
}
