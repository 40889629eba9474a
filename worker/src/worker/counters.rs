//! What a worker has done with its messages: atomics that are summed when somebody asks.

use std::{
    collections::BTreeMap,
    fmt,
    ops::AddAssign,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::outcome::{FinalOutcome, Reason};

/// The counters of one worker. Each lane counts in cells of its own, so that lanes do not contend.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// By route and lane. Locked when a table is taken up and when totals are read.
    routes: Mutex<Cells>,
    /// Copies that another copy makes needless.
    pub(crate) overlap: AtomicU64,
    /// Messages without a route.
    pub(crate) unmatched: AtomicU64,
    /// QoS 0 messages dropped because too much was waiting.
    pub(crate) overflow: AtomicU64,
    /// Messages handed to the lanes that were still owed an acknowledgement.
    pub(crate) owed: AtomicU64,
    /// Of those: finished.
    pub(crate) settled: AtomicU64,
    /// Of those: given back because the broker sends them again on the next connection.
    pub(crate) returned: AtomicU64,
}

/// Cells by route name and lane.
type Cells = BTreeMap<(Arc<str>, usize), Arc<RouteCells>>;

/// One route's messages in one lane.
#[derive(Debug, Default)]
pub(crate) struct RouteCells {
    received: AtomicU64,
    retries: AtomicU64,
    done: AtomicU64,
    dropped: AtomicU64,
    rejected: AtomicU64,
    discarded: AtomicU64,
    dead_lettered: AtomicU64,
    /// Classes of what was dead-lettered or discarded. Locked off the usual path only.
    classes: Mutex<BTreeMap<Reason, u64>>,
}

/// One route's messages, by how they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTotals {
    /// Handed to a lane.
    pub received: u64,
    /// Attempts beyond each message's first.
    pub retries: u64,
    /// Every handler did its work.
    pub done: u64,
    /// A rule says that nothing is to be done.
    pub dropped: u64,
    /// Not welcome.
    pub rejected: u64,
    /// In the dead letter topic.
    pub dead_lettered: u64,
    /// Given up without a dead letter topic.
    pub discarded: u64,
    /// Of what was dead-lettered or discarded: by class.
    pub classes: BTreeMap<Reason, u64>,
}

/// What one worker, or several together, did with messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// By route name.
    pub routes: BTreeMap<Arc<str>, RouteTotals>,
    /// Copies acknowledged without work, because another copy of the message is handled.
    pub overlap: u64,
    /// Acknowledged: no route matches.
    pub unmatched: u64,
    /// QoS 0 messages dropped because too much was waiting.
    pub overflow: u64,
    /// QoS 1 and 2 messages taken and not finished (yet); after a stop: left to the broker.
    pub unfinished: u64,
    /// QoS 1 and 2 messages given back unstarted after a lost connection: the broker sent them again.
    pub returned: u64,
}

// === impl Counters ===

impl Counters {
    /// The cells of the routes `names`, in that order, for one lane.
    pub(crate) fn cells<'a>(
        &self,
        lane: usize,
        names: impl Iterator<Item = &'a Arc<str>>,
    ) -> Vec<Arc<RouteCells>> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        names.map(|name| Arc::clone(routes.entry((Arc::clone(name), lane)).or_default())).collect()
    }

    /// Everything so far.
    pub(crate) fn totals(&self) -> Totals {
        let returned = self.returned.load(Relaxed);
        let ended = self.settled.load(Relaxed) + returned;
        let mut totals = Totals {
            overlap: self.overlap.load(Relaxed),
            unmatched: self.unmatched.load(Relaxed),
            overflow: self.overflow.load(Relaxed),
            unfinished: self.owed.load(Relaxed).saturating_sub(ended),
            returned,
            routes: BTreeMap::new(),
        };
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        for ((name, _), cells) in routes.iter() {
            *totals.routes.entry(Arc::clone(name)).or_default() += cells.totals();
        }
        totals
    }
}

// === impl RouteCells ===

impl RouteCells {
    pub(crate) fn received(&self) {
        self.received.fetch_add(1, Relaxed);
    }

