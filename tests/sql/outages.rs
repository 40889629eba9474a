use std::time::{Duration, Instant};

use routemq_crds::v1alpha1::OnConflict;
use routemq_worker::{
    database::{Database, DatabaseOptions, Inserter},
    outcome::FailureKind::Unavailable,
};

use crate::{
    bed::{Bed, insert, row, write_all},
    load::Load,
};

const TABLE: &str = "CREATE TABLE t (k BIGINT PRIMARY KEY, v VARCHAR(10) NOT NULL)";

fn inserter(database: &Database) -> Inserter {
    database.inserter(&insert("t", &["k", "v"], OnConflict::Ignore, &["k"]))
}

/// What was told as committed is there, and nothing twice.
async fn account(bed: &Bed, load: Load) {
    let failures = load.failures();
    let done = load.finish().await;
    assert_eq!(bed.rows().count("SELECT COUNT(*) FROM t").await, done, "{}", bed.name());
    assert_eq!(bed.rows().count("SELECT MAX(k) FROM t").await, done - 1, "{}", bed.name());
    assert!(failures[&Unavailable] > 0, "{}: the outage was noticed", bed.name());
    assert_eq!(failures.len(), 1, "{}: nothing else was told: {failures:?}", bed.name());
}

async fn stopped(mut bed: Bed) {
    bed.rows().execute(TABLE).await;
    let database = bed.connect().await;
    let load = Load::start(&inserter(&database), 200, "v");
    load.progress(1000).await;
    bed.stop().await;
    let before = load.done();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(load.done() - before <= 200, "nothing is told as done while it is away");
    bed.restart().await;
    load.progress(1000).await;
    account(&bed, load).await;
}

#[tokio::test]
async fn twenty_seconds_without_mariadb_lose_nothing() {
    stopped(Bed::mariadb().await).await;
}

#[tokio::test]
async fn twenty_seconds_without_postgres_lose_nothing() {
    stopped(Bed::postgres().await).await;
}

async fn killed(mut bed: Bed) {
    bed.rows().execute(TABLE).await;
    let database = bed.connect().await;
    let load = Load::start(&inserter(&database), 200, "v");
    for _ in 0..3 {
        load.progress(1000).await;
        bed.kill();
        bed.restart().await;
    }
    load.progress(1000).await;
    account(&bed, load).await;
}

#[tokio::test]
async fn killing_mariadb_under_load_leaves_one_row_a_key() {
    killed(Bed::mariadb().await).await;
}

#[tokio::test]
async fn killing_postgres_under_load_leaves_one_row_a_key() {
    killed(Bed::postgres().await).await;
}

fn impatient() -> DatabaseOptions {
    DatabaseOptions {
        acquire_timeout: Duration::from_millis(500),
        statement_timeout: Duration::from_secs(1),
        write_timeout: Duration::from_secs(3),
        ..DatabaseOptions::default()
    }
}

async fn hung(mut bed: Bed) {
    bed.rows().execute(TABLE).await;
    let database = bed.connect_with(impatient()).await;
    let inserter = inserter(&database);
    let load = Load::start(&inserter, 50, "v");
    load.progress(500).await;
    bed.pause();
    // More rounds than there are connections: none may be lost to a statement that never ends.
    for round in 0..8 {
        let started = Instant::now();
        let results = write_all(&inserter, (0..10).map(|i| row(-1 - i, "v"))).await;
        let took = started.elapsed();
        assert!(took < Duration::from_secs(4), "{} round {round}: {took:?}", bed.name());
        for result in results {
            assert_eq!(result.unwrap_err().kind, Unavailable, "{} round {round}", bed.name());
        }
    }
    bed.resume();
    load.progress(500).await;
    load.finish().await;
    for result in write_all(&inserter, (0..10).map(|i| row(-1 - i, "v"))).await {
        result.unwrap();
    }
    assert_eq!(bed.rows().count("SELECT COUNT(*) FROM t WHERE k < 0").await, 10);
}

#[tokio::test]
async fn a_mariadb_that_hangs_is_given_up_in_time_and_comes_back() {
    hung(Bed::mariadb().await).await;
}

#[tokio::test]
async fn a_postgres_that_hangs_is_given_up_in_time_and_comes_back() {
    hung(Bed::postgres().await).await;
}

#[tokio::test]
async fn a_database_that_is_away_at_first_is_found_when_it_comes() {
    for mut bed in Bed::both().await {
        bed.rows().execute(TABLE).await;
        bed.stop().await;
        let database = Database::open(&bed.url(), impatient()).unwrap();
        let inserter = inserter(&database);
        assert!(database.ping().await.is_err());
        assert_eq!(inserter.write(row(1, "v")).await.unwrap_err().kind, Unavailable);
        bed.restart().await;
        inserter.write(row(1, "v")).await.unwrap();
    }
}
