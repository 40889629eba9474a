//! One worker on one processor, and two on two, each with a firehose of its own on the same processor.

use std::{thread, time::Duration};

use super::contestant::{Contestant, Sample, Setting};
use crate::{
    bars::Bar, cpu, error::BenchError, options::Table, report::Row, rounds, statistics::Spread,
    subjects::Kind,
};

const SPAN: Duration = Duration::from_millis(800);

pub(super) fn two_workers(table: &Table) -> Result<Vec<Row>, BenchError> {
    if cpu::processors() < 2 {
        return Err(BenchError::Absent("a second processor".to_owned()));
    }
    let pair = |processor| {
        let setting = Setting { processor: Some(processor), ..Setting::of(1, table.window) };
        Contestant::start(Kind::Worker, setting)
    };
    let mut pairs = [(pair(0)?, pair(1)?)];
    let once = || {
        rounds::run(table.rounds(), &mut pairs, |(one, other)| {
            let alone = one.measure(SPAN)?.rate;
            let both = together(one, other)?.iter().map(|it| it.rate).sum::<f64>();
            Ok((alone, both))
        })
    };
    let ratio = |rounds: &rounds::Rounds<(f64, f64)>| rounds.spread(|it| it[0].1 / it[0].0);
    let (rounds, noise) = rounds::steadily(once, ratio)?;
    let of = |value: fn(&(f64, f64)) -> f64| -> Spread { rounds.spread(|it| value(&it[0])) };
    let mut row = Row::new("scaling", "QoS 1: two workers ÷ one, firehose", ratio(&rounds))
        .bar(Bar::at_least(1.85, 1.5))
        .note("each worker shares its processor with its own firehose: one pair on one, two pairs on two")
        .note(format!("{:.0} and {:.0} messages/s", of(|it| it.0).median, of(|it| it.1).median));
    row.notes.extend(noise);
    Ok(vec![row])
}

fn together(one: &Contestant, other: &Contestant) -> Result<[Sample; 2], BenchError> {
    thread::scope(|scope| {
        let beside = scope.spawn(|| other.measure(SPAN));
        let own = one.measure(SPAN)?;
        let beside = beside.join();
        let beside =
            beside.map_err(|_| BenchError::Wrong("a measurement panicked".to_owned()))??;
        Ok([own, beside])
    })
}
