//! What is promised of every database, seen on SQLite; the servers have the same in `tests/`.

use std::time::Duration;

use futures::future::join_all;
use routemq_crds::{
    expression::{Expression, Scope},
    table::{Batch, Insert, Statement},
    v1alpha1::OnConflict,
};

use super::*;
use crate::outcome::{Failure, FailureKind};

fn expression() -> Expression {
    Expression::compile("1", &Scope::default()).unwrap()
}

fn insert(table: &str, columns: &[&str], on_conflict: OnConflict, key: &[&str]) -> Insert {
    Insert {
        table: table.to_owned(),
        columns: columns.iter().map(|name| ((*name).to_owned(), expression())).collect(),
        on_conflict,
        key: key.iter().map(|&name| name.to_owned()).collect(),
        batch: Batch { max_rows: 500, max_delay: Duration::from_millis(2) },
    }
}

fn statement(text: &str, binds: &[&str]) -> Statement {
    Statement {
        text: text.to_owned(),
        binds: binds.iter().map(|name| ((*name).to_owned(), expression())).collect(),
        batch: Batch { max_rows: 1, max_delay: Duration::ZERO },
    }
}

fn quick() -> DatabaseOptions {
    let lock_timeout = Duration::from_millis(100);
    DatabaseOptions { lock_timeout, create_if_missing: true, ..DatabaseOptions::default() }
}

async fn memory() -> Database {
    Database::connect("sqlite::memory:", quick()).await.unwrap()
}

async fn run(database: &Database, text: &str) -> Vec<cel::Value> {
    database.statement(&statement(text, &[])).run(Vec::new()).await.unwrap()
}

/// Rows as JSON text, which is easier to compare.
async fn json(database: &Database, text: &str) -> Vec<String> {
    let rows = run(database, text).await;
    rows.into_iter().map(|row| row.json().unwrap().to_string()).collect()
}

async fn write_all(inserter: &Inserter, rows: Vec<Vec<SqlValue>>) -> Vec<Result<(), Failure>> {
    join_all(rows.into_iter().map(|row| inserter.write(row))).await
}

fn row(key: i64, value: &str) -> Vec<SqlValue> {
    vec![key.into(), value.into()]
}

fn kinds(results: &[Result<(), Failure>]) -> Vec<Option<FailureKind>> {
    results.iter().map(|result| result.as_ref().err().map(|failure| failure.kind)).collect()
}

