//! Rows into MariaDB, acknowledged after their commit, against a bare loop of batched inserts.

use std::time::{Duration, Instant};

use routemq_tests::{MariaDb, MariaDbConfig};
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, mysql::MySqlArguments, query::Query};
use tokio::runtime::Runtime;

use super::contestant::{Contestant, Setting, runtime};
use crate::{
    bars::Bar,
    error::BenchError,
    frames::FIRST_SEQUENCE,
    options::Table,
    report::Row,
    rounds,
    subjects::{Kind, Work},
};

const CONNECTIONS: u64 = 4;
const ROWS: u64 = 500;
const SPAN: Duration = Duration::from_secs(1);
/// Of a table of readings.
pub(super) const COLUMNS: &str = "id BIGINT AUTO_INCREMENT PRIMARY KEY, device VARCHAR(64) NOT NULL, \
    sequence BIGINT NOT NULL, temperature DOUBLE NOT NULL, status VARCHAR(16) NOT NULL";

enum Writer {
    Worker(Box<Contestant>),
    Bare { url: String },
}

pub(super) fn rows(table: &Table) -> Result<Vec<Row>, BenchError> {
    let runtime = runtime()?;
    let database = runtime.block_on(MariaDb::start_with(MariaDbConfig::default()));
    for name in ["readings", "bare"] {
        runtime.block_on(database.rows().execute(&format!("CREATE TABLE {name} ({COLUMNS})")));
    }
    let setting = Setting { work: Work::Rows, ..Setting::of(1, table.window) };
    let worker = Contestant::start_with_database(Kind::Worker, setting, database.url())?;
    let mut writers = [Writer::Worker(Box::new(worker)), Writer::Bare { url: database.url() }];
    let span = if table.quick { SPAN } else { 2 * SPAN };
    let once = || {
        rounds::run(table.rounds(), &mut writers, |writer| {
            writer.measure(span, &runtime, &database)
        })
    };
    let (rounds, noise) = rounds::steadily(once, |rounds| rounds.ratio(0, 1, |rate| *rate))?;
    let rate = |at: usize| rounds.spread(|it| it[at]).median;
    let mut row = Row::new(
        "rows",
        "rows/s to MariaDB: worker ÷ bare loop of batched inserts",
        rounds.ratio(0, 1, |rate| *rate),
    )
    .bar(Bar::at_least(0.7, 0.3))
    .note(format!("RouteMQ worker {:.0} rows/s, acknowledged after the commit", rate(0)))
    .note(format!(
        "bare loop {:.0} rows/s, {CONNECTIONS} connections × {ROWS} rows a statement",
        rate(1)
    ));
    row.notes.extend(noise);
    Ok(vec![row])
}

impl Writer {
    /// Rows a second.
    fn measure(
        &self,
        span: Duration,
        runtime: &Runtime,
        database: &MariaDb,
    ) -> Result<f64, BenchError> {
        match self {
            Self::Worker(contestant) => {
                let rate = contestant.measure(span)?.rate;
                let stored =
                    runtime.block_on(database.rows().count("SELECT COUNT(*) FROM readings"));
                let sent = contestant.firehose.sent();
                if u64::try_from(stored).ok() != Some(sent) {
                    return Err(BenchError::Wrong(format!("{stored} rows of {sent} messages")));
                }
                Ok(rate)
            }
            Self::Bare { url } => {
                let written = runtime.block_on(insert(url, span));
                let rows = written.map_err(|error| BenchError::Wrong(error.to_string()))?;
                #[expect(clippy::cast_precision_loss, reason = "rows of a measurement")]
                Ok(rows as f64 / span.as_secs_f64())
            }
        }
    }
}

/// Rows that several connections write in `span`.
async fn insert(url: &str, span: Duration) -> Result<u64, sqlx::Error> {
    let mut tasks = Vec::new();
    for connection in 0..CONNECTIONS {
        let url = url.to_owned();
        tasks.push(tokio::spawn(async move { insert_alone(&url, connection, span).await }));
    }
    let mut rows = 0;
    for task in tasks {
        rows += task.await.map_err(|_| sqlx::Error::WorkerCrashed)??;
    }
    Ok(rows)
}

async fn insert_alone(url: &str, number: u64, span: Duration) -> Result<u64, sqlx::Error> {
    let mut connection = MySqlConnection::connect(url).await?;
    let values = vec!["(?, ?, ?, ?)"; usize::try_from(ROWS).unwrap_or(1)].join(", ");
    let text = format!("INSERT INTO bare (device, sequence, temperature, status) VALUES {values}");
    let (started, mut rows) = (Instant::now(), 0);
    while started.elapsed() < span {
        let query = sqlx::query(AssertSqlSafe(text.clone()));
        let first = FIRST_SEQUENCE + number * 1_000_000 + rows;
        bind(query, first).execute(&mut connection).await?;
        rows += ROWS;
    }
    connection.close().await?;
    Ok(rows)
}

fn bind(
    query: Query<'_, sqlx::MySql, MySqlArguments>,
    first: u64,
) -> Query<'_, sqlx::MySql, MySqlArguments> {
    (first..first + ROWS).fold(query, |query, sequence| {
        query.bind(format!("d{}", sequence % 10_000)).bind(sequence).bind(21.5_f64).bind("ok")
    })
}
