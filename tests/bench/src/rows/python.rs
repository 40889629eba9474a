//! Against the Python framework, each through a mosquitto of its own.

use routemq_tests::{MariaDb, MariaDbConfig};
use tokio::runtime::Runtime;

use super::{
    broker::Chain,
    contestant::{Setting, runtime},
    database::COLUMNS,
};
use crate::{
    bars::Bar,
    error::BenchError,
    options::Table,
    report::Row,
    rounds,
    statistics::Spread,
    subjects::{Kind, Work},
};

const SPAN: std::time::Duration = std::time::Duration::from_millis(1500);

pub(super) fn framework(table: &Table) -> Result<Vec<Row>, BenchError> {
    if !table.with_python {
        return Err(BenchError::Absent("--with-python".to_owned()));
    }
    let runtime = runtime()?;
    let chain = |kind| Chain::start(kind, Setting::of(1, table.window), None, &runtime);
    let mut chains = [chain(Kind::Worker)?, chain(Kind::Python)?];
    let once = || rounds::run(table.rounds(), &mut chains, |chain| chain.measure(SPAN));
    let (rounds, noise) = rounds::steadily(once, |rounds| rounds.ratio(0, 1, |it| it.rate))?;
    #[expect(clippy::cast_precision_loss, reason = "bytes of one process")]
    let memory = |at: usize| chains[at].subject.memory() as f64;
    let mut rate = Row::new(
        "python",
        "QoS 1: messages/s, RouteMQ ÷ Python framework, mosquitto",
        rounds.ratio(0, 1, |it| it.rate),
    )
    .bar(Bar::at_least(15.0, 10.0));
    for (index, kind) in [Kind::Worker, Kind::Python].into_iter().enumerate() {
        rate = rate.note(super::firehose::figures(kind, index, &rounds));
    }
    rate.notes.extend(noise);
    let nanos = rounds.ratio(1, 0, |it| it.nanos);
    let memory = Spread::of(&[memory(1) / memory(0)]);
    drop(chains);
    Ok(vec![
        rate,
        Row::new("python", "processor time a message, Python framework ÷ RouteMQ", nanos)
            .bar(Bar::at_least(40.0, 20.0)),
        Row::new("python", "memory, Python framework ÷ RouteMQ", memory)
            .bar(Bar::at_least(5.0, 2.0)),
        rows(table, &runtime)?,
    ])
}

/// Each message becomes a row of one MariaDB before it is acknowledged.
fn rows(table: &Table, runtime: &Runtime) -> Result<Row, BenchError> {
    let database = runtime.block_on(MariaDb::start_with(MariaDbConfig::default()));
    runtime.block_on(database.rows().execute(&format!("CREATE TABLE readings ({COLUMNS})")));
    let setting = Setting { work: Work::Rows, ..Setting::of(1, table.window) };
    let chain = |kind| Chain::start(kind, setting, Some(database.url()), runtime);
    let mut chains = [chain(Kind::Worker)?, chain(Kind::Python)?];
    let once = || rounds::run(table.rounds(), &mut chains, |chain| chain.measure(SPAN));
    let (rounds, noise) = rounds::steadily(once, |rounds| rounds.ratio(0, 1, |it| it.rate))?;
    let stored = runtime.block_on(database.rows().count("SELECT COUNT(*) FROM readings"));
    let handled: u64 = chains.iter().map(|chain| chain.subject.progress().handled).sum();
    if u64::try_from(stored).ok() != Some(handled) {
        return Err(BenchError::Wrong(format!("{stored} rows of {handled} messages")));
    }
    let mut row = Row::new(
        "python",
        "QoS 1: rows/s into MariaDB, RouteMQ ÷ Python framework, mosquitto",
        rounds.ratio(0, 1, |it| it.rate),
    )
    .bar(Bar::at_least(100.0, 50.0));
    for (index, kind) in [Kind::Worker, Kind::Python].into_iter().enumerate() {
        row = row.note(super::firehose::figures(kind, index, &rounds));
    }
    row.notes.extend(noise);
    Ok(row)
}
