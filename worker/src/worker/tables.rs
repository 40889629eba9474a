//! The current table, and the earlier ones that are not done with yet.

use std::{sync::Arc, time::Duration};

use routemq_crds::table::{Filter, Table};
use routemq_mqtt::{ConnectionState, FilterState, QoS, SessionStatus, Subscription};
use tokio::time::Instant;

use super::overlap::Known;
use crate::engine::Engine;

/// Earlier tables that are kept: the latest, and the first of all, whose filters the broker may still hold when no
/// connection was made since.
const MOST_PREVIOUS: usize = 16;

/// What messages are matched with. Immutable: a swap makes a new one.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    /// The table to use.
    pub(crate) current: Arc<Engine>,
    /// Those before it, newest first: their gone routes stay matchable until their filters have left, and
    /// they are consulted about overlaps until `young_until`.
    pub(crate) previous: Vec<Arc<Engine>>,
    /// Until then siblings may still have an earlier table.
    young_until: Option<Instant>,
    /// Whether some that siblings may still have were forgotten before their time.
    cut: bool,
    filters: Vec<u32>,
    earlier: Vec<u32>,
}

impl Tables {
    /// The first table. Siblings may have had an earlier one until `transition` is over.
    pub(crate) fn new(engine: Arc<Engine>, transition: Duration) -> Self {
        Self::of(engine, Vec::new(), Some(Instant::now() + transition), false)
    }

    /// A new table on top of this one.
    pub(crate) fn swapped(&self, engine: Arc<Engine>, transition: Duration) -> Self {
        let mut previous = vec![Arc::clone(&self.current)];
        previous.extend(self.previous.iter().cloned());
        let cut = previous.len() > MOST_PREVIOUS;
        if cut {
            previous.remove(MOST_PREVIOUS - 1);
        }
        Self::of(engine, previous, Some(Instant::now() + transition), self.cut || cut)
    }

    fn of(
        current: Arc<Engine>,
        previous: Vec<Arc<Engine>>,
        young_until: Option<Instant>,
        cut: bool,
    ) -> Self {
        let filters = identifiers(current.table().filters.iter());
        let earlier = identifiers(previous.iter().flat_map(|engine| &engine.table().filters));
        Self { current, previous, young_until, cut, filters, earlier }
    }

    /// Without the earlier tables, once siblings have had their time and no gone filter is left on the broker.
    /// `None`: not yet, or nothing to forget.
    pub(crate) fn aged(&self, status: &SessionStatus, now: Instant) -> Option<Self> {
        let ripe = self.young_until.is_some_and(|until| until <= now);
        (ripe && self.gone_have_left(status))
            .then(|| Self::of(Arc::clone(&self.current), Vec::new(), None, false))
    }

    /// When [`Self::aged`] is worth asking again.
    pub(crate) fn young_until(&self) -> Option<Instant> {
        self.young_until
    }

    /// Whether this connection's filters are answered for, and exactly those of the current table.
    fn gone_have_left(&self, status: &SessionStatus) -> bool {
        let wanted = subscriptions(self.current.table());
        let answered = |filter: &str| {
            status.filters.get(filter).is_some_and(|state| *state != FilterState::Pending)
        };
        matches!(status.connection, ConnectionState::Connected { .. })
            && wanted.len() == status.filters.len()
            && wanted.iter().all(|it| answered(&it.filter))
    }

    /// Whether exactly the current table's filters are held, each with an answer that is final for now: refused, or
    /// granted and settled (only granted, where there is no barrier to settle it).
    pub(crate) fn is_settled(&self, status: &SessionStatus) -> bool {
        let wanted = subscriptions(self.current.table());
        let settled = |filter: &str| match status.filters.get(filter) {
            Some(FilterState::Granted { settled, .. }) => *settled || status.no_barrier,
            Some(FilterState::Refused { .. }) => true,
            _ => false,
        };
        wanted.len() == status.filters.len() && wanted.iter().all(|it| settled(&it.filter))
    }

    /// What the session should subscribe to.
    pub(crate) fn wanted(&self) -> Vec<Subscription> {
        subscriptions(self.current.table())
    }

    /// What the overlap decision needs to know; `settled` is sorted.
    pub(crate) fn known<'a>(&'a self, settled: &'a [u32]) -> Known<'a> {
        Known {
            filters: &self.filters,
            settled,
            earlier: &self.earlier,
            young: self.young_until.is_some(),
            cut: self.cut,
        }
    }

    /// The identifiers of the filters that are granted and settled on this connection, sorted.
    pub(crate) fn settled(&self, status: &SessionStatus) -> Vec<u32> {
        let table = self.current.table();
        identifiers(table.filters.iter().filter(|filter| {
            let state = status.filters.get(&whole_filter(table, filter));
            matches!(state, Some(FilterState::Granted { settled: true, .. }))
        }))
    }
}

/// What a session of this table subscribes to.
pub(crate) fn subscriptions(table: &Table) -> Vec<Subscription> {
    let subscription = |filter: &Filter| Subscription {
        filter: whole_filter(table, filter),
        qos: quality(filter.qos),
        identifier: filter.identifier,
    };
    table.filters.iter().map(subscription).collect()
}

/// The same, as the broker is asked for them.
pub(crate) fn filters(table: &Table) -> Vec<String> {
    table.filters.iter().map(|filter| whole_filter(table, filter)).collect()
}

fn whole_filter(table: &Table, filter: &Filter) -> String {
    match &table.share {
        Some(share) => format!("$share/{share}/{}", filter.filter),
        None => filter.filter.clone(),
    }
}

fn quality(level: u8) -> QoS {
    match level {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

fn identifiers<'a>(filters: impl Iterator<Item = &'a Filter>) -> Vec<u32> {
    let mut identifiers: Vec<u32> = filters.map(|filter| filter.identifier).collect();
    identifiers.sort_unstable();
    identifiers.dedup();
    identifiers
}
