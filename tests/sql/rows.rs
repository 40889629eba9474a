use routemq_crds::v1alpha1::OnConflict;
use routemq_worker::{
    database::{Database, SqlValue},
    outcome::FailureKind::{self, Permanent, Systemic},
};

use crate::bed::{Bed, insert, kinds, row, write_all};

const TABLE: &str = "CREATE TABLE t (k BIGINT PRIMARY KEY, v VARCHAR(10) NOT NULL)";

#[tokio::test]
async fn each_mode_says_what_happens_to_a_key_that_is_there() {
    let table: [(OnConflict, [Option<FailureKind>; 3], &str); 3] = [
        (OnConflict::Error, [None, Some(Permanent), None], "first"),
        (OnConflict::Ignore, [None, None, None], "first"),
        (OnConflict::Update, [None, None, None], "second"),
    ];
    for bed in Bed::both().await {
        for (mode, outcomes, kept) in table {
            bed.rows().execute("DROP TABLE IF EXISTS t").await;
            bed.rows().execute(TABLE).await;
            let database = bed.connect().await;
            let inserter = database.inserter(&insert("t", &["k", "v"], mode, &["k"]));
            let rows = [row(1, "first"), row(1, "second"), row(2, "other")];
            let results = write_all(&inserter, rows).await;
            assert_eq!(kinds(&results), outcomes, "{} {mode:?}", bed.name());
            let now = bed.rows().texts("SELECT v FROM t ORDER BY k").await;
            assert_eq!(now, [kept, "other"], "{} {mode:?}", bed.name());
        }
    }
}

#[tokio::test]
async fn one_bad_row_of_500_fails_alone() {
    for bed in Bed::both().await {
        bed.rows().execute(TABLE).await;
        let database = bed.connect().await;
        let inserter = database.inserter(&insert("t", &["k", "v"], OnConflict::Error, &[]));
        let mut rows: Vec<_> = (0..500).map(|k| row(k, "v")).collect();
        rows[17][1] = "eleven chars".into();
        rows[321][1] = SqlValue::Null;
        let results = write_all(&inserter, rows).await;
        let failed: Vec<usize> = (0..500).filter(|&i| results[i].is_err()).collect();
        assert_eq!(failed, [17, 321], "{}", bed.name());
        for index in failed {
            let failure = results[index].as_ref().unwrap_err();
            assert_eq!((failure.kind, failure.class), (Permanent, "Row"), "{failure}");
        }
        assert_eq!(bed.rows().count("SELECT COUNT(*) FROM t").await, 498);
    }
}

#[tokio::test]
async fn a_key_that_comes_100_times_is_one_row_and_100_are_done() {
    for bed in Bed::both().await {
        bed.rows().execute(TABLE).await;
        let database = bed.connect().await;
        for (mode, kept) in [(OnConflict::Ignore, "v0"), (OnConflict::Update, "v99")] {
            bed.rows().execute("DELETE FROM t").await;
            let inserter = database.inserter(&insert("t", &["k", "v"], mode, &["k"]));
            let results = write_all(&inserter, (0..100).map(|i| row(7, &format!("v{i}")))).await;
            assert!(results.iter().all(Result::is_ok), "{} {mode:?}", bed.name());
            assert_eq!(
                bed.rows().texts("SELECT v FROM t").await,
                [kept],
                "{} {mode:?}",
                bed.name()
            );
        }
    }
}

/// `1` and `01` are one key only in the eyes of the database.
#[tokio::test]
async fn keys_that_only_the_database_finds_equal_are_upserted_in_order() {
    for bed in Bed::both().await {
        bed.rows().execute(TABLE).await;
        let database = bed.connect().await;
        let inserter = database.inserter(&insert("t", &["k", "v"], OnConflict::Update, &["k"]));
        let rows = ["1", "01", "2", "001"].iter().zip(["a", "b", "c", "d"]);
        let rows = rows.map(|(&key, value)| vec![key.into(), value.into()]);
        let results = write_all(&inserter, rows).await;
        assert!(results.iter().all(Result::is_ok), "{}: {results:?}", bed.name());
        let now = bed.rows().texts("SELECT v FROM t ORDER BY k").await;
        assert_eq!(now, ["d", "c"], "{}", bed.name());
    }
}

