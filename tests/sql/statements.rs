use routemq_worker::{
    database::{Database, SqlValue},
    outcome::FailureKind::{Permanent, Systemic},
};

use crate::bed::{Bed, statement};

async fn json(database: &Database, text: &str, binds: &[(&str, SqlValue)]) -> String {
    let names: Vec<&str> = binds.iter().map(|(name, _)| *name).collect();
    let values = binds.iter().map(|(_, value)| value.clone()).collect();
    let rows = database.statement(&statement(text, &names)).run(values).await;
    let rows = rows.unwrap_or_else(|failure| panic!("{text}: {}", failure.describe(500)));
    let mut rows = serde_json::Value::Array(rows.iter().map(|row| row.json().unwrap()).collect());
    rows.sort_all_objects();
    rows.to_string()
}

#[tokio::test]
async fn a_statement_binds_by_name_and_gives_its_rows() {
    for bed in Bed::both().await {
        bed.rows()
            .execute("CREATE TABLE t (k INT PRIMARY KEY, v VARCHAR(50), x DECIMAL(6,2))")
            .await;
        let database = bed.connect().await;
        let add = "INSERT INTO t (k, v, x) VALUES (:k, CONCAT(:v, ':k', :v), :x)";
        let add = match bed {
            Bed::MariaDb(_) => add.to_owned(),
            Bed::Postgres(_) => add.replace("CONCAT(:v, ':k', :v)", ":v::text || ':k' || :v::text"),
        };
        let binds = [("v", "a'b".into()), ("x", SqlValue::Float(1.25)), ("k", 1.into())];
        assert_eq!(json(&database, &add, &binds).await, "[]");
        let select = "SELECT k, v, x FROM t WHERE k = :k AND x < :most LIMIT 5";
        let rows = json(&database, select, &[("k", 1.into()), ("most", 2.into())]).await;
        assert_eq!(rows, r#"[{"k":1,"v":"a'b:ka'b","x":1.25}]"#, "{}", bed.name());
        let update = "UPDATE t SET v = :v WHERE k = :k";
        assert_eq!(json(&database, update, &[("k", 1.into()), ("v", "z".into())]).await, "[]");
        let rows = json(&database, "SELECT v FROM t WHERE v = 'z' AND ':k' <> v", &[]).await;
        assert_eq!(rows, r#"[{"v":"z"}]"#);
    }
}

#[tokio::test]
async fn a_statement_fails_by_the_same_rules_as_a_row() {
    for bed in Bed::both().await {
        bed.rows().execute("CREATE TABLE t (k INT PRIMARY KEY)").await;
        let database = bed.connect().await;
        let add = database.statement(&statement("INSERT INTO t VALUES (:k)", &["k"]));
        add.run(vec![1.into()]).await.unwrap();
        let table = [
            ("INSERT INTO t VALUES (:k)", Permanent),
            ("INSERT INTO u VALUES (:k)", Systemic),
            ("INSERTT :k", Systemic),
        ];
        for (text, kind) in table {
            let failed = database.statement(&statement(text, &["k"])).run(vec![1.into()]).await;
            assert_eq!(failed.unwrap_err().kind, kind, "{} {text}", bed.name());
        }
        assert_eq!(add.run(vec!["abc".into()]).await.unwrap_err().kind, Permanent);
        add.run(vec![2.into()]).await.unwrap();
    }
}

#[tokio::test]
async fn columns_of_every_type_can_be_read() {
    let [mariadb, postgres] = Bed::both().await;
    mariadb.rows().execute(
        "CREATE TABLE t (a TINYINT(1), b SMALLINT UNSIGNED, c BIGINT UNSIGNED, d FLOAT, e DATE, f DATETIME(3), g JSON, \
         h BLOB, i ENUM('x','y'), j TIME, k YEAR, l CHAR(3), n INT)",
    ).await;
    mariadb.rows().execute(
        "INSERT INTO t VALUES (1, 2, 18446744073709551615, 0.5, '2026-11-23', '2026-11-23 01:02:03.5', '[1]', 'hé', 'y', \
         '10:11:12', 2026, 'abc', NULL)",
    ).await;
    let database = mariadb.connect().await;
    assert_eq!(
        json(&database, "SELECT * FROM t", &[]).await,
        concat!(
            r#"[{"a":true,"b":2,"c":18446744073709551615,"d":0.5,"e":"2026-11-23","f":"2026-11-23T01:02:03.500+00:00","#,
            r#""g":"[1]","h":"aMOp","i":"y","j":"10:11:12","k":2026,"l":"abc","n":null}]"#
        )
    );
    postgres.rows().execute(
        "CREATE TABLE t (a BOOLEAN, b SMALLINT, c BIGINT, d REAL, e DATE, f TIMESTAMPTZ, g JSONB, h BYTEA, j JSON, n INT)",
    ).await;
    postgres.rows().execute(
        "INSERT INTO t VALUES (true, 2, -1, 0.5, '2026-11-23', '2026-11-23 01:02:03.5+00', '[1]', '\\x68', '{\"a\":1}', NULL)",
    ).await;
    let database = postgres.connect().await;
    assert_eq!(
        json(&database, "SELECT * FROM t WHERE g @> :g", &[("g", SqlValue::Json("[1]".into()))])
            .await,
        concat!(
            r#"[{"a":true,"b":2,"c":-1,"d":0.5,"e":"2026-11-23","f":"2026-11-23T01:02:03.500+00:00","#,
            r#""g":[1],"h":"aA==","j":{"a":1},"n":null}]"#
        )
    );
    postgres
        .rows()
        .execute("CREATE TABLE odd (a UUID, b NUMERIC(6,2), c TEXT[], d INTERVAL, e INET)")
        .await;
    let add = "INSERT INTO odd VALUES (:a, :b, ARRAY[:c], :d, :e) RETURNING *";
    let binds = [
        ("a", "01234567-89ab-cdef-0123-456789abcdef".into()),
        ("b", SqlValue::Float(1.5)),
        ("c", "x".into()),
        ("d", SqlValue::Float(90.0)),
        ("e", "10.0.0.1".into()),
    ];
    assert_eq!(
        json(&database, add, &binds).await,
        r#"[{"a":"01234567-89ab-cdef-0123-456789abcdef","b":1.5,"c":["x"],"d":"00:01:30","e":"10.0.0.1"}]"#
    );
}
