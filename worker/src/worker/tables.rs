//! The current table, and the earlier ones that are not done with yet.

use std::{sync::Arc, time::Duration};

use routemq_crds::table::{Filter, Table};
use routemq_mqtt::{ConnectionState, FilterState, QoS, SessionStatus, Subscription};
use tokio::time::Instant;

use super::{handling::Ready, overlap::Known};

/// Earlier tables that are kept: the latest, and the first of all, whose filters the broker may still hold when no
/// connection was made since.
const MOST_PREVIOUS: usize = 16;

/// What messages are matched with. Immutable: a swap makes a new one.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    /// The table to use.
    pub(crate) current: Arc<Ready>,
    /// Those before it, newest first: their gone routes stay matchable until their filters have left, and
    /// they are consulted about overlaps until `young_until`.
    pub(crate) previous: Vec<Arc<Ready>>,
    /// Until then siblings may still have an earlier table.
    young_until: Option<Instant>,
    /// Whether some that siblings may still have were forgotten before their time.
    cut: bool,
    /// The identifiers of filters that only earlier tables have, sorted.
    earlier: Vec<u32>,
}

impl Tables {
    /// The first table. Siblings may have had an earlier one until `transition` is over.
    pub(crate) fn new(ready: Arc<Ready>, transition: Duration) -> Self {
        Self::of(ready, Vec::new(), Some(Instant::now() + transition), false)
    }

    /// A new table on top of this one.
    pub(crate) fn swapped(&self, ready: Arc<Ready>, transition: Duration) -> Self {
        let mut previous = vec![Arc::clone(&self.current)];
        previous.extend(self.previous.iter().cloned());
        let cut = previous.len() > MOST_PREVIOUS;
        if cut {
            previous.remove(MOST_PREVIOUS - 1);
        }
        Self::of(ready, previous, Some(Instant::now() + transition), self.cut || cut)
    }

    fn of(
        current: Arc<Ready>,
        previous: Vec<Arc<Ready>>,
        young_until: Option<Instant>,
        cut: bool,
    ) -> Self {
        let earlier = earlier(&current, &previous);
        Self { current, previous, young_until, cut, earlier }
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
        matches!(status.connection, ConnectionState::Connected { .. })
            && self.holds_exactly(status, |state| *state != FilterState::Pending)
    }

    /// Whether exactly the current table's filters are held, each with an answer that is final for now: refused, or
    /// granted and settled (only granted, where there is no barrier to settle it).
    pub(crate) fn is_settled(&self, status: &SessionStatus) -> bool {
        self.holds_exactly(status, |state| match state {
            FilterState::Granted { settled, .. } => *settled || status.no_barrier,
            FilterState::Refused { .. } => true,
            FilterState::Pending | FilterState::Leaving => false,
        })
    }

    /// Whether `status` names the current table's filters and no others, all in such a state. Both are sorted.
    fn holds_exactly(&self, status: &SessionStatus, is: impl Fn(&FilterState) -> bool) -> bool {
        let wanted = &self.current.wanted;
        wanted.len() == status.filters.len()
            && wanted
                .iter()
                .zip(&*status.filters)
                .all(|(wanted, (filter, state))| wanted.filter == *filter && is(state))
    }

    /// What the session should subscribe to, by whole filter.
    pub(crate) fn wanted(&self) -> Arc<[Subscription]> {
        Arc::clone(&self.current.wanted)
    }

    /// Whether the session should subscribe to just what it should with `other`: then the same filters are settled.
    pub(crate) fn wants_the_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.current.wanted, &other.current.wanted)
    }

    /// Whether messages may come by several filters.
    pub(crate) fn overlaps(&self) -> bool {
        self.current.overlaps
    }

    /// What the overlap decision needs to know; `settled` is sorted.
    pub(crate) fn known<'a>(&'a self, settled: &'a [u32]) -> Known<'a> {
        Known {
            filters: &self.current.identifiers,
            settled,
            earlier: &self.earlier,
            young: self.young_until.is_some(),
            cut: self.cut,
        }
    }

    /// The identifiers of the filters that are granted and settled on this connection, sorted.
    pub(crate) fn settled(&self, status: &SessionStatus) -> Vec<u32> {
        let settled =
            |state: &FilterState| matches!(state, FilterState::Granted { settled: true, .. });
        let held = with_states(&self.current.wanted, status)
            .filter(|(_, state)| state.is_some_and(settled));
        sorted(held.map(|(wanted, _)| wanted.identifier))
    }
}

/// The identifiers of filters that `current` does not have, sorted.
fn earlier(current: &Ready, previous: &[Arc<Ready>]) -> Vec<u32> {
    // A table with the same filters, which is most of them, has none.
    let others = previous.iter().filter(|it| it.identifiers != current.identifiers);
    let unknown = |id: &u32| current.identifiers.binary_search(id).is_err();
    sorted(others.flat_map(|it| &it.identifiers).copied().filter(unknown))
}

/// What a session of this table subscribes to, sorted by filter.
pub(crate) fn subscriptions(table: &Table) -> Vec<Subscription> {
    let subscription = |filter: &Filter| Subscription {
        filter: whole_filter(table, filter).into(),
        qos: quality(filter.qos),
        identifier: filter.identifier,
    };
    let mut wanted: Vec<_> = table.filters.iter().map(subscription).collect();
    wanted.sort_by(|one, other| one.filter.cmp(&other.filter));
    wanted
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

/// Each of `wanted`, which is sorted, with what `status` says of it: one walk through both, because there may be many.
pub(crate) fn with_states<'a>(
    wanted: &'a [Subscription],
    status: &'a SessionStatus,
) -> impl Iterator<Item = (&'a Subscription, Option<&'a FilterState>)> {
    let mut held = status.filters.iter().peekable();
    wanted.iter().map(move |wanted| {
        while held.next_if(|(filter, _)| **filter < wanted.filter).is_some() {}
        let state = held.peek().filter(|(filter, _)| **filter == wanted.filter);
        (wanted, state.map(|(_, state)| *state))
    })
}

fn sorted(identifiers: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut identifiers: Vec<u32> = identifiers.collect();
    identifiers.sort_unstable();
    identifiers.dedup();
    identifiers
}
