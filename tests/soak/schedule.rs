//! Which fault comes when: drawn from the seed, before anything runs.

use std::{ops::RangeInclusive, time::Duration};

use clap::ValueEnum;

use crate::options::{BrokerKind, Options};

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// kill -9 to a worker, which starts again a moment later
    Kill,
    /// SIGTERM to a worker, which must end with 0, and starts again
    Terminate,
    /// SIGSTOP to a worker, then SIGCONT
    Freeze,
    /// A worker's connections are reset
    Reset,
    /// A worker's line is late and loses packets: 200 ms ± 100 ms, 5 %
    SlowLine,
    /// A worker's line carries nothing, both ways, then breaks
    Silence,
    /// The broker ends in good order and starts again with what it has on disk
    RestartBroker,
    /// The database ends in good order and starts again
    StopDatabase,
    /// kill -9 to the database, which starts again
    KillDatabase,
    /// SIGSTOP to the database, then SIGCONT
    FreezeDatabase,
    /// Somebody else locks the table of effects
    LockTable,
    /// The worker that comes and goes comes, or goes
    Scale,
    /// kill -9 to all workers together
    KillAll,
    /// Every worker in turn is ended with SIGTERM and starts again with a changed table
    Rollout,
    /// The table of all workers changes while they run
    Swap,
    /// A worker's node is gone: kill -9, and its pod's object too; another pod takes its place (with --leases)
    LoseNode,
    /// kill -9 to the operator, which starts again (with --leases)
    KillOperator,
    /// kill -9 to the API server, which starts again (with --leases)
    KillApiServer,
}

/// How often a kind is drawn, how long it lasts, and how soon all must be well after it.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    pub(crate) weight: u32,
    /// Milliseconds; of a run of some minutes.
    pub(crate) lasts: RangeInclusive<u64>,
    /// From the end of the fault until messages are acknowledged again.
    pub(crate) recovers: Duration,
}

/// A fault to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Since the start of the faults.
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    /// Whom it meets, where it meets a worker.
    pub(crate) slot: u32,
    pub(crate) lasts: Duration,
}

/// In runs shorter than this no fault lasts longer than [`SHORT_FAULT`].
const SHORT_RUN: Duration = Duration::from_mins(3);
const SHORT_FAULT: u64 = 6000;

impl Kind {
    /// Its habits.
    pub(crate) fn habits(self) -> Habits {
        let (weight, lasts, recovers) = match self {
            Self::Kill => (4, 0..=3000, 5),
            Self::Terminate => (3, 0..=2000, 5),
            Self::Freeze => (2, 2000..=35_000, 35),
            Self::Reset => (2, 0..=0, 35),
            Self::SlowLine => (2, 5000..=15_000, 35),
            Self::Silence => (1, 3000..=40_000, 35),
            Self::RestartBroker => (2, 0..=4000, 35),
            Self::StopDatabase | Self::KillDatabase => (1, 500..=8000, 10),
            Self::FreezeDatabase => (1, 2000..=8000, 10),
            Self::LockTable => (1, 1000..=4000, 10),
            Self::Scale => (2, 0..=0, 5),
            Self::KillAll => (1, 0..=20_000, 5),
            Self::Rollout | Self::Swap => (1, 0..=0, 5),
            Self::LoseNode => (2, 0..=0, 45),
            Self::KillOperator | Self::KillApiServer => (1, 0..=15_000, 5),
        };
        Habits { weight, lasts, recovers: Duration::from_secs(recovers) }
    }

    /// Whether this broker can survive it: an rmqtt's sessions end with it.
    fn meets(self, broker: BrokerKind) -> bool {
        broker == BrokerKind::Mosquitto || self != Self::RestartBroker
    }

    /// Its name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it takes a control plane.
    pub(crate) fn needs_leases(self) -> bool {
        matches!(self, Self::LoseNode | Self::KillOperator | Self::KillApiServer)
    }

    /// Whether a commit may be made whose answer is lost.
    pub(crate) fn loses_answers(self) -> bool {
        matches!(self, Self::StopDatabase | Self::KillDatabase | Self::FreezeDatabase)
    }
}

