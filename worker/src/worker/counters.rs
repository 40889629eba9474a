//! What one worker has done with its messages: atomics that are summed when somebody asks.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use routemq_crds::table::Route;

use crate::metrics::{RouteCells, Totals, handler_names};

/// The counters of one worker. Each lane counts in cells of its own, so that lanes do not contend.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Locked when a table is taken up and when totals are read.
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

/// Cells by route name and lane: one for each list of handlers that the route has had.
type Cells = BTreeMap<(Arc<str>, usize), Vec<Arc<RouteCells>>>;

impl Counters {
    /// The cells of these routes, in their order, for one lane. A route that comes back goes on counting where it was.
    pub(crate) fn cells(&self, lane: usize, routes: &[Arc<Route>]) -> Vec<Arc<RouteCells>> {
        let mut known = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let cells = routes.iter().map(|route| {
            let handlers = handler_names(&route.handlers);
            let of_route = known.entry((Arc::clone(&route.name), lane)).or_default();
            if let Some(cells) = of_route.iter().find(|cells| cells.are_for(&handlers)) {
                return Arc::clone(cells);
            }
            let cells = Arc::new(RouteCells::new(&handlers));
            of_route.push(Arc::clone(&cells));
            cells
        });
        cells.collect()
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
            let sum = totals.routes.entry(Arc::clone(name)).or_default();
            for cells in cells {
                *sum += &cells.totals();
            }
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{Counters, Relaxed, Route, Totals};
    use crate::{
        outcome::{FinalOutcome, class},
        testing::{bed, custom},
    };

    fn route(handlers: &[&str]) -> Arc<Route> {
        let mut route = bed("a").route;
        route.handlers = handlers.iter().map(|name| custom(name)).collect();
        Arc::new(route)
    }

    fn counted() -> Totals {
        let counters = Counters::default();
        for lane in 0..2 {
            let cells = counters.cells(lane, &[route(&["one"])]);
            cells[0].received();
            cells[0].finished(FinalOutcome::Done);
            cells[0].retried();
            cells[0].handled(0, Duration::from_millis(3));
            cells[0].finished(FinalOutcome::DeadLettered(class::ROW));
            cells[0].finished(FinalOutcome::Discarded(class::TIMEOUT));
            cells[0].delivered(Duration::from_millis(4));
        }
        counters.owed.store(5, Relaxed);
        counters.settled.store(4, Relaxed);
        counters.totals()
    }

    #[test]
    fn lanes_are_summed_by_route_class_and_handler() {
        let totals = counted();
        let route = &totals.routes["route"];
        assert_eq!((route.received, route.done, route.dead_lettered), (2, 2, 2));
        assert_eq!((route.retries, route.delivery.count()), (2, 2));
        assert_eq!(route.dead_letters, [(class::ROW, 2)].into());
        assert_eq!(route.discards, [(class::TIMEOUT, 2)].into());
        assert_eq!(route.handlers["one"].count(), 2);
        assert_eq!(totals.handled(), 6);
    }

    #[test]
    fn workers_are_summed_and_told_in_one_line() {
        let mut totals = counted();
        totals += &counted();
        assert_eq!(
            totals.to_string(),
            "4 done, 4 dead-lettered, 4 discarded; 2 left to the broker"
        );
        assert_eq!(Totals::default().to_string(), "0 done");
    }

    #[test]
    fn a_route_that_comes_back_after_a_swap_goes_on_counting_and_other_handlers_count_apart() {
        let counters = Counters::default();
        for handlers in [&["one"][..], &["one", "two"], &["one"]] {
            let cells = counters.cells(0, &[route(handlers)]);
            cells[0].finished(FinalOutcome::Done);
            (0..handlers.len()).for_each(|index| cells[0].handled(index, Duration::ZERO));
        }
        let route = &counters.totals().routes["route"];
        assert_eq!((route.done, route.handlers["one"].count()), (3, 3));
        assert_eq!(route.handlers["two"].count(), 1);
    }
}
