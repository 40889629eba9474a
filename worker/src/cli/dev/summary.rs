//! What was finished, said at the end.

use std::process::ExitCode;

use routemq_worker::{
    run::totals,
    worker::{RouteTotals, Summary, Totals},
};

use super::database::File;
use crate::cli::{
    Ended, print as write,
    style::{self, Paint},
};

pub(super) fn print(summaries: &[Summary], database: &File, paint: Paint) -> Ended {
    let totals = totals(summaries);
    let mut lines = vec![String::new()];
    lines.extend(table(&totals, paint));
    lines.extend(others(&totals));
    lines.push(shares(summaries));
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

/// `workers: 0 took 5, 1 took 4, 2 took 6` for each `MqttRoute`.
fn shares(summaries: &[Summary]) -> String {
    let took = |summary: &Summary| -> u64 {
        summary.totals.routes.values().map(|route| route.received).sum()
    };
    let share = |summary: &Summary| format!("{} took {}", summary.worker, took(summary));
    format!("workers: {}", summaries.iter().map(share).collect::<Vec<_>>().join(", "))
}
