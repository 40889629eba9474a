//! What a table costs: to compile, to search, to hold.

use std::{hint::black_box, time::Instant};

use routemq_crds::topic::Pattern;
use routemq_worker::router::{Captures, Matcher};

use super::contestant::{Contestant, Setting};
use crate::{
    bars::Bar,
    error::BenchError,
    options::Table,
    report::Row,
    statistics::Spread,
    subjects::{Kind, compiled},
};

const TOPICS: usize = 4096;
const SEARCHES: u32 = 1_000_000;
const MEGABYTE: f64 = 1_000_000.0;

#[expect(clippy::unnecessary_wraps, reason = "as all rows are measured")]
pub(super) fn search(table: &Table) -> Result<Vec<Row>, BenchError> {
    let row = |routes: usize, bar| {
        let matcher = matcher(routes);
        let rounds: Vec<f64> = (0..table.rounds()).map(|_| nanos(&matcher, routes)).collect();
        Row::new("match", format!("match at {routes} routes"), Spread::of(&rounds))
            .unit(" ns")
            .bar(bar)
    };
    Ok(vec![row(1000, Bar::at_most(80.0, 200.0)), row(100_000, Bar::at_most(225.0, 500.0))])
}

fn matcher(routes: usize) -> Matcher {
    let source = |i: usize| format!("site{}/device{i}/{{id}}/status", i % 100);
    let patterns: Vec<Pattern> =
        (0..routes).filter_map(|i| Pattern::parse(&source(i)).ok()).collect();
    Matcher::new(&patterns)
}

fn nanos(matcher: &Matcher, routes: usize) -> f64 {
    let topics: Vec<String> = (0..TOPICS)
        .map(|_| fastrand::usize(0..routes))
        .map(|i| format!("site{}/device{i}/{}/status", i % 100, fastrand::u32(..)))
        .collect();
    let mut captures = Captures::default();
    let started = Instant::now();
    let mut found = 0;
    for search in 0..SEARCHES as usize {
        let topic = &topics[search % TOPICS];
        found += u32::from(black_box(matcher.find(black_box(topic), &mut captures)).is_some());
    }
    started.elapsed().as_secs_f64() * 1e9 / f64::from(found.max(1))
}

pub(super) fn compile(table: &Table) -> Result<Vec<Row>, BenchError> {
    let mut seconds = Vec::new();
    for _ in 0..table.rounds().min(3) {
        seconds.push(compiled(100_000)?.as_secs_f64());
    }
    let row = Row::new(
        "compile",
        "compile 100,000 routes, with a dead letter topic",
        Spread::of(&seconds),
    );
    Ok(vec![row.unit(" s").bar(Bar::at_most(1.0, 3.0))])
}

pub(super) fn memory(table: &Table) -> Result<Vec<Row>, BenchError> {
    let resident = |routes: usize| -> Result<f64, BenchError> {
        let setting = Setting { routes, ..Setting::of(1, table.window) };
        let contestant = Contestant::start(Kind::Worker, setting)?;
        #[expect(clippy::cast_precision_loss, reason = "bytes of one process")]
        Ok(contestant.subject.memory() as f64 / MEGABYTE)
    };
    let (idle, one, three) = (resident(1)?, resident(1000)?, resident(3000)?);
    let exactly = |value: f64| Spread::of(&[value]);
    Ok(vec![
        Row::new("memory", "worker memory, one route, idle", exactly(idle))
            .unit(" MB")
            .bar(Bar::at_most(8.0, 20.0)),
        Row::new("memory", "per 1,000 routes more", exactly((three - one) / 2.0))
            .unit(" MB")
            .bar(Bar::at_most(2.0, 5.0)),
    ])
}
