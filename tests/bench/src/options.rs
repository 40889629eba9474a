use clap::{Args, Parser, Subcommand};

use crate::subjects::Order;

/// What RouteMQ costs, as ratios to what else could be done with the same messages on the same machine at the same time.
#[derive(Debug, Parser)]
#[command(name = "tests/bench/run", disable_help_subcommand = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) table: Table,
}

/// Besides the table.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The operator with thousands of MqttRoutes, on a control plane of its own (tests/cluster builds it once).
    Operator(Operator),
    /// One process of a measurement; started by the others.
    #[command(hide = true)]
    Subject(Order),
}

/// How many objects.
#[derive(Args, Clone, Debug)]
pub(crate) struct Operator {
    /// MqttRoutes, one measurement after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 5000])]
    pub(crate) objects: Vec<usize>,
    /// As JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the table is made of.
#[derive(Args, Clone, Debug)]
pub(crate) struct Table {
    /// Within a minute, against the floors: exit code 1 below one of them.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these rows (several: by comma).
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Also the Python framework (from PyPI, into a virtual environment in target/).
    #[arg(long)]
    pub(crate) with_python: bool,
    /// As JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Rounds of each row; default 5, quick 3.
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    /// Unacknowledged messages at most, of every subject.
    #[arg(long, default_value_t = 16_384)]
    pub(crate) window: u16,
}

impl Table {
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 }).max(1)
    }
}
