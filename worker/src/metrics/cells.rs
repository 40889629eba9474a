//! What one lane counts of one route: cells of its own, so that lanes do not contend.

use std::{
    collections::BTreeMap,
    iter,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use routemq_crds::table::{Action, Handler};

use super::{
    histogram::{Histogram, add_alone},
    totals::{Classes, RouteTotals},
};
use crate::outcome::{FinalOutcome, Reason};

/// One route's messages in one lane. Nothing here waits or allocates on the usual path.
///
/// What messages come to is counted by the lane's task alone. Attempts may be counted by several tasks at once: custom
/// middleware may run the rest of the chain on a task of its own.
///
/// What a message touches are two or three lines of the processor's cache, one behind the other: a worker may have many routes, and
/// all of them messages.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct RouteCells {
    received: AtomicU64,
    done: AtomicU64,
    /// From the socket to the end of the handling, after which the acknowledgement is due.
    delivery: Histogram,
    retries: AtomicU64,
    dropped: AtomicU64,
    rejected: AtomicU64,
    discarded: AtomicU64,
    /// Attempts of the first handler: most routes have no other.
    first: Histogram,
    /// Of the others, by handler.
    others: Box<[Histogram]>,
    dead_lettered: AtomicU64,
    names: Box<[Arc<str>]>,
    /// Locked off the usual path only.
    dead_letters: Mutex<Classes>,
    discards: Mutex<Classes>,
}

impl RouteCells {
    /// For a route with handlers of these names.
    pub(crate) fn new(handlers: &[Arc<str>]) -> Self {
        let others = handlers.iter().skip(1).map(|_| Histogram::default()).collect();
        Self { others, names: handlers.into(), ..Self::default() }
    }

    /// Whether these are the names it was made for.
    pub(crate) fn are_for(&self, handlers: &[Arc<str>]) -> bool {
        *self.names == *handlers
    }

    pub(crate) fn received(&self) {
        add_alone(&self.received, 1);
    }

    /// An attempt beyond the first begins.
    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// One attempt of the `index`-th handler has ended.
    pub(crate) fn handled(&self, index: usize, took: Duration) {
        let histogram = match index {
            0 => Some(&self.first),
            _ => self.others.get(index - 1),
        };
        if let Some(histogram) = histogram {
            histogram.took(took);
        }
    }

    /// A message is to be acknowledged, or done with where nothing is owed; `took` since it was read.
    pub(crate) fn finished(&self, outcome: FinalOutcome, took: Duration) {
        add_alone(self.cell(outcome), 1);
        self.delivery.took_alone(took);
        match outcome {
            FinalOutcome::DeadLettered(class) => count(&self.dead_letters, class),
            FinalOutcome::Discarded(class) => count(&self.discards, class),
            _ => {}
        }
    }

    fn cell(&self, outcome: FinalOutcome) -> &AtomicU64 {
        match outcome {
            FinalOutcome::Done => &self.done,
            FinalOutcome::Dropped(_) => &self.dropped,
            FinalOutcome::Rejected(_) => &self.rejected,
            FinalOutcome::DeadLettered(_) => &self.dead_lettered,
            FinalOutcome::Discarded(_) => &self.discarded,
        }
    }

    /// Everything so far.
    pub(crate) fn totals(&self) -> RouteTotals {
        let handlers = self.names.iter().zip(iter::once(&self.first).chain(&self.others));
        RouteTotals {
            received: self.received.load(Relaxed),
            retries: self.retries.load(Relaxed),
            done: self.done.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            dead_lettered: self.dead_lettered.load(Relaxed),
            discarded: self.discarded.load(Relaxed),
            dead_letters: classes(&self.dead_letters),
            discards: classes(&self.discards),
            delivery: self.delivery.distribution(),
            handlers: handlers.map(|(name, it)| (Arc::clone(name), it.distribution())).collect(),
        }
    }
}

fn count(classes: &Mutex<Classes>, class: Reason) {
    *classes.lock().unwrap_or_else(PoisonError::into_inner).entry(class).or_default() += 1;
}

fn classes(classes: &Mutex<Classes>) -> Classes {
    classes.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The names of a route's handlers as labels: their kind, or what custom code is registered as; the second of a name gets
/// `-2`, and so on.
pub(crate) fn handler_names(handlers: &[Handler]) -> Vec<Arc<str>> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let names = handlers.iter().map(|handler| {
        let name = name(handler);
        let times = seen.entry(name).or_default();
        *times += 1;
        if *times == 1 { Arc::from(name) } else { Arc::from(format!("{name}-{times}")) }
    });
    names.collect()
}

fn name(handler: &Handler) -> &str {
    match &handler.action {
        Action::Log { .. } => "log",
        Action::Publish(_) => "publish",
        Action::Reply { .. } => "reply",
        Action::Insert(_) | Action::Statement(_) => "sql",
        Action::Http(_) => "http",
        Action::Custom { name, .. } => name,
    }
}

#[cfg(test)]
mod tests {
    use routemq_crds::v1alpha1::LogLevel;

    use super::*;
    use crate::testing::{custom, handler};

    #[test]
    fn handlers_of_one_kind_are_told_apart_and_custom_ones_by_their_name() {
        let log = || handler(Action::Log { level: LogLevel::Info, message: None });
        let names = handler_names(&[log(), custom("mine"), log(), log()]);
        assert_eq!(names, ["log", "mine", "log-2", "log-3"].map(Arc::from));
    }

    /// Of what most messages touch: the outcome with the first delivery times, and the first handler's times.
    #[test]
    fn the_usual_cells_begin_lines_of_the_cache() {
        assert_eq!(std::mem::offset_of!(RouteCells, first) % 64, 0);
        assert_eq!(std::mem::offset_of!(RouteCells, received), 0);
    }

    #[test]
    fn each_handler_s_attempts_are_its_own() {
        let names = ["a", "b", "c"].map(Arc::from);
        let cells = RouteCells::new(&names);
        for index in [0, 1, 1, 2, 2, 2] {
            cells.handled(index, Duration::ZERO);
        }
        let handlers = cells.totals().handlers;
        assert_eq!(names.each_ref().map(|name| handlers[name].count()), [1, 2, 3]);
    }

    #[test]
    fn a_handler_that_is_not_known_counts_nothing() {
        let cells = RouteCells::default();
        cells.handled(3, Duration::from_secs(1));
        assert!(cells.totals().handlers.is_empty());
    }
}
