//! A handler that waits now and then must not hold up the rest.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::contestant::{Contestant, Setting};
use crate::{
    bars::Bar,
    error::BenchError,
    options::Table,
    report::Row,
    rounds,
    statistics::Spread,
    subjects::{Kind, Work},
};

/// A window's worth is sent; one message in a thousand waits for five seconds.
const WINDOW: u16 = 60_000;
const LATE: Duration = Duration::from_secs(10);

pub(super) fn one_in_a_thousand(table: &Table) -> Result<Vec<Row>, BenchError> {
    let start = |work| Contestant::start(Kind::Worker, Setting { work, ..Setting::of(1, WINDOW) });
    let mut contestants = [start(Work::Slow)?, start(Work::Brisk)?];
    let rounds = rounds::run(table.rounds().min(3), &mut contestants, a_window)?;
    let ratio: Spread = rounds.ratio(0, 1, |rate| *rate);
    let row = Row::new(
        "slow",
        "QoS 1: one handler in 1,000 waits 5 s ÷ none does, until the window is full",
        ratio,
    );
    Ok(vec![row.bar(Bar::at_least(0.8, 0.5))])
}

/// Messages a second of those that do not wait.
fn a_window(contestant: &mut Contestant) -> Result<f64, BenchError> {
    let before = contestant.subject.progress().handled;
    let wanted = before + u64::from(WINDOW) - u64::from(WINDOW).div_ceil(1000);
    let started = Instant::now();
    contestant.firehose.send(WINDOW.into());
    while contestant.subject.progress().handled < wanted {
        if started.elapsed() > LATE {
            let handled = contestant.subject.progress().handled;
            return Err(BenchError::Wrong(format!("{handled} handled, {wanted} wanted")));
        }
        thread::sleep(Duration::from_micros(500));
    }
    let took = started.elapsed();
    contestant.firehose.close()?;
    Ok(f64::from(WINDOW) / took.as_secs_f64())
}
