//! The receiving side: runs on the socket task, matches each message and hands it to a lane.
//!
//! # Flow
//! 1. Once a turn, what changed since the last is taken up: a swapped table, the state of the subscriptions.
//! 2. Each message is matched, and the overlap decision made (see `overlap`).
//! 3. Its order key chooses the lane; at the end of the turn each lane gets one batch.
//!
//! # Guarantees
//! - Nothing here waits, and no message takes a lock.
//! - Messages of one order key reach the same lane in receive order, also across a swap.
//! - Every message owed an acknowledgement is handed to a lane or acknowledged here.

use std::{
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use routemq_mqtt::{AckToken, Acks, Arrival, Delivery, Receiver, SessionStatus};
use smallvec::SmallVec;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    counters::Counters,
    feeds::{Batch, Feeds, Turn, Unowed},
    handling::Ready,
    overlap::{Decision, decide, is_the_copy},
    shard::Command,
    tables::Tables,
};
use crate::engine::Found;

/// The session's status, once there is a session.
pub(crate) type StatusCell = Arc<OnceLock<watch::Receiver<SessionStatus>>>;

/// Hands messages to lanes.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    swaps: watch::Receiver<Arc<Tables>>,
    tables: Arc<Tables>,
    status: StatusCell,
    /// A reader of `status` of its own.
    reader: Option<watch::Receiver<SessionStatus>>,
    settled: Vec<u32>,
    /// Until then siblings may have an older table than the first one here, so nothing is settled.
    doubts_until: Option<Instant>,
    /// What the session counted when `settled` was last made.
    settlements: u64,
    out: Feeds,
    acks: Acks,
    needless: Vec<AckToken>,
    counters: Arc<Counters>,
    unowed: Arc<Unowed>,
    turn: Option<Turn>,
    /// QoS 0 messages were dropped for want of room.
    flooded: bool,
    /// The first connection of the session that the broker has.
    session_began: u32,
}

/// What a dispatcher works with.
#[derive(Debug)]
pub(crate) struct Wiring {
    /// The tables; a swap sends new ones.
    pub(crate) swaps: watch::Receiver<Arc<Tables>>,
    /// Filled when the session is there.
    pub(crate) status: StatusCell,
    /// At least one.
    pub(crate) lanes: Vec<mpsc::UnboundedSender<Command<Batch>>>,
    /// The session's.
    pub(crate) acks: Acks,
    /// The worker's.
    pub(crate) counters: Arc<Counters>,
    /// Shared with the lanes.
    pub(crate) unowed: Arc<Unowed>,
    /// Until when siblings may have an older table than the first one here; `None`: none has.
    pub(crate) doubts_until: Option<Instant>,
}

impl Dispatcher {
    pub(crate) fn new(wiring: Wiring) -> Self {
        let Wiring { mut swaps, status, lanes, acks, counters, unowed, doubts_until } = wiring;
        let tables = Arc::clone(&swaps.borrow_and_update());
        Self {
            swaps,
            out: Feeds::new(lanes, &tables.current),
            tables,
            status,
            reader: None,
            settled: Vec::new(),
            doubts_until,
            settlements: 0,
            acks,
            needless: Vec::new(),
            counters,
            unowed,
            turn: None,
            flooded: false,
            session_began: 0,
        }
    }

    /// The turn under way; the first message of a turn begins it.
    fn turn(&mut self) -> Turn {
        if let Some(turn) = self.turn {
            return turn;
        }
        self.take_up_changes();
        let finished = (self.unowed.messages.load(Relaxed), self.unowed.bytes.load(Relaxed));
        let turn = Turn { time: SystemTime::now(), at: Instant::now(), finished };
        self.turn = Some(turn);
        turn
    }

    fn take_up_changes(&mut self) {
        if self.reader.is_none() {
            self.reader = self.status.get().cloned();
            self.reader.iter_mut().for_each(watch::Receiver::mark_changed);
        }
        let swapped = self.swaps.has_changed().unwrap_or(false);
        let mut filters_changed = false;
        if swapped {
            let tables = Arc::clone(&self.swaps.borrow_and_update());
            filters_changed = !tables.wants_the_same(&self.tables);
            self.tables = tables;
        }
        let certain = self.doubts_until.is_some_and(|until| until <= Instant::now());
        if certain {
            self.doubts_until = None;
        }
        let Some(reader) = &mut self.reader else { return };
        if !filters_changed && !certain && !reader.has_changed().unwrap_or(false) {
            return;
        }
        let status = reader.borrow_and_update();
        // Answers alone settle nothing, and there may be many.
        if filters_changed || certain || status.settlements != self.settlements {
            self.settlements = status.settlements;
            self.settled = settled(&self.tables, &status, self.doubts_until.is_some());
        }
    }

    fn tell_lanes(&mut self, command: impl Fn() -> Command<Batch>) {
        self.flush();
        self.out.tell(command);
    }
}

