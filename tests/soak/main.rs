//! The accountant: proves under faults that nothing is lost, and shows what is.
//!
//! # Flow
//! 1. A mosquitto, a MariaDB, and a proxy and a `routemq run --slot I` for each slot ([`bed`]).
//! 2. A publisher that journals each message as sent, accepted or unknown ([`journal`], [`publisher`]).
//! 3. A nemesis that follows a schedule drawn from the seed ([`schedule`], [`nemesis`]).
//! 4. Witnesses: the proxies note who was sent what and who acknowledged it ([`witness`]); each acknowledgement is held
//!    against the database at once ([`checker`]).
//! 5. The end: everything accepted drains, every process stops, and the books are compared ([`facts`], [`verdict`]).
//!
//! # Guarantees
//! - Nobody asks the worker how it is doing: only its exit code and the packets it sends count.
//! - The verdict is a pure function of what was seen.
//! - The same seed gives the same schedule. (Not the same interleaving: processes are free.)
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "this program is test code: a bed that fails ends it with exit code 3"
)]

mod bed;
mod checker;
mod cluster;
mod effects;
mod evidence;
mod facts;
mod history;
mod journal;
mod leftovers;
mod moment;
mod nemesis;
mod options;
mod publisher;
mod report;
mod run;
mod schedule;
mod slot;
mod verdict;
mod witness;

use std::{panic::AssertUnwindSafe, process::ExitCode};

use clap::Parser as _;
use futures::FutureExt as _;

use options::Options;

/// The promises were broken.
const BROKEN: u8 = 1;
/// The beds failed: nothing is said of the promises.
const NO_BED: u8 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let output = options.output;
    // A bed that fails panics, as in a test; nothing of it is used afterwards.
    match AssertUnwindSafe(run::run(options)).catch_unwind().await {
        Ok(report) => {
            println!("{}", report.render(output));
            if report.holds() { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) }
        }
        Err(_) => ExitCode::from(NO_BED),
    }
}
