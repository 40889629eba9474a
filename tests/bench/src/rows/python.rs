//! Against the Python framework, each through a mosquitto of its own, with one route for all topics: more would slow the framework down, which searches
//! its routes one after the other.

use routemq_tests::{MariaDb, MariaDbConfig};
use tokio::runtime::Runtime;

use super::{
    broker::Chain,
    contestant::{Sample, Setting, runtime},
    database::COLUMNS,
};
use crate::{
    bars::Bar,
    error::BenchError,
    options::Table,
    report::Row,
    rounds::{self, Rounds},
    statistics::Spread,
    subjects::{Kind, Work},
};

const SPAN: std::time::Duration = std::time::Duration::from_millis(1500);

/// Both, measured in turns.
struct Both {
    chains: [Chain; 2],
    rounds: Rounds<Sample>,
    noise: Option<String>,
}

pub(super) fn framework(table: &Table) -> Result<Vec<Row>, BenchError> {
    if !table.with_python {
        return Err(BenchError::Absent("--with-python".to_owned()));
    }
    let runtime = runtime()?;
    let both = Both::measure(table, &runtime, Work::Json, None)?;
    let rate = both.rate("messages/s", Bar::at_least(15.0, 10.0));
    let nanos = both.rounds.ratio(1, 0, |it| it.nanos);
    let time = "processor time a message, Python framework ÷ RouteMQ";
    let time = Row::new("python", time, nanos).bar(Bar::at_least(40.0, 20.0));
    let memory = both.memory("messages");
    drop(both);
    let [stored, memory_of_rows] = rows(table, &runtime)?;
    Ok(vec![rate, time, memory, stored, memory_of_rows])
}

/// Each message becomes a row of one MariaDB before it is acknowledged.
fn rows(table: &Table, runtime: &Runtime) -> Result<[Row; 2], BenchError> {
    let database = runtime.block_on(MariaDb::start_with(MariaDbConfig::default()));
    runtime.block_on(database.rows().execute(&format!("CREATE TABLE readings ({COLUMNS})")));
    let both = Both::measure(table, runtime, Work::Rows, Some(&database.url()))?;
    let stored = runtime.block_on(database.rows().count("SELECT COUNT(*) FROM readings"));
    let handled: u64 = both.chains.iter().map(|chain| chain.subject.progress().handled).sum();
    if u64::try_from(stored).ok() != Some(handled) {
        return Err(BenchError::Wrong(format!("{stored} rows of {handled} messages")));
    }
    let rate = both.rate("rows/s into MariaDB", Bar::at_least(100.0, 50.0));
    Ok([rate, both.memory("rows")])
}

impl Both {
    const KINDS: [Kind; 2] = [Kind::Worker, Kind::Python];

    fn measure(
        table: &Table,
        runtime: &Runtime,
        work: Work,
        database: Option<&str>,
    ) -> Result<Self, BenchError> {
        let setting = Setting { work, routes: 1, ..Setting::of(1, table.window) };
        let chain = |kind| Chain::start(kind, setting, database.map(str::to_owned), runtime);
        let [worker, python] = Self::KINDS.map(chain);
        let mut chains = [worker?, python?];
        let once = || rounds::run(table.rounds(), &mut chains, |chain| chain.measure(SPAN));
        let (rounds, noise) = rounds::steadily(once, |rounds| rounds.ratio(0, 1, |it| it.rate))?;
        Ok(Self { chains, rounds, noise })
    }

    fn rate(&self, what: &str, bar: Bar) -> Row {
        let what = format!("QoS 1: {what}, RouteMQ ÷ Python framework, mosquitto");
        let mut row = Row::new("python", what, self.rounds.ratio(0, 1, |it| it.rate)).bar(bar);
        for (index, kind) in Self::KINDS.into_iter().enumerate() {
            row = row.note(super::firehose::figures(kind, index, &self.rounds));
        }
        row.notes.extend(self.noise.clone());
        row
    }

    /// Resident at the end of the rounds.
    #[expect(clippy::cast_precision_loss, reason = "bytes of one process")]
    fn memory(&self, of: &str) -> Row {
        let [ours, theirs] = [0, 1].map(|at| self.chains[at].subject.memory() as f64 / 1e6);
        let what = format!("memory with {of}, Python framework ÷ RouteMQ");
        Row::new("python", what, Spread::of(&[theirs / ours]))
            .bar(Bar::at_least(5.0, 2.0))
            .note(format!("{theirs:.1} MB ÷ {ours:.1} MB"))
    }
}