impl Receiver for Dispatcher {
    fn deliver(&mut self, delivery: Delivery<'_>) {
        let turn = self.turn();
        let token = delivery.token;
        let Some(room) = self.out.room(turn, &delivery) else {
            self.counters.overflow.fetch_add(1, Relaxed);
            self.flooded = true;
            return;
        };
        let needless = match place(&self.tables, &self.settled, &delivery.arrival) {
            Placed::With(ready, found) => {
                return self.out.hand_over(ready, delivery, found, turn, room);
            }
            Placed::Overlap => &self.counters.overlap,
            Placed::Unmatched => &self.counters.unmatched,
        };
        needless.fetch_add(1, Relaxed);
        self.needless.extend(token);
    }

    fn flush(&mut self) {
        if let Some(turn) = self.turn.take() {
            self.out.end_turn(turn);
        }
        if self.out.owed > 0 {
            self.counters.owed.fetch_add(std::mem::take(&mut self.out.owed), Relaxed);
        }
        if !self.needless.is_empty() {
            self.acks.done_all(&self.needless);
            self.needless.clear();
        }
    }

    fn is_flooded(&mut self) -> bool {
        std::mem::take(&mut self.flooded)
    }

    fn connected(&mut self, epoch: u32, session_present: bool) {
        if !session_present {
            self.session_began = epoch;
        }
        let again = self.session_began..epoch;
        self.tell_lanes(|| Command::Found(again.clone()));
    }

    /// What was settled on the lost connection is in doubt on the next, until its own barrier.
    fn disconnected(&mut self, _epoch: u32) {
        self.settled.clear();
        self.settlements = 0;
        self.tell_lanes(|| Command::Lost);
    }
}

/// Where a message goes.
enum Placed<'a> {
    With(&'a Arc<Ready>, Found),
    Overlap,
    Unmatched,
}

fn place<'a>(tables: &'a Tables, settled: &[u32], arrival: &Arrival<'_>) -> Placed<'a> {
    let find = |ready: &Arc<Ready>| ready.engine.find(arrival.topic);
    let copy = &arrival.subscriptions;
    let found = find(&tables.current);
    let current = found.as_ref().map(|found| tables.current.engine.identifier(found.route));
    // Earlier tables are asked only where the current one does not settle it.
    let winner = |ready: &Arc<Ready>| Some(ready.engine.identifier(find(ready)?.route));
    let asked = if is_the_copy(copy, current) { &[] } else { tables.previous.as_slice() };
    let previous: SmallVec<[Option<u32>; 4]> = asked.iter().map(winner).collect();
    let (ready, found) = match decide(copy, current, &previous, tables.known(settled)) {
        Decision::Current => (&tables.current, found),
        Decision::Previous(index) => (&tables.previous[index], find(&tables.previous[index])),
        Decision::Overlap => return Placed::Overlap,
        Decision::Unmatched => return Placed::Unmatched,
    };
    found.map_or(Placed::Unmatched, |found| Placed::With(ready, found))
}

