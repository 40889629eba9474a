//! What is measured, each in a process of its own: started with where to connect, it says when it is ready and shows
//! how far it has come in a small file that it writes each millisecond.

pub(crate) mod process;
mod profile;
mod progress;
mod python;
mod raw;
mod rumqttc;
mod worker;

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

pub(crate) use self::{
    progress::{Progress, Tally},
    worker::is_slow,
};
use crate::error::BenchError;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A blocking socket: 256 KiB reads, the least parsing, one write of acknowledgements a read.
    Raw,
    /// rumqttc's event loop, which acknowledges by itself.
    Rumqttc,
    /// The same, acknowledged by the application.
    RumqttcManual,
    /// `RouteMQ`.
    Worker,
    /// The Python framework.
    Python,
}

impl Kind {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Raw => "raw socket",
            Self::Rumqttc => "rumqttc, automatic acks",
            Self::RumqttcManual => "rumqttc, manual acks",
            Self::Worker => "RouteMQ worker",
            Self::Python => "Python framework",
        }
    }
}

/// How a subject is started.
#[derive(Args, Clone, Debug)]
pub(crate) struct Order {
    /// What.
    #[arg(value_enum)]
    pub(crate) kind: Kind,
    /// The broker's port on 127.0.0.1.
    #[arg(long)]
    pub(crate) port: u16,
    /// Its Receive Maximum.
    #[arg(long, default_value_t = 16_384)]
    pub(crate) window: u16,
    /// The QoS to subscribe with.
    #[arg(long, default_value_t = 1)]
    pub(crate) qos: u8,
    /// Routes of the worker.
    #[arg(long, default_value_t = 1000)]
    pub(crate) routes: usize,
    /// Keys of all routes together.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) keys: usize,
    /// Where it shows how far it is.
    #[arg(long)]
    pub(crate) progress: PathBuf,
    /// The processor that it stays on.
    #[arg(long)]
    pub(crate) processor: Option<usize>,
    /// What the worker does with a message.
    #[arg(long, value_enum, default_value_t = Work::Json)]
    pub(crate) work: Work,
    /// The database of the worker.
    #[arg(long)]
    pub(crate) database: Option<String>,
}

/// What the worker's routes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// Three middleware and a handler that takes typed JSON.
    Json,
    /// The same, and one message in a thousand waits for five seconds.
    Slow,
    /// As many handlers at work, and none waits.
    Brisk,
    /// The same, and the table is exchanged for another of 50,000 routes and back, again and again.
    Swap,
    /// A row into a database.
    Rows,
}

/// How long it takes to compile so many routes.
pub(crate) fn compiled(routes: usize) -> Result<Duration, BenchError> {
    worker::compiled(routes)
}

/// The subject's side: runs until it is killed, or the connection ends.
pub(crate) fn run(order: &Order) -> Result<(), BenchError> {
    if let Some(processor) = order.processor {
        // A machine that does not let us is measured unbound.
        let _ = crate::cpu::bind_to(processor);
    }
    profile::end_in_order()?;
    let tally = Tally::start(&order.progress, order.keys);
    match order.kind {
        Kind::Raw => raw::run(order, &tally),
        Kind::Rumqttc => rumqttc::run(order, &tally, false),
        Kind::RumqttcManual => rumqttc::run(order, &tally, true),
        Kind::Worker => worker::run(order, &tally),
        Kind::Python => Err(BenchError::Absent("this program in Python".to_owned())),
    }
}

/// Tells whoever started the subject.
fn say_ready(metrics: Option<u16>) {
    println!("ready {}", metrics.unwrap_or(0));
}
