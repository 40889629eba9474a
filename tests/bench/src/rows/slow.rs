//! A handler that waits now and then must not hold up the rest.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use super::contestant::{Contestant, DEVICES, ROUTES, Setting};
use crate::{
    bars::Bar,
    error::BenchError,
    frames::{RING, Traffic},
    options::Table,
    report::Row,
    rounds,
    statistics::Spread,
    subjects::{Kind, Work, is_slow},
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
    let first = contestant.firehose.acknowledged();
    let wanted = before + quick(first);
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

/// Messages of the window from `first` on that neither are slow nor stand behind one of their key that is.
fn quick(first: u64) -> u64 {
    let traffic = Traffic { routes: ROUTES, devices: DEVICES, qos: 1 };
    let mut held = BTreeSet::new();
    let window = first..first + u64::from(WINDOW);
    let is_quick = |index: &u64| {
        let slot = usize::try_from(index % RING as u64).unwrap_or(0);
        let (_, key) = traffic.route_and_key(slot);
        if is_slow(*index) {
            held.insert(key);
        }
        !held.contains(&key)
    };
    window.filter(is_quick).count() as u64
}