/// The faults of a run, in order.
pub(crate) fn schedule(options: &Options) -> Vec<Planned> {
    let mut random = fastrand::Rng::with_seed(options.seed);
    let possible = |kind: &Kind| options.leases || !kind.needs_leases();
    let kinds: Vec<Kind> = match options.only.as_slice() {
        [] => {
            Kind::value_variants().iter().copied().filter(|it| it.meets(options.broker)).collect()
        }
        only => only.to_vec(),
    };
    let kinds: Vec<Kind> = kinds.into_iter().filter(possible).collect();
    if kinds.is_empty() {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += Duration::from_millis(within(&mut random, thousandfold(&options.every)));
        if at >= options.duration() {
            return faults;
        }
        let kind = draw(&mut random, &kinds);
        let slot = random.u32(..options.workers);
        let lasts = Duration::from_millis(within(&mut random, lasts(kind, options.duration())));
        faults.push(Planned { at, kind, slot, lasts });
    }
}

fn thousandfold(range: &RangeInclusive<u64>) -> RangeInclusive<u64> {
    range.start() * 1000..=range.end() * 1000
}

fn within(random: &mut fastrand::Rng, range: RangeInclusive<u64>) -> u64 {
    random.u64(range)
}

fn lasts(kind: Kind, run: Duration) -> RangeInclusive<u64> {
    let lasts = kind.habits().lasts;
    if run >= SHORT_RUN { lasts } else { *lasts.start()..=(*lasts.end()).min(SHORT_FAULT) }
}

fn draw(random: &mut fastrand::Rng, kinds: &[Kind]) -> Kind {
    let all: u32 = kinds.iter().map(|kind| kind.habits().weight).sum();
    let mut left = random.u32(..all);
    for kind in kinds {
        match left.checked_sub(kind.habits().weight) {
            Some(rest) => left = rest,
            None => return *kind,
        }
    }
    kinds[0]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser as _;

    use super::*;

    fn options(arguments: &[&str]) -> Options {
        Options::parse_from([&["soak"], arguments].concat())
    }

    #[test]
    fn a_seed_gives_one_schedule_and_another_seed_another() {
        let one = schedule(&options(&["--minutes", "10", "--seed", "1"]));
        assert_eq!(one, schedule(&options(&["--minutes", "10", "--seed", "1"])));
        assert_ne!(one, schedule(&options(&["--minutes", "10", "--seed", "2"])));
    }

    #[test]
    fn faults_keep_their_distance_and_end_with_the_run() {
        let faults = schedule(&options(&["--minutes", "10"]));
        let gaps = faults.windows(2).map(|pair| pair[1].at.saturating_sub(pair[0].at));
        let within = Duration::from_secs(5)..=Duration::from_secs(20);
        assert!(gaps.into_iter().all(|gap| within.contains(&gap)));
        assert!(faults.last().is_some_and(|last| last.at < Duration::from_mins(10)));
        assert!(faults.iter().all(|fault| fault.slot < 3));
    }

    #[test]
    fn a_long_run_meets_every_kind_and_only_the_chosen_ones() {
        let kinds = |arguments: &[&str]| -> BTreeSet<Kind> {
            schedule(&options(arguments)).iter().map(|fault| fault.kind).collect()
        };
        assert_eq!(kinds(&["--minutes", "120", "--leases"]).len(), Kind::value_variants().len());
        assert!(kinds(&["--minutes", "120"]).iter().all(|kind| !kind.needs_leases()));
        let on_rmqtt = kinds(&["--minutes", "120", "--leases", "--broker", "rmqtt"]);
        assert_eq!(on_rmqtt.len(), Kind::value_variants().len() - 1);
        let only = kinds(&["--minutes", "120", "--only", "kill,reset"]);
        assert_eq!(only, BTreeSet::from([Kind::Kill, Kind::Reset]));
    }

    #[test]
    fn a_short_run_has_short_faults() {
        let faults = schedule(&options(&["--seconds", "170", "--every", "1-1"]));
        assert!(faults.iter().all(|fault| fault.lasts <= Duration::from_millis(SHORT_FAULT)));
    }
}
