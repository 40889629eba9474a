//! The command line.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

/// Runs workers, a broker and a database under faults, and accounts for every message.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "soak",
    after_help = "Example: cargo run -p routemq-tests --bin soak -- --minutes 10 --seed 1\n\n\
    The program under test is what `cargo build --bin routemq` built in the same profile, or ROUTEMQ_BIN.\n\n\
    Exit codes: 0 every promise held, 1 one was broken (each counterexample with its timeline), 2 usage, \
    3 the broker, the database or a worker could not be started."
)]
pub(crate) struct Options {
    /// How long faults and load go on
    #[arg(long, default_value_t = 1)]
    minutes: u64,
    /// Instead of --minutes
    #[arg(long, conflicts_with = "minutes")]
    seconds: Option<u64>,
    /// What the faults are drawn from
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Messages a second
    #[arg(long, default_value_t = 1200, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    pub(crate) rate: u64,
    /// Workers that run all the time (one more comes and goes)
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) workers: u32,
    /// The receive maximum of each worker
    #[arg(long, default_value_t = 200)]
    pub(crate) receive_maximum: u16,
    /// Seconds between two faults, from-to
    #[arg(long, default_value = "5-20", value_parser = range)]
    pub(crate) every: RangeInclusive<u64>,
    /// Only these faults, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<crate::schedule::Kind>,
    /// Recovery times may be this many times as long (for a machine that does other things)
    #[arg(long, default_value_t = 1.0)]
    pub(crate) slack: f64,
    /// The broker; faults that lose an rmqtt's sessions with it are left out
    #[arg(long, default_value = "mosquitto")]
    pub(crate) broker: BrokerKind,
    /// The slots are Leases of a real control plane, kept by the operator; processes stand for its pods
    #[arg(long, conflicts_with = "control")]
    pub(crate) leases: bool,
    /// Does something wrong on purpose, which the verdict must find
    #[arg(long)]
    pub(crate) control: Option<Control>,
    /// How the verdict is written
    #[arg(long, default_value = "text")]
    pub(crate) output: Output,
    /// Where logs, the journal and timelines go when a promise is broken
    #[arg(long, default_value = "target/soak")]
    pub(crate) evidence: PathBuf,
}

/// Which broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BrokerKind {
    /// Keeps sessions on disk, and an absent member's part of a share for it
    Mosquitto,
    /// Keeps sessions in memory, and gives new messages of a share to members that are connected
    Rmqtt,
}

/// A wrong way to run workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Control {
    /// Each process comes with a client id of its own and a clean start, as most consumers do
    RandomClientIds,
    /// One message in a thousand is acknowledged without its row
    SkipEffects,
    /// Rows are committed a moment after their acknowledgement, by somebody else
    LateEffects,
}

/// The form of the verdict on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

impl Options {
    /// How long faults and load go on.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(self.minutes * 60))
    }
}

fn range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let wrong = || format!("{text:?} is no range: write 5-20");
    let (from, to) = text.split_once('-').ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
    let (from, to) = (number(from)?, number(to)?);
    if from > to { Err(wrong()) } else { Ok(from..=to) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
        let options =
            Options::try_parse_from(["soak", "--seconds", "20", "--every", "3-8"]).unwrap();
        assert_eq!((options.duration().as_secs(), options.every), (20, 3..=8));
        assert_eq!(Options::try_parse_from(["soak"]).unwrap().duration().as_secs(), 60);
        assert!(Options::try_parse_from(["soak", "--every", "8-3"]).is_err());
    }
}