/// The bad one is the last of its key: the one before it is what stays.
#[tokio::test]
async fn a_bad_upsert_leaves_the_good_one_before_it() {
    for bed in Bed::both().await {
        bed.rows().execute(TABLE).await;
        let database = bed.connect().await;
        let inserter = database.inserter(&insert("t", &["k", "v"], OnConflict::Update, &["k"]));
        let rows = [row(1, "a"), row(2, "x"), row(1, "b"), row(1, "much too long")];
        let results = write_all(&inserter, rows).await;
        assert_eq!(kinds(&results), [None, None, None, Some(Permanent)], "{}", bed.name());
        assert_eq!(bed.rows().texts("SELECT v FROM t ORDER BY k").await, ["b", "x"]);
    }
}

async fn held(database: &Database, table: &str, columns: &[&str]) -> String {
    let inserter = database.inserter(&insert(table, columns, OnConflict::Error, &[]));
    let failure = inserter.write(row(1, "a")).await.unwrap_err();
    assert_eq!(failure.kind, Systemic, "{}", failure.describe(500));
    failure.describe(500)
}

#[tokio::test]
async fn a_missing_table_or_column_or_right_holds_the_rows() {
    for bed in Bed::both().await {
        bed.rows().execute(TABLE).await;
        let database = bed.connect().await;
        assert!(held(&database, "nowhere", &["k", "v"]).await.contains("nowhere"));
        assert!(held(&database, "t", &["k", "w"]).await.contains('w'));
        let wrong = database.inserter(&insert("t", &["k", "v"], OnConflict::Update, &["v"]));
        match (&bed, wrong.write(row(1, "a")).await) {
            // PostgreSQL asks for a unique index over the key; MySQL takes any that there is.
            (Bed::Postgres(_), result) => assert_eq!(result.unwrap_err().kind, Systemic),
            (Bed::MariaDb(_), result) => result.unwrap(),
        }
    }
}

#[tokio::test]
async fn rows_go_on_when_the_table_is_made_or_changed() {
    for bed in Bed::both().await {
        let database = bed.connect().await;
        let inserter = database.inserter(&insert("t", &["k", "v"], OnConflict::Error, &[]));
        assert_eq!(inserter.write(row(1, "a")).await.unwrap_err().kind, Systemic);
        bed.rows().execute("CREATE TABLE t (k BIGINT PRIMARY KEY, v INT)").await;
        assert_eq!(inserter.write(row(1, "abc")).await.unwrap_err().kind, Permanent);
        inserter.write(row(1, "12")).await.unwrap();
        let change = match bed {
            Bed::MariaDb(_) => "ALTER TABLE t MODIFY v TEXT",
            Bed::Postgres(_) => "ALTER TABLE t ALTER v TYPE TEXT",
        };
        bed.rows().execute(change).await;
        inserter.write(row(2, "abc")).await.unwrap();
        bed.rows().execute("DROP TABLE t").await;
        assert_eq!(inserter.write(row(3, "a")).await.unwrap_err().kind, Systemic);
        bed.rows().execute(TABLE).await;
        inserter.write(row(3, "a")).await.unwrap();
    }
}

#[tokio::test]
async fn a_refused_login_is_told_as_such() {
    for bed in Bed::both().await {
        let url =
            bed.url().replace("routemq:routemq@", "routemq:wrong@").replace("routemq@", "no@");
        let error = Database::connect(&url, routemq_worker::database::DatabaseOptions::default());
        let error = error.await.unwrap_err().to_string();
        assert!(error.contains("check user name") && !error.contains("wrong@"), "{error}");
    }
}