    pub(crate) fn finished(&self, outcome: FinalOutcome, attempts: u32) {
        if attempts > 1 {
            self.retries.fetch_add(u64::from(attempts - 1), Relaxed);
        }
        self.cell(outcome).fetch_add(1, Relaxed);
        if let FinalOutcome::DeadLettered(class) | FinalOutcome::Discarded(class) = outcome {
            let mut classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
            *classes.entry(class).or_default() += 1;
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

    fn totals(&self) -> RouteTotals {
        RouteTotals {
            received: self.received.load(Relaxed),
            retries: self.retries.load(Relaxed),
            done: self.done.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            dead_lettered: self.dead_lettered.load(Relaxed),
            discarded: self.discarded.load(Relaxed),
            classes: self.classes.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

// === Sums ===

impl RouteTotals {
    /// Messages whose outcome is final.
    pub fn handled(&self) -> u64 {
        self.done + self.dropped + self.rejected + self.dead_lettered + self.discarded
    }
}

impl Totals {
    /// All routes together.
    pub fn all_routes(&self) -> RouteTotals {
        let mut sum = RouteTotals::default();
        for route in self.routes.values() {
            sum += route.clone();
        }
        sum
    }

    /// Messages whose outcome is final, over all routes.
    pub fn handled(&self) -> u64 {
        self.routes.values().map(RouteTotals::handled).sum()
    }
}

impl AddAssign for RouteTotals {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.retries += other.retries;
        self.done += other.done;
        self.dropped += other.dropped;
        self.rejected += other.rejected;
        self.dead_lettered += other.dead_lettered;
        self.discarded += other.discarded;
        for (class, count) in other.classes {
            *self.classes.entry(class).or_default() += count;
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        for (name, route) in other.routes {
            *self.routes.entry(name).or_default() += route;
        }
        self.overlap += other.overlap;
        self.unmatched += other.unmatched;
        self.overflow += other.overflow;
        self.unfinished += other.unfinished;
        self.returned += other.returned;
    }
}

/// One line for people: `1204 done, 3 rejected, 1 dead-lettered; 2 left to the broker`.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all_routes();
        write!(f, "{} done", all.done)?;
        let rest = [
            (all.dropped, "dropped"),
            (all.rejected, "rejected"),
            (all.dead_lettered, "dead-lettered"),
            (all.discarded, "discarded"),
            (self.overlap, "overlap"),
            (self.unmatched, "unmatched"),
            (self.overflow, "dropped at QoS 0 for want of room"),
        ];
        for (count, word) in rest.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {word}")?;
        }
        if self.unfinished > 0 {
            write!(f, "; {} left to the broker", self.unfinished)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Counters, Relaxed, Totals};
    use crate::outcome::{FinalOutcome, class};

    fn counted() -> Totals {
        let counters = Counters::default();
        let name: Arc<str> = Arc::from("control");
        for lane in 0..2 {
            let cells = counters.cells(lane, std::iter::once(&name));
            cells[0].received();
            cells[0].finished(FinalOutcome::Done, 1);
            cells[0].finished(FinalOutcome::DeadLettered(class::ROW), 3);
        }
        counters.owed.store(5, Relaxed);
        counters.settled.store(4, Relaxed);
        counters.totals()
    }

    #[test]
    fn lanes_are_summed_by_route_and_class() {
        let totals = counted();
        let route = &totals.routes["control"];
        assert_eq!((route.received, route.done, route.dead_lettered), (2, 2, 2));
        assert_eq!(route.retries, 4);
        assert_eq!(route.classes[class::ROW], 2);
        assert_eq!(totals.handled(), 4);
    }

    #[test]
    fn workers_are_summed_and_told_in_one_line() {
        let mut totals = counted();
        totals += counted();
        assert_eq!(totals.to_string(), "4 done, 4 dead-lettered; 2 left to the broker");
        assert_eq!(Totals::default().to_string(), "0 done");
    }

    #[test]
    fn a_route_that_comes_back_after_a_swap_goes_on_counting() {
        let counters = Counters::default();
        let name: Arc<str> = Arc::from("control");
        for _ in 0..2 {
            counters.cells(0, std::iter::once(&name))[0].finished(FinalOutcome::Done, 1);
        }
        assert_eq!(counters.totals().routes["control"].done, 2);
    }
}
