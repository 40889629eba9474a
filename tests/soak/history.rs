//! The faults as they happened.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use crate::{
    moment::{Clock, Moment},
    schedule::{Kind, Planned},
};

/// One fault.
#[derive(Clone, Debug)]
pub(crate) struct Incident {
    pub(crate) kind: Kind,
    /// Whom it met, where it met one worker.
    pub(crate) slot: Option<u32>,
    pub(crate) began: Moment,
    /// When what was broken was there again.
    pub(crate) healed: Option<Moment>,
    /// When each worker it met acknowledged again; `None`: not within the time that the accountant waits.
    pub(crate) recovered: Vec<(u32, Option<Moment>)>,
    /// Nothing could be committed from the first to the second.
    pub(crate) no_commits: Option<(Moment, Moment)>,
}

/// Why a process that was asked to end did not end well.
#[derive(Clone, Debug)]
pub(crate) struct BadExit {
    pub(crate) slot: u32,
    pub(crate) at: Moment,
    pub(crate) what: String,
}

/// Shared by whoever makes faults.
#[derive(Clone, Debug)]
pub(crate) struct History {
    clock: Clock,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    incidents: Vec<Incident>,
    skipped: Vec<Kind>,
    bad_exits: Vec<BadExit>,
}

/// A fault under way.
#[derive(Debug)]
pub(crate) struct Open {
    history: History,
    place: usize,
}

impl History {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, inner: Arc::default() }
    }

    /// A fault begins.
    pub(crate) fn begin(&self, planned: &Planned, slot: Option<u32>) -> Open {
        let incident = Incident {
            kind: planned.kind,
            slot,
            began: self.clock.now(),
            healed: None,
            recovered: Vec::new(),
            no_commits: None,
        };
        let mut inner = self.lock();
        inner.incidents.push(incident);
        Open { history: self.clone(), place: inner.incidents.len() - 1 }
    }

    /// A fault does not happen, because another one has its target.
    pub(crate) fn skip(&self, kind: Kind) {
        self.lock().skipped.push(kind);
    }

    /// A process did not end as it should have.
    pub(crate) fn bad_exit(&self, slot: u32, what: String) {
        let at = self.clock.now();
        self.lock().bad_exits.push(BadExit { slot, at, what });
    }

    /// All faults so far.
    pub(crate) fn incidents(&self) -> Vec<Incident> {
        self.lock().incidents.clone()
    }

    /// Faults that did not happen.
    pub(crate) fn skipped(&self) -> usize {
        self.lock().skipped.len()
    }

    /// Processes that did not end well.
    pub(crate) fn bad_exits(&self) -> Vec<BadExit> {
        self.lock().bad_exits.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody fails while holding the history")
    }
}

impl Open {
    /// What was broken is there again; from now on recovery is measured.
    pub(crate) fn healed(&self) -> Moment {
        let now = self.history.clock.now();
        self.change(|incident| incident.healed = Some(now));
        now
    }

    /// A worker that it met acknowledges again, or doesn't.
    pub(crate) fn recovered(&self, slot: u32, at: Option<Moment>) {
        self.change(|incident| incident.recovered.push((slot, at)));
    }

    /// Nothing could be committed since `since`, until now.
    pub(crate) fn no_commits_since(&self, since: Moment) {
        let now = self.history.clock.now();
        self.change(|incident| incident.no_commits = Some((since, now)));
    }

    fn change(&self, change: impl FnOnce(&mut Incident)) {
        change(&mut self.history.lock().incidents[self.place]);
    }
}

impl Incident {
    /// Its end, recovery included; `None` while it lasts.
    pub(crate) fn over(&self) -> Option<Moment> {
        let recovered = self.recovered.iter().filter_map(|(_, at)| *at).max();
        recovered.max(self.healed)
    }

    /// Whether it was under way at some time between these two.
    pub(crate) fn overlaps(&self, from: Moment, to: Moment) -> bool {
        self.began <= to && self.over().is_none_or(|over| over >= from)
    }

    /// How long the slowest worker took; `None`: it met none, or one never came back.
    pub(crate) fn took(&self) -> Option<Duration> {
        let healed = self.healed?;
        let times: Option<Vec<Duration>> =
            self.recovered.iter().map(|(_, at)| at.map(|at| at.since(healed))).collect();
        times?.into_iter().max()
    }
}

impl std::fmt::Display for Incident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.began, self.kind.name())?;
        if let Some(slot) = self.slot {
            write!(f, " of worker {slot}")?;
        }
        if let Some(healed) = self.healed {
            write!(f, ", over after {:.1} s", healed.since(self.began).as_secs_f64())?;
        }
        match self.took() {
            Some(took) => write!(f, ", acknowledging again after {:.2} s", took.as_secs_f64()),
            None if self.recovered.is_empty() => Ok(()),
            None => f.write_str(", not acknowledging again"),
        }
    }
}
