//! What one worker has done with its messages: atomics that are summed when somebody asks.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use routemq_crds::table::{Route, Table};

use crate::{
    engine::Books,
    metrics::{Distribution, RouteCells, RouteTotals, Totals, handler_names},
};

/// Routes without a message are told of while a worker has no more routes than this: of tens of thousands, which nobody looks at,
/// each scrape would have hundreds of megabytes.
const MOST_IDLE: usize = 1000;

/// The counters of one worker. Each lane counts in cells of its own, so that lanes do not contend.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// By route name, the handlers that it has had: told also where nothing was counted, up to [`MOST_IDLE`]. Locked when a table is
    /// taken up and when totals are read.
    handlers: Mutex<BTreeMap<Arc<str>, Vec<Arc<str>>>>,
    /// Locked at a route's first message in a lane, and for a copy of the list when totals are read: not while anything is summed, or
    /// a table taken up, which may have many routes.
    cells: Mutex<Cells>,
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

/// What one lane counts of a table's routes. Cells are made at a route's first message in the lane: a worker may have many
/// routes, and as many lanes as processors.
#[derive(Debug)]
pub(crate) struct LaneCells {
    counters: Arc<Counters>,
    table: Arc<Table>,
    lane: usize,
    cells: Box<[OnceLock<Arc<RouteCells>>]>,
}

impl Books for LaneCells {
    fn of(&self, index: usize) -> &RouteCells {
        let make = || self.counters.cells(self.lane, &self.table.routes[index]);
        self.cells[index].get_or_init(make)
    }
}

impl Counters {
    /// A table is taken up: its routes are told of from now on.
    pub(crate) fn take_up(&self, routes: &[Arc<Route>]) {
        let mut told = lock(&self.handlers);
        for route in routes {
            let names = handler_names(&route.handlers);
            match told.entry(Arc::clone(&route.name)) {
                Entry::Vacant(new) => _ = new.insert(names),
                Entry::Occupied(mut known) => {
                    let known = known.get_mut();
                    let more = names.into_iter().filter(|name| !known.contains(name));
                    known.extend(more.collect::<Vec<_>>());
                }
            }
        }
    }

    /// What `lane` counts of a table.
    pub(crate) fn lane(self: &Arc<Self>, lane: usize, table: &Arc<Table>) -> LaneCells {
        let cells = table.routes.iter().map(|_| OnceLock::new()).collect();
        LaneCells { counters: Arc::clone(self), table: Arc::clone(table), lane, cells }
    }

    /// The cells of a route for one lane. A route that comes back goes on counting where it was.
    fn cells(&self, lane: usize, route: &Route) -> Arc<RouteCells> {
        let handlers = handler_names(&route.handlers);
        let mut known = lock(&self.cells);
        let of_route = known.entry((Arc::clone(&route.name), lane)).or_default();
        if let Some(cells) = of_route.iter().find(|cells| cells.are_for(&handlers)) {
            return Arc::clone(cells);
        }
        let cells = Arc::new(RouteCells::new(&handlers));
        of_route.push(Arc::clone(&cells));
        cells
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
        self.add_idle(&mut totals);
        for (name, cells) in self.all_cells() {
            *totals.routes.entry(name).or_default() += &cells.totals();
        }
        totals
    }

    fn add_idle(&self, totals: &mut Totals) {
        let handlers = lock(&self.handlers);
        if handlers.len() > MOST_IDLE {
            return;
        }
        for (name, handlers) in handlers.iter() {
            let zero = handlers.iter().map(|it| (Arc::clone(it), Distribution::default()));
            let zero = RouteTotals { handlers: zero.collect(), ..RouteTotals::default() };
            totals.routes.insert(Arc::clone(name), zero);
        }
    }

    /// Of all lanes. A lane that counts a route's first message waits for no more than this copy.
    fn all_cells(&self) -> Vec<(Arc<str>, Arc<RouteCells>)> {
        let known = lock(&self.cells);
        let of_route = known.iter().flat_map(|((name, _), cells)| {
            cells.iter().map(move |cells| (Arc::clone(name), Arc::clone(cells)))
        });
        of_route.collect()
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{Counters, MOST_IDLE, Relaxed, Route, Totals};
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
            let cells = counters.cells(lane, &route(&["one"]));
            cells.received();
            cells.finished(FinalOutcome::Done, Duration::from_millis(4));
            cells.retried();
            cells.handled(0, Duration::from_millis(3));
            let took = Duration::from_millis(4);
            cells.finished(FinalOutcome::DeadLettered(class::ROW), took);
            cells.finished(FinalOutcome::Discarded(class::TIMEOUT), took);
        }
        counters.owed.store(5, Relaxed);
        counters.settled.store(4, Relaxed);
        counters.totals()
    }

    #[test]
    fn a_route_is_told_before_its_first_message_and_counts_from_it_on() {
        let (counters, route) = (Arc::new(Counters::default()), route(&["one"]));
        counters.take_up(&[Arc::clone(&route)]);
        let told = |counters: &Counters| {
            let route = &counters.totals().routes["route"];
            (route.received, route.handlers["one"].count())
        };
        assert_eq!(told(&counters), (0, 0));
        let cells = counters.cells(0, &route);
        for _ in 0..2 {
            cells.received();
            cells.handled(0, Duration::ZERO);
        }
        assert_eq!(told(&counters), (2, 2));
    }

    #[test]
    fn routes_without_a_message_are_not_told_of_where_there_are_very_many() {
        let counters = Counters::default();
        let mut busy = (*route(&["one"])).clone();
        let routes = (0..=MOST_IDLE).map(|index| {
            busy.name = format!("route-{index}").into();
            Arc::new(busy.clone())
        });
        let routes: Vec<_> = routes.collect();
        counters.take_up(&routes[1..]);
        assert_eq!(counters.totals().routes.len(), MOST_IDLE);
        counters.take_up(&routes);
        counters.cells(0, &routes[7]).received();
        assert!(counters.totals().routes.keys().eq([&Arc::from("route-7")]));
    }

    #[test]
    fn lanes_are_summed_by_route_class_and_handler() {
        let totals = counted();
        let route = &totals.routes["route"];
        assert_eq!((route.received, route.done, route.dead_lettered), (2, 2, 2));
        assert_eq!((route.retries, route.delivery.count()), (2, 6));
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
            let cells = counters.cells(0, &route(handlers));
            cells.finished(FinalOutcome::Done, Duration::ZERO);
            (0..handlers.len()).for_each(|index| cells.handled(index, Duration::ZERO));
        }
        let route = &counters.totals().routes["route"];
        assert_eq!((route.done, route.handlers["one"].count()), (3, 3));
        assert_eq!(route.handlers["two"].count(), 1);
    }
}
