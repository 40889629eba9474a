//! What was finished, said at the end.

use std::{collections::BTreeMap, process::ExitCode};

use routemq_worker::{
    run::totals,
    worker::{RouteTotals, Summary, Totals},
};

use crate::cli::sqlite_file::File;
use crate::cli::{
    Ended, print as write,
    style::{self, Paint},
};

pub(super) fn print(summaries: &[Summary], database: &File, paint: Paint) -> Ended {
    let totals = totals(summaries);
    let mut lines = vec![String::new()];
    lines.extend(table(&totals, paint));
    lines.extend(others(&totals));
    lines.push(String::new());
    lines.extend(shares(summaries, paint));
    lines.push(String::new());
    lines.push(format!("rows are in {}", database.path.display()));
    write(&(lines.join("\n") + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// A row a route, a column an outcome; outcomes that did not happen have none.
fn table(totals: &Totals, paint: Paint) -> Vec<String> {
    type Column = (&'static str, fn(&RouteTotals) -> u64);
    let all: [Column; 6] = [
        ("done", |it| it.done),
        ("dropped", |it| it.dropped),
        ("rejected", |it| it.rejected),
        ("dead-lettered", |it| it.dead_lettered),
        ("discarded", |it| it.discarded),
        ("retries", |it| it.retries),
    ];
    let happened = |column: &&Column| {
        column.0 == "done" || totals.routes.values().any(|route| column.1(route) > 0)
    };
    let columns: Vec<_> = all.iter().filter(happened).collect();
    let head = std::iter::once("finished").chain(columns.iter().map(|column| column.0));
    let mut rows = vec![head.map(str::to_owned).collect::<Vec<_>>()];
    for (name, route) in &totals.routes {
        let cells = columns.iter().map(|column| column.1(route).to_string());
        rows.push(std::iter::once(name.to_string()).chain(cells).collect());
    }
    let mut lines = style::columns(&rows);
    if let Some(head) = lines.first_mut() {
        *head = paint.bold(head);
    }
    lines
}

fn others(totals: &Totals) -> Vec<String> {
    let counts = [
        (totals.unmatched, "without a route"),
        (totals.overlap, "acknowledged as copies of handled ones"),
        (totals.overflow, "of QoS 0 dropped, too many waited"),
        (totals.unfinished, "not finished in time, left to the broker"),
    ];
    let said = counts.into_iter().filter(|(count, _)| *count > 0);
    said.map(|(count, words)| format!("{count} {words}")).collect()
}

/// A row a `MqttRoute`: how many messages each of its workers took, in the order of their slots.
fn shares(summaries: &[Summary], paint: Paint) -> Vec<String> {
    let mut taken: BTreeMap<&str, BTreeMap<u32, u64>> = BTreeMap::new();
    for summary in summaries {
        let routes = summary.totals.routes.values();
        let worker = taken.entry(&summary.worker.mqtt_route).or_default();
        *worker.entry(summary.worker.slot).or_default() +=
            routes.map(|it| it.received).sum::<u64>();
    }
    let most = taken.values().map(BTreeMap::len).max().unwrap_or(0);
    let head =
        std::iter::once("taken by worker".to_owned()).chain((0..most).map(|it| format!("w{it}")));
    let mut rows = vec![head.collect::<Vec<_>>()];
    for (name, workers) in taken {
        let counts = workers.values().map(u64::to_string);
        rows.push(std::iter::once(name.to_owned()).chain(counts).collect());
    }
    let mut lines = style::columns(&rows);
    if let Some(head) = lines.first_mut() {
        *head = paint.bold(head);
    }
    lines
}
