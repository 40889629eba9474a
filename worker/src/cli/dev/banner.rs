//! What is said before the first message: where things are, what runs, what to try.

use std::collections::BTreeSet;

use super::{load::Load, sample::Sampler};
use crate::cli::{
    failure::Failure,
    sqlite_file::File,
    style::{self, Paint},
};

pub(super) fn print(
    load: &Load,
    broker: &str,
    database: &File,
    paint: Paint,
) -> Result<(), Failure> {
    let mut lines: Vec<String> = load.notes.iter().map(|note| format!("note: {note}")).collect();
    let place =
        |name: &str, value: &str| format!("{}  {}", paint.bold(&style::pad(name, 8)), value);
    lines.push(place("broker", broker));
    lines.push(place("database", &database.path.display().to_string()));
    lines.push(String::new());
    lines.extend(routes(load, paint));
    lines.push(String::new());
    lines.push(paint.bold("try"));
    lines.extend(examples(load, broker));
    lines.push(String::new());
    super::super::print(&(lines.join("\n") + "\n")).map(|_| ())
}

/// A row a route: its name, what is subscribed to, how many workers share it.
fn routes(load: &Load, paint: Paint) -> Vec<String> {
    let mut rows = vec![["route", "subscription", "workers"].map(str::to_owned).to_vec()];
    for loaded in &load.routes {
        let table = &loaded.table;
        let share = table.share.as_deref();
        for route in &table.routes {
            let filter = route.pattern.filter();
            let whole =
                share.map_or_else(|| filter.clone(), |name| format!("$share/{name}/{filter}"));
            rows.push(vec![route.name.to_string(), whole, workers(table)]);
        }
    }
    let mut lines = style::columns(&rows);
    if let Some(head) = lines.first_mut() {
        *head = paint.bold(head);
    }
    lines
}

fn workers(table: &routemq_crds::table::Table) -> String {
    if table.paused { "paused".to_owned() } else { table.worker_count.to_string() }
}

/// A line to copy for each route; quoted for a shell.
fn examples(load: &Load, broker: &str) -> Vec<String> {
    let mut sampler = Sampler::new(1);
    let mut seen = BTreeSet::new();
    let mut lines = Vec::new();
    let port = broker.rsplit(':').next().filter(|port| *port != "1883");
    let broker = port.map(|_| format!(" --broker {broker}")).unwrap_or_default();
    for loaded in &load.routes {
        for route in &loaded.table.routes {
            let sample = sampler.message(&loaded.table, route, &loaded.secrets);
            let payload = String::from_utf8_lossy(&sample.payload).into_owned();
            let line =
                format!("  routemq pub {} {}{broker}", quoted(&sample.topic), quoted(&payload));
            if seen.insert(line.clone()) {
                lines.push(line);
            }
        }
    }
    lines
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