/// The filters whose winner's copy somebody is certain to handle.
fn settled(tables: &Tables, status: &SessionStatus, doubts: bool) -> Vec<u32> {
    if doubts { Vec::new() } else { tables.settled(status) }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, sync::Arc, time::Duration};

    use bytes::Bytes;
    use routemq_crds::document::Documents;
    use routemq_mqtt::{ConnectionState, FilterState, QoS, SubscriptionIds};

    use super::{Arrival, Instant, Placed, Ready, SessionStatus, Tables, place};
    use crate::{
        engine::{Engine, Resources},
        outbox::Outbox,
        registry::Registry,
        worker::tables::subscriptions,
    };

    const NARROW: (&str, &str) = ("narrow", "d/{id}");
    const WIDE: (&str, &str) = ("wide", "d/{rest...}");
    const SECOND: Duration = Duration::from_secs(1);

    async fn engine(routes: &[(&str, &str)]) -> Arc<Engine> {
        let mut yaml = "apiVersion: routemq.io/v1alpha1\nkind: MqttRoute\n\
            metadata: {name: devices, namespace: fleet}\nspec:\n  routes:\n"
            .to_owned();
        for (name, topic) in routes {
            let _ = writeln!(
                yaml,
                "    - {{name: {name}, topic: \"{topic}\", handlers: [{{log: {{}}}}]}}"
            );
        }
        let tables = Documents::parse("test.yaml", yaml).unwrap().compile().unwrap();
        let resources = Resources::new(Outbox::memory());
        let table = tables.into_iter().next().unwrap().object;
        Arc::new(Engine::build(table, &Registry::new(), resources).await.unwrap())
    }

    fn ready(engine: &Arc<Engine>) -> Arc<Ready> {
        Ready::new(Arc::clone(engine), &Arc::default(), 1, None)
    }

    /// A connection that holds every filter of `engine`, in this state.
    fn holding(engine: &Engine, state: &FilterState) -> SessionStatus {
        let filters = subscriptions(engine.table()).into_iter();
        SessionStatus {
            connection: ConnectionState::Connected { session_present: true, identifiers: true },
            filters: Arc::new(filters.map(|it| (it.filter, state.clone())).collect()),
            ..SessionStatus::default()
        }
    }

    const SETTLED: FilterState = FilterState::Granted { qos: QoS::AtLeastOnce, settled: true };

    fn identifier(engine: &Engine, filter: &str) -> u32 {
        engine.table().filters.iter().find(|it| it.filter == filter).unwrap().identifier
    }

    /// The route that a copy to `d/1` by this filter goes to.
    fn routed(tables: &Tables, settled: &[u32], came_by: u32) -> String {
        let mut subscriptions = SubscriptionIds::default();
        subscriptions.push(came_by);
        let arrival = Arrival {
            read: &Bytes::new(),
            topic: "d/1",
            payload: b"x",
            qos: QoS::AtLeastOnce,
            retain: false,
            duplicate: false,
            subscriptions,
            properties: None,
        };
        match place(tables, settled, &arrival) {
            Placed::With(ready, found) => ready.engine.table().routes[found.route].name.to_string(),
            Placed::Overlap => "overlap".to_owned(),
            Placed::Unmatched => "unmatched".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_copy_is_left_out_only_while_the_winners_filter_is_settled() {
        let both = engine(&[NARROW, WIDE]).await;
        let tables = Tables::new(ready(&both), SECOND);
        let (plus, hash) = (identifier(&both, "d/+"), identifier(&both, "d/#"));
        let settled = tables.settled(&holding(&both, &SETTLED));
        let pending = tables.settled(&holding(&both, &FilterState::Pending));
        assert_eq!(routed(&tables, &settled, plus), "narrow");
        assert_eq!(routed(&tables, &settled, hash), "overlap");
        let doubtful = super::settled(&tables, &holding(&both, &SETTLED), true);
        assert_eq!(routed(&tables, &doubtful, hash), "narrow", "a sibling may leave out the other");
        assert_eq!(routed(&tables, &pending, hash), "narrow");
    }

    #[tokio::test]
    async fn a_gone_route_stays_matchable_until_its_filter_has_left() {
        let (narrow, wide) = (engine(&[NARROW]).await, engine(&[WIDE]).await);
        let tables = Tables::new(ready(&narrow), SECOND).swapped(ready(&wide), SECOND);
        let (plus, hash) = (identifier(&narrow, "d/+"), identifier(&wide, "d/#"));
        let calm = holding(&wide, &SETTLED);
        let mut leaving = calm.clone();
        let gone = holding(&narrow, &FilterState::Leaving).filters;
        Arc::make_mut(&mut leaving.filters).extend((*gone).clone());
        let later = Instant::now() + 2 * SECOND;

        assert_eq!(routed(&tables, &tables.settled(&calm), plus), "narrow");
        assert_eq!(routed(&tables, &tables.settled(&calm), hash), "wide");
        assert!(tables.aged(&leaving, later).is_none(), "its filter has not left");
        assert!(tables.aged(&calm, Instant::now()).is_none(), "siblings may have the old table");
        let aged = tables.aged(&calm, later).unwrap();
        assert_eq!(routed(&aged, &aged.settled(&calm), plus), "overlap");
    }

    #[tokio::test]
    async fn a_gone_route_without_an_heir_is_unmatched_in_the_end() {
        let (narrow, other) = (engine(&[NARROW]).await, engine(&[("other", "e/{id}")]).await);
        let tables = Tables::new(ready(&narrow), SECOND).swapped(ready(&other), SECOND);
        let plus = identifier(&narrow, "d/+");
        assert_eq!(routed(&tables, &[], plus), "narrow");
        let aged = tables.aged(&holding(&other, &SETTLED), Instant::now() + 2 * SECOND).unwrap();
        assert_eq!(routed(&aged, &[], plus), "unmatched");
    }

    #[tokio::test]
    async fn a_disconnected_session_forgets_no_table() {
        let (narrow, wide) = (engine(&[NARROW]).await, engine(&[WIDE]).await);
        let tables = Tables::new(ready(&narrow), SECOND).swapped(ready(&wide), SECOND);
        let away = SessionStatus {
            connection: ConnectionState::Connecting,
            ..holding(&wide, &FilterState::Pending)
        };
        assert!(tables.aged(&away, Instant::now() + 2 * SECOND).is_none());
    }

    #[tokio::test]
    async fn tables_that_change_without_a_connection_are_bounded_and_the_first_one_is_kept() {
        let narrow = engine(&[NARROW]).await;
        let other = engine(&[("other", "e/{id}")]).await;
        let mut tables = Tables::new(ready(&narrow), SECOND);
        for _ in 0..100 {
            tables = tables.swapped(ready(&other), SECOND);
        }
        assert_eq!(tables.previous.len(), 16);
        assert_eq!(routed(&tables, &[], identifier(&narrow, "d/+")), "narrow");
    }
}
