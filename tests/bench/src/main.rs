//! `./tests/bench/run`: what RouteMQ costs, as ratios. See docs/performance.md.

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement takes its time, on threads of its own"
)]

mod bars;
mod cpu;
mod error;
mod feeder;
mod firehose;
mod frames;
mod operator;
mod options;
mod report;
mod rounds;
mod rows;
mod statistics;
mod subjects;

use std::process::ExitCode;

use clap::Parser as _;

use self::{
    error::{BenchError, sentence},
    options::{Command, Options, Table},
    report::Row,
};

/// As `routemq` has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.command {
        None => Ok(table(&options.table)),
        Some(Command::Operator(of)) => operator::rows(&of.objects).map(|rows| {
            show(of.json, &rows);
            rows.iter().all(Row::reaches_floor)
        }),
        Some(Command::Subject(order)) => subjects::run(order).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{}", sentence(&error));
            ExitCode::from(3)
        }
    }
}

/// Prints each row as it is measured; whether each reaches its floor.
fn table(options: &Table) -> bool {
    let mut rows: Vec<Row> = Vec::new();
    let mut complete = true;
    let wanted = |name: &str| match options.only.as_slice() {
        [] => !(options.quick && rows::LONG.contains(&name)),
        only => only.iter().any(|it| it == name),
    };
    for (name, measure) in rows::ALL.iter().filter(|(name, _)| wanted(name)) {
        match measure(options) {
            Ok(measured) => {
                if !options.json {
                    show(false, &measured);
                }
                rows.extend(measured);
            }
            Err(BenchError::Absent(what)) => eprintln!("{name}: absent: {what}"),
            Err(error) => {
                eprintln!("{name}: {}", sentence(&error));
                complete = false;
            }
        }
    }
    if options.json {
        show(true, &rows);
    }
    complete && rows.iter().all(Row::reaches_floor)
}

fn show(json: bool, rows: &[Row]) {
    if json {
        println!("{}", serde_json::Value::Array(rows.iter().map(Row::json).collect()));
    } else {
        for row in rows {
            println!("{}", row.text());
        }
    }
}
