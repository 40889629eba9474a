//! A report, not a check: `cargo test --release -p routemq-tests --test sql rows_per_second -- --ignored --nocapture`.

use std::{fmt::Write as _, time::Instant};

use routemq_crds::v1alpha1::OnConflict;
use routemq_worker::database::{Database, SqlValue};
use sqlx::{AssertSqlSafe, MySqlPool, PgPool};

use crate::{
    bed::{Bed, insert},
    load::Load,
};

const TABLE: &str = "CREATE TABLE t (k BIGINT PRIMARY KEY, v VARCHAR(100) NOT NULL)";
const VALUE: &str = "one hundred bytes of text or a little less, as a small JSON document would be, {\"temperature\": 21.5}";
const BATCH: i64 = 500;
const TASKS: i64 = 4;
const ROWS: i64 = 200_000;

/// What the database takes at most: four connections, each inserting batch after batch.
async fn bare(bed: &Bed) -> f64 {
    let started = Instant::now();
    let tasks = (0..TASKS).map(|task| tokio::spawn(bare_task(bed.url(), task)));
    for task in futures::future::join_all(tasks).await {
        task.unwrap();
    }
    per_second(ROWS, started)
}

async fn bare_task(url: String, task: i64) {
    let mysql = url.starts_with("mysql");
    let mut text = "INSERT INTO t (k, v) VALUES ".to_owned();
    for i in 0..BATCH {
        let comma = if i > 0 { "," } else { "" };
        let pair =
            if mysql { "(?,?)".to_owned() } else { format!("(${},${})", i * 2 + 1, i * 2 + 2) };
        write!(text, "{comma}{pair}").unwrap();
    }
    let share = ROWS / TASKS;
    let starts = (task * share..(task + 1) * share).step_by(500);
    if mysql {
        let pool = MySqlPool::connect(&url).await.unwrap();
        for start in starts {
            let mut query = sqlx::query(AssertSqlSafe(text.clone()));
            for key in start..start + BATCH {
                query = query.bind(key).bind(VALUE);
            }
            query.execute(&pool).await.unwrap();
        }
    } else {
        let pool = PgPool::connect(&url).await.unwrap();
        for start in starts {
            let mut query = sqlx::query(AssertSqlSafe(text.clone()));
            for key in start..start + BATCH {
                query = query.bind(key).bind(VALUE);
            }
            query.execute(&pool).await.unwrap();
        }
    }
}

fn per_second(rows: i64, started: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a report")]
    let rows = rows as f64;
    rows / started.elapsed().as_secs_f64()
}

/// Ours, with so many messages at work.
async fn ours(database: &Database, messages: usize) -> f64 {
    let inserter = database.inserter(&insert("t", &["k", "v"], OnConflict::Ignore, &["k"]));
    inserter.write(vec![SqlValue::Int(-1), VALUE.into()]).await.unwrap();
    let started = Instant::now();
    let load = Load::start(&inserter, messages, VALUE);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let done = load.finish().await;
    per_second(done, started)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a report of figures, not a check"]
async fn rows_per_second() {
    for bed in Bed::both().await {
        bed.rows().execute(TABLE).await;
        let bare = bare(&bed).await;
        println!("{}: bare loop, {TASKS} × {BATCH}: {bare:.0} rows/s", bed.name());
        let database = bed.connect().await;
        for messages in [1, 64, 1000, 2000, 4000] {
            bed.rows().execute("DELETE FROM t").await;
            let ours = ours(&database, messages).await;
            println!(
                "{}: {messages} messages at work: {ours:.0} rows/s, {:.2} of bare",
                bed.name(),
                ours / bare
            );
        }
    }
}
