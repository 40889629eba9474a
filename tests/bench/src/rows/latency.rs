//! A message each millisecond: how long until it is acknowledged.

use std::time::Duration;

use super::contestant::{Contestant, Setting};
use crate::{
    bars::Bar,
    error::BenchError,
    options::Table,
    report::Row,
    rounds::{self, Rounds},
    statistics::percentile,
    subjects::{Kind, Work},
};

const PACE: Duration = Duration::from_millis(1);
const SPAN: Duration = Duration::from_secs(1);

/// Nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Latency {
    half: u64,
    most: u64,
}

pub(super) fn quiet(table: &Table) -> Result<Vec<Row>, BenchError> {
    let (rounds, noise) = measure(table, Work::Json)?;
    let [half, mut most] = rows("latency", "at 1,000 messages/s, QoS 1", &rounds);
    most.notes.extend(noise);
    Ok(vec![half.bar(Bar::at_most(1.3, 3.0)), most.bar(Bar::at_most(2.0, 6.0))])
}

/// The same while a table of 50,000 routes is exchanged again and again.
pub(super) fn swap(table: &Table) -> Result<Vec<Row>, BenchError> {
    let (rounds, noise) = measure(table, Work::Swap)?;
    let [_, mut most] = rows("swap", "while 50,000 routes are exchanged", &rounds);
    most.notes.extend(noise);
    Ok(vec![most.bar(Bar::at_most(2.0, 6.0))])
}

fn measure(table: &Table, work: Work) -> Result<(Rounds<Latency>, Option<String>), BenchError> {
    let setting = Setting { pace: Some(PACE), work, ..Setting::of(1, 1000) };
    let start = |kind| Contestant::start(kind, setting);
    let mut contestants =
        [Kind::Worker, Kind::Raw].into_iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let span = if table.quick { SPAN } else { 2 * SPAN };
    let once = || rounds::run(table.rounds(), &mut contestants, |it| latency(it, span));
    rounds::steadily(once, |rounds| rounds.ratio(0, 1, |it| of(it.most)))
}

fn latency(contestant: &Contestant, span: Duration) -> Result<Latency, BenchError> {
    contestant.measure(span)?;
    let sorted = contestant.firehose.take_latencies();
    Ok(Latency { half: percentile(&sorted, 0.5), most: percentile(&sorted, 0.99) })
}

fn rows(name: &'static str, what: &str, rounds: &Rounds<Latency>) -> [Row; 2] {
    let row = |label: &str, value: fn(&Latency) -> u64| {
        let micros = |at: usize| rounds.spread(|it| of(value(&it[at])) / 1000.0).median;
        let (worker, raw) = (micros(0), micros(1));
        Row::new(
            name,
            format!("{label} {what}: worker ÷ raw socket"),
            rounds.ratio(0, 1, |it| of(value(it))),
        )
        .note(format!("RouteMQ worker {worker:.0} µs, raw socket {raw:.0} µs"))
    };
    [row("p50", |it| it.half), row("p99", |it| it.most)]
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a latency")]
fn of(nanos: u64) -> f64 {
    nanos as f64
}