#[tokio::test]
async fn each_mode_says_what_happens_to_a_key_that_is_there() {
    let table = [
        (OnConflict::Error, [None, Some(FailureKind::Permanent), None], "first"),
        (OnConflict::Ignore, [None, None, None], "first"),
        (OnConflict::Update, [None, None, None], "second"),
    ];
    for (mode, outcomes, kept) in table {
        let database = memory().await;
        run(&database, "CREATE TABLE t (k INTEGER PRIMARY KEY, v)").await;
        let inserter = database.inserter(&insert("t", &["k", "v"], mode, &["k"]));
        let rows = vec![row(1, "first"), row(1, "second"), row(2, "other")];
        let results = write_all(&inserter, rows).await;
        assert_eq!(kinds(&results), outcomes, "{mode:?}");
        let expected = format!(r#"{{"v":"{kept}"}}"#);
        assert_eq!(json(&database, "SELECT v FROM t WHERE k = 1").await, [expected], "{mode:?}");
    }
}

#[tokio::test]
async fn one_bad_row_of_500_fails_alone() {
    let database = memory().await;
    run(&database, "CREATE TABLE t (k INTEGER PRIMARY KEY, v NOT NULL)").await;
    let inserter = database.inserter(&insert("t", &["k", "v"], OnConflict::Error, &[]));
    let mut rows: Vec<_> = (0..500).map(|k| row(k, "v")).collect();
    rows[321][1] = SqlValue::Null;
    let results = write_all(&inserter, rows).await;
    let failed: Vec<usize> = (0..500).filter(|&i| results[i].is_err()).collect();
    assert_eq!(failed, [321]);
    let failure = results[321].as_ref().unwrap_err();
    assert_eq!((failure.kind, failure.class), (FailureKind::Permanent, "Row"));
    assert_eq!(json(&database, "SELECT count(*) AS n FROM t").await, [r#"{"n":499}"#]);
}

#[tokio::test]
async fn values_are_stored_as_they_are() {
    let database = memory().await;
    run(&database, "CREATE TABLE t (k INTEGER PRIMARY KEY, v)").await;
    let inserter = database.inserter(&insert("t", &["k", "v"], OnConflict::Error, &[]));
    let moment = chrono::DateTime::parse_from_rfc3339("2026-11-23T22:39:00.123456Z").unwrap();
    let values = [
        ("metacharacters", "'; DROP TABLE t; -- \" ` \\ % _ :v ?".into(), "text"),
        ("emoji", "🚀 é 漢字".into(), "text"),
        ("10 MB", "x".repeat(10 << 20).into(), "text"),
        ("bytes", SqlValue::Bytes(vec![0, 255, 39].into()), "blob"),
        ("float", SqlValue::Float(1.5), "real"),
        ("bool", SqlValue::Bool(true), "integer"),
        ("null", SqlValue::Null, "null"),
        ("moment", SqlValue::Timestamp(moment.to_utc()), "text"),
        ("json", SqlValue::Json(r#"{"a":1}"#.into()), "text"),
    ];
    for (key, (name, value, storage)) in (0_i64..).zip(values) {
        inserter.write(vec![key.into(), value.clone()]).await.unwrap();
        let select = statement("SELECT v, typeof(v) AS t FROM t WHERE k = :k", &["k"]);
        let rows = database.statement(&select).run(vec![key.into()]).await.unwrap();
        let cel::Value::Map(map) = &rows[0] else { panic!("{name}: a row is a map") };
        let read = |column: &str| map.map[&cel::objects::Key::from(column)].clone();
        assert_eq!(read("t"), storage.into(), "{name}");
        match SqlValue::try_from(read("v")).unwrap() {
            SqlValue::Int(1) => assert_eq!(value, SqlValue::Bool(true)),
            SqlValue::Text(text) if name == "moment" => {
                assert_eq!(*text, "2026-11-23T22:39:00.123456Z");
            }
            SqlValue::Text(text) if name == "json" => assert_eq!(*text, r#"{"a":1}"#),
            stored => assert_eq!(stored, value, "{name}"),
        }
    }
}

#[tokio::test]
async fn what_sqlite_would_change_is_refused() {
    let database = memory().await;
    run(&database, "CREATE TABLE t (v)").await;
    let inserter = database.inserter(&insert("t", &["v"], OnConflict::Error, &[]));
    for value in [SqlValue::UInt(u64::MAX), SqlValue::Float(f64::NAN)] {
        let failure = inserter.write(vec![value]).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Permanent, "{failure}");
    }
    inserter.write(vec![SqlValue::UInt(7)]).await.unwrap();
}

#[tokio::test]
async fn a_missing_table_holds_every_row_until_it_is_there() {
    let database = memory().await;
    let inserter = database.inserter(&insert("t", &["k", "v"], OnConflict::Error, &[]));
    let failure = inserter.write(row(1, "a")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Systemic, "{failure}");
    assert!(failure.describe(500).contains("no such table: t"), "{}", failure.describe(500));
    run(&database, "CREATE TABLE t (k, v)").await;
    inserter.write(row(1, "a")).await.unwrap();
}

#[tokio::test]
async fn missing_tables_are_made_once_with_their_keys() {
    let database = memory().await;
    let (a, b) = (
        insert("a", &["k", "v"], OnConflict::Update, &["k"]),
        insert("b", &["id", "v"], OnConflict::Ignore, &["id"]),
    );
    assert_eq!(database.create_missing_tables(&[&a, &b, &a]).await.unwrap(), ["a", "b"]);
    assert!(database.create_missing_tables(&[&a, &b]).await.unwrap().is_empty());
    for wanted in [&a, &b] {
        let inserter = database.inserter(wanted);
        let rows = (0..100).map(|_| row(7, "v")).collect();
        assert!(write_all(&inserter, rows).await.iter().all(Result::is_ok));
        let count = format!("SELECT count(*) AS n FROM {}", wanted.table);
        assert_eq!(json(&database, &count).await, [r#"{"n":1}"#]);
    }
}

#[tokio::test]
async fn missing_columns_and_keys_are_added_and_earlier_rows_stay() {
    let database = memory().await;
    run(&database, "CREATE TABLE t (id INTEGER PRIMARY KEY, \"K\")").await;
    run(&database, "INSERT INTO t (k) VALUES (1)").await;
    let wanted = insert("t", &["k", "v"], OnConflict::Update, &["k"]);
    assert_eq!(database.create_missing_tables(&[&wanted]).await.unwrap(), ["t.v", "t (k)"]);
    assert!(database.create_missing_tables(&[&wanted]).await.unwrap().is_empty());
    let inserter = database.inserter(&wanted);
    inserter.write(row(1, "again")).await.unwrap();
    inserter.write(row(2, "new")).await.unwrap();
    let rows = json(&database, "SELECT v FROM t ORDER BY k").await;
    assert_eq!(rows, [r#"{"v":"again"}"#, r#"{"v":"new"}"#]);
}

#[tokio::test]
async fn a_lock_that_is_not_granted_is_transient() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    let database = Database::connect(&url, quick()).await.unwrap();
    run(&database, "CREATE TABLE t (k, v)").await;
    let inserter = database.inserter(&insert("t", &["k", "v"], OnConflict::Error, &[]));
    let other = Database::connect(&url, quick()).await.unwrap();
    run(&other, "BEGIN IMMEDIATE").await;
    let failure = inserter.write(row(1, "a")).await.unwrap_err();
    assert_eq!((failure.kind, failure.class), (FailureKind::Transient, "LockTimeout"), "{failure}");
    run(&other, "ROLLBACK").await;
    inserter.write(row(1, "a")).await.unwrap();
}

#[tokio::test]
async fn a_statement_binds_by_name_and_gives_its_rows() {
    let database = memory().await;
    run(&database, "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)").await;
    let add =
        database.statement(&statement("INSERT INTO t VALUES (:k, :v || ':k' || :v)", &["v", "k"]));
    assert!(add.run(vec!["x".into(), 1.into()]).await.unwrap().is_empty());
    assert_eq!(json(&database, "SELECT v FROM t").await, [r#"{"v":"x:kx"}"#]);
    let failure = add.run(vec!["x".into(), 1.into()]).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Permanent, "{failure}");
    let wrong = database.statement(&statement("SELEC 1", &[]));
    assert_eq!(wrong.run(Vec::new()).await.unwrap_err().kind, FailureKind::Systemic);
    let unbound = database.statement(&statement("SELECT :x", &[]));
    assert_eq!(unbound.run(Vec::new()).await.unwrap_err().kind, FailureKind::Systemic);
}

#[tokio::test]
async fn more_rows_than_memory_should_hold_are_refused() {
    let database = memory().await;
    let text = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1001) SELECT i FROM n";
    let failure = database.statement(&statement(text, &[])).run(Vec::new()).await.unwrap_err();
    assert!(failure.describe(500).contains("LIMIT"), "{failure}");
    assert_eq!(run(&database, &format!("{text} LIMIT 1000")).await.len(), 1000);
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_told_without_its_password() {
    let table = [
        ("mongodb://u:secret@h/d", "\"mongodb\""),
        ("mysql://u:secret@h:notaport/d", "port"),
        ("sqlite:///nowhere/at/all.db", "folder exists"),
        ("mysql://u:secret@127.0.0.1:1/d", "check host and port"),
        ("postgres://u:secret@127.0.0.1:1/d", "check host and port"),
    ];
    for (url, sign) in table {
        let options = DatabaseOptions::default();
        let error = Database::connect(url, options).await.unwrap_err().to_string();
        assert!(error.contains(sign) && !error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_file_is_made_only_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let url = format!("sqlite://{}", path.display());
    assert!(Database::connect(&url, DatabaseOptions::default()).await.is_err());
    assert!(!path.exists());
    Database::connect(&url, quick()).await.unwrap();
    assert!(path.exists());
}

#[tokio::test]
async fn a_redirected_database_writes_elsewhere_and_one_of_another_dialect_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
    let database = Database::connect(&url("old.db"), quick()).await.unwrap();
    for name in ["old.db", "new.db"] {
        let there = Database::connect(&url(name), quick()).await.unwrap();
        run(&there, "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)").await;
    }
    let inserter = database.inserter(&insert("t", &["id", "name"], OnConflict::Error, &[]));
    assert!(inserter.write(row(1, "before")).await.is_ok());
    for wrong in ["postgres://nobody@nowhere/db", "gopher://nowhere"] {
        assert!(database.redirect(wrong).is_err(), "{wrong}");
    }
    database.redirect(&url("new.db")).unwrap();
    assert!(inserter.write(row(2, "after")).await.is_ok());
    assert_eq!(json(&database, "SELECT id FROM t").await, [r#"{"id":2}"#]);
    let old = Database::connect(&url("old.db"), quick()).await.unwrap();
    assert_eq!(json(&old, "SELECT id FROM t").await, [r#"{"id":1}"#]);
    assert!(database.place().ends_with("new.db"), "{}", database.place());
}

#[tokio::test]
async fn inserts_into_the_same_columns_share_their_batches() {
    let database = memory().await;
    run(&database, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)").await;
    let of = |columns: &[&str]| database.inserter(&insert("t", columns, OnConflict::Error, &[]));
    let (one, other, narrow) = (of(&["a", "b"]), of(&["a", "b"]), of(&["a"]));
    let (first, second, third) = tokio::join!(
        one.write(row(1, "x")),
        other.write(row(2, "y")),
        narrow.write(vec![SqlValue::Int(3)]),
    );
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    let batches = database.inner.batch_rows.distribution();
    assert_eq!(batches.count(), 2, "one of two rows, one of one");
}
