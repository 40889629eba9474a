use std::sync::Arc;

use routemq_crds::v1alpha1::OnConflict;
use routemq_worker::{database::SqlValue, outcome::FailureKind::Permanent};

use crate::bed::{Bed, insert, write_all};

fn moment() -> SqlValue {
    SqlValue::try_from(cel::Value::Timestamp("2026-11-23T22:39:00.123456+02:00".parse().unwrap()))
        .unwrap()
}

struct Case {
    name: &'static str,
    /// MariaDB, PostgreSQL; empty: not there.
    types: [&'static str; 2],
    value: SqlValue,
    /// As text, or the row is refused.
    stored: [Option<&'static str>; 2],
}

fn case(
    name: &'static str,
    types: [&'static str; 2],
    value: impl Into<SqlValue>,
    stored: &'static str,
) -> Case {
    Case { name, types, value: value.into(), stored: [Some(stored), Some(stored)] }
}

fn refused(name: &'static str, types: [&'static str; 2], value: impl Into<SqlValue>) -> Case {
    Case { name, types, value: value.into(), stored: [None, None] }
}

fn cases() -> Vec<Case> {
    let metacharacters = "'; DROP TABLE t; -- \" ` \\ % _ :v $1 ?";
    vec![
        case("int in bigint", ["BIGINT", "BIGINT"], -7, "-7"),
        case("int in int", ["INT", "INT"], 7, "7"),
        case("int in decimal", ["DECIMAL(10,2)", "NUMERIC(10,2)"], 7, "7.00"),
        case("int in text", ["TEXT", "TEXT"], 7, "7"),
        case("int in double", ["DOUBLE", "DOUBLE PRECISION"], 7, "7"),
        case("whole float in int", ["INT", "INT"], SqlValue::Float(12.0), "12"),
        case(
            "uint in decimal",
            ["DECIMAL(20)", "NUMERIC(20)"],
            SqlValue::UInt(u64::MAX),
            "18446744073709551615",
        ),
        case(
            "uint in the widest",
            ["BIGINT UNSIGNED", ""],
            SqlValue::UInt(u64::MAX),
            "18446744073709551615",
        ),
        case("float", ["DOUBLE", "DOUBLE PRECISION"], SqlValue::Float(1.5), "1.5"),
        case("text", ["VARCHAR(100)", "VARCHAR(100)"], metacharacters, metacharacters),
        case("emoji", ["VARCHAR(20)", "VARCHAR(20)"], "🚀 é 漢字", "🚀 é 漢字"),
        case("text in blob", ["BLOB", ""], "a\\b", "a\\b"),
        case("text in bytea", ["", "BYTEA"], "a\\b", "\\x615c62"),
        case("bytes in bytea", ["", "BYTEA"], SqlValue::Bytes(vec![0, 255].into()), "\\x00ff"),
        case("UTF-8 bytes in text", ["TEXT", "TEXT"], SqlValue::Bytes("é".into()), "é"),
        case("null", ["INT", "INT"], SqlValue::Null, "NULL"),
        case("moment", ["DATETIME(6)", "TIMESTAMP"], moment(), "2026-11-23 20:39:00.123456"),
        case("text in enum", ["ENUM('a','b')", "mood"], "b", "b"),
        case(
            "uuid",
            ["", "UUID"],
            "0123456789abcdef0123456789abcdef",
            "01234567-89ab-cdef-0123-456789abcdef",
        ),
        case("json", ["JSON", "JSONB"], SqlValue::Json(r#"{"a": 1}"#.into()), r#"{"a": 1}"#),
        case("bool in boolean", ["", "BOOLEAN"], SqlValue::Bool(true), "true"),
        case("bool in boolean", ["BOOLEAN", ""], SqlValue::Bool(true), "1"),
        case("char", ["CHAR(3)", "CHAR(3)"], "ab", "ab"),
        refused("too long", ["VARCHAR(3)", "VARCHAR(3)"], "abcd"),
        refused("too long for char", ["CHAR(3)", "CHAR(3)"], "abcd"),
        refused("too large", ["INT", "INT"], i64::MAX),
        refused("too large for decimal", ["DECIMAL(4,2)", "NUMERIC(4,2)"], 100),
        refused("unsigned beyond bigint", ["BIGINT", "BIGINT"], SqlValue::UInt(u64::MAX)),
        refused("text in int", ["INT", "INT"], "abc"),
        refused("text in moment", ["DATETIME", "TIMESTAMPTZ"], "yesterdayish"),
        refused("null in not null", ["INT NOT NULL", "INT NOT NULL"], SqlValue::Null),
        refused("no UTF-8 in text", ["TEXT", "TEXT"], SqlValue::Bytes(vec![0xff, 0xfe].into())),
        refused("zero character", ["", "TEXT"], "a\0b"),
        refused("no number", ["DOUBLE", ""], SqlValue::Float(f64::NAN)),
        refused("unknown enum value", ["ENUM('a','b')", "mood"], "c"),
        refused("broken json", ["JSON", "JSONB"], "{"),
        refused("check", ["INT CHECK (v > 5)", "INT CHECK (v > 5)"], 1),
    ]
}

#[tokio::test]
async fn each_value_is_stored_verbatim_or_refused_alone() {
    for (which, bed) in Bed::both().await.into_iter().enumerate() {
        let database = bed.connect().await;
        if which == 1 {
            bed.rows().execute("CREATE TYPE mood AS ENUM ('a', 'b')").await;
        }
        for (index, case) in cases().into_iter().enumerate() {
            let (kind, name) = (case.types[which], format!("{}: {}", bed.name(), case.name));
            if kind.is_empty() {
                continue;
            }
            bed.rows().execute(&format!("CREATE TABLE t{index} (v {kind})")).await;
            let inserter =
                database.inserter(&insert(&format!("t{index}"), &["v"], OnConflict::Error, &[]));
            let result = inserter.write(vec![case.value]).await;
            let Some(expected) = case.stored[which] else {
                let failure = result.expect_err(&name);
                assert_eq!(failure.kind, Permanent, "{name}: {}", failure.describe(500));
                continue;
            };
            result.unwrap_or_else(|failure| panic!("{name}: {}", failure.describe(500)));
            let cast = if which == 0 { "CAST(v AS CHAR)" } else { "v::text" };
            let read = format!("SELECT COALESCE({cast}, 'NULL') FROM t{index}");
            assert_eq!(bed.rows().texts(&read).await, [expected], "{name}");
        }
    }
}

fn megabytes(count: usize) -> SqlValue {
    SqlValue::Text(Arc::new("x".repeat(count << 20)))
}

#[tokio::test]
async fn ten_megabytes_are_stored_where_the_column_takes_them() {
    for bed in Bed::both().await {
        let [wide, narrow] = match bed {
            Bed::MariaDb(_) => ["LONGTEXT", "TEXT"],
            Bed::Postgres(_) => ["TEXT", "VARCHAR(1000)"],
        };
        let database = bed.connect().await;
        for (table, kind) in [("wide", wide), ("narrow", narrow)] {
            bed.rows().execute(&format!("CREATE TABLE {table} (v {kind})")).await;
        }
        let into = |table| database.inserter(&insert(table, &["v"], OnConflict::Error, &[]));
        into("wide").write(vec![megabytes(10)]).await.unwrap();
        assert_eq!(
            bed.rows().count("SELECT COUNT(*) FROM wide WHERE LENGTH(v) = 10 << 20").await,
            1
        );
        let results = write_all(&into("narrow"), [vec![megabytes(10)], vec!["a".into()]]).await;
        assert_eq!(results[0].as_ref().unwrap_err().kind, Permanent, "{}", bed.name());
        assert!(results[1].is_ok(), "{}: the neighbour is stored", bed.name());
    }
}

/// MariaDB answers a packet that is too large by closing the connection, which looks like an outage.
#[tokio::test]
async fn a_row_beyond_the_packet_limit_is_refused_alone() {
    let bed = Bed::mariadb().await;
    bed.rows().execute("CREATE TABLE t (v LONGTEXT)").await;
    let database = bed.connect().await;
    let inserter = database.inserter(&insert("t", &["v"], OnConflict::Error, &[]));
    let results =
        write_all(&inserter, [vec!["a".into()], vec![megabytes(17)], vec!["b".into()]]).await;
    let failure = results[1].as_ref().unwrap_err();
    assert_eq!(failure.kind, Permanent, "{failure}");
    assert!(failure.describe(500).contains("max_allowed_packet"));
    assert_eq!(bed.rows().count("SELECT COUNT(*) FROM t").await, 2);
}
