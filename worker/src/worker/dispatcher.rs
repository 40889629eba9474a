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
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use bytes::Bytes;
use routemq_mqtt::{AckToken, Acks, Arrival, Delivery, Receiver, SessionStatus};
use smallvec::SmallVec;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    counters::Counters,
    handling::Ready,
    overlap::{Decision, decide, is_the_copy},
    shard::Command,
    tables::Tables,
};
use crate::{
    engine::{Found, Local},
    message::Parts,
};

/// QoS 0 messages that may wait in a worker's lanes: beyond it they are dropped and counted.
const MOST_UNOWED: u64 = 16_384;
/// Their bytes.
const MOST_UNOWED_BYTES: u64 = 32 * 1024 * 1024;
/// When more of them wait than this, those that come are copied out of the read buffer: what comes between them may be
/// dropped, so each could keep a buffer of 128 KiB in memory.
const MOST_SHARING: u64 = 256;
/// Of a read buffer.
const BUFFER_BYTES: u64 = 128 * 1024;
/// Bytes of QoS 0 messages that wait, at most, read buffers included.
pub(crate) const MOST_UNOWED_MEMORY: u64 = MOST_UNOWED_BYTES + MOST_SHARING * BUFFER_BYTES;

/// Messages for one lane, of one turn and one table.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Whose table matched them, as the lane sees it.
    pub(crate) local: Arc<Local>,
    /// What was read.
    pub(crate) read: Bytes,
    /// When.
    pub(crate) arrived: SystemTime,
    /// The same, to measure from.
    pub(crate) at: Instant,
    /// In receive order.
    pub(crate) jobs: Vec<Admitted>,
}

/// A message that belongs to a route.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Messages with the same key keep their order.
    pub(crate) key: u64,
    /// What is acknowledged in the end.
    pub(crate) token: Option<AckToken>,
    /// What it lies in, where that is not what the batch's were read into.
    pub(crate) own: Option<Box<Bytes>>,
    /// The message.
    pub(crate) parts: Parts,
}

/// QoS 0 messages that lanes are done with: what the dispatcher has handed out, less this, is waiting.
#[derive(Debug, Default)]
pub(crate) struct Unowed {
    pub(crate) messages: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// The session's status, once there is a session.
pub(crate) type StatusCell = Arc<OnceLock<watch::Receiver<SessionStatus>>>;

/// The way into one lane.
#[derive(Debug)]
struct Feed {
    lane: mpsc::UnboundedSender<Command<Batch>>,
    jobs: Vec<Admitted>,
}

/// The ways into all lanes.
#[derive(Debug)]
struct Feeds {
    lanes: Vec<Feed>,
    /// Whose messages are in them.
    filling: Arc<Ready>,
    /// What those lie in.
    read: Bytes,
    /// QoS 0 messages and bytes handed out.
    handed: (u64, u64),
    /// Messages handed out this turn that are owed an acknowledgement.
    owed: u64,
}

/// What is fixed for the messages of one turn.
#[derive(Clone, Copy, Debug)]
struct Turn {
    time: SystemTime,
    at: Instant,
    /// QoS 0 messages and bytes that lanes were done with when the turn began.
    finished: (u64, u64),
}

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
        let feed = |lane| Feed { lane, jobs: Vec::new() };
        Self {
            swaps,
            out: Feeds {
                lanes: lanes.into_iter().map(feed).collect(),
                filling: Arc::clone(&tables.current),
                read: Bytes::new(),
                handed: (0, 0),
                owed: 0,
            },
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

    /// Where a message is kept; `None`: a QoS 0 message for which there is no room.
    fn room(&self, turn: Turn, Delivery { arrival, token }: &Delivery<'_>) -> Option<Room> {
        if token.is_some() {
            return Some(Room::Shared);
        }
        let messages = self.out.handed.0.saturating_sub(turn.finished.0);
        let bytes = self.out.handed.1.saturating_sub(turn.finished.1) + arrival.size() as u64;
        if messages >= MOST_UNOWED || (messages > 0 && bytes > MOST_UNOWED_BYTES) {
            return None;
        }
        Some(if messages < MOST_SHARING { Room::Shared } else { Room::Apart })
    }

    fn tell_lanes(&mut self, command: impl Fn() -> Command<Batch>) {
        self.flush();
        for feed in &self.out.lanes {
            let _ = feed.lane.send(command());
        }
    }
}

/// Where a message is kept while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// In the read buffer.
    Shared,
    /// By itself.
    Apart,
}

impl Feeds {
    fn hand_over(
        &mut self,
        ready: &Arc<Ready>,
        delivery: Delivery<'_>,
        found: Found,
        turn: Turn,
        room: Room,
    ) {
        let Delivery { mut arrival, token } = delivery;
        self.fill(ready, arrival.read, turn);
        let key = ready.engine.key(&arrival, &found, turn.time);
        let own = (room == Room::Apart).then(|| Box::new(arrival.detach()));
        let parts = found.parts(arrival, own.as_deref());
        if token.is_none() {
            self.handed.0 += 1;
            self.handed.1 += parts.size();
        } else {
            self.owed += 1;
        }
        let lane = lane_of(key, self.lanes.len());
        self.lanes[lane].jobs.push(Admitted { key, token, own, parts });
    }

    /// A batch is of one table and of one read.
    fn fill(&mut self, ready: &Arc<Ready>, read: &Bytes, turn: Turn) {
        let is_same = self.read.as_ptr() == read.as_ptr() && self.read.len() == read.len();
        if is_same && Arc::ptr_eq(&self.filling, ready) {
            return;
        }
        self.send_batches(turn);
        self.filling = Arc::clone(ready);
        self.read = read.clone();
    }

    fn send_batches(&mut self, turn: Turn) {
        let feeds = self.lanes.iter_mut().zip(&self.filling.locals);
        for (feed, local) in feeds.filter(|(feed, _)| !feed.jobs.is_empty()) {
            // Rounded up: the next one is seldom as long, and to grow it would copy it.
            let jobs = Vec::with_capacity(feed.jobs.len().next_power_of_two());
            let batch = Batch {
                local: Arc::clone(local),
                read: self.read.clone(),
                arrived: turn.time,
                at: turn.at,
                jobs: std::mem::replace(&mut feed.jobs, jobs),
            };
            // A lane that is gone is one that was stopped: its messages stay with the broker.
            let _ = feed.lane.send(Command::Run(batch));
        }
    }

    /// Nothing is kept of what was read.
    fn end_turn(&mut self, turn: Turn) {
        self.send_batches(turn);
        self.read = Bytes::new();
    }
}

/// By the key's high bits, without a division.
fn lane_of(key: u64, lanes: usize) -> usize {
    let index = ((key >> 32) * lanes as u64) >> 32;
    usize::try_from(index).unwrap_or_default()
}

impl Receiver for Dispatcher {
    fn deliver(&mut self, delivery: Delivery<'_>) {
        let turn = self.turn();
        let token = delivery.token;
        let Some(room) = self.room(turn, &delivery) else {
            self.counters.overflow.fetch_add(1, Relaxed);
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

    use routemq_crds::document::Documents;
    use routemq_mqtt::{ConnectionState, FilterState, QoS, SubscriptionIds};

    use super::{Arrival, Bytes, Instant, Placed, Ready, SessionStatus, Tables, place};
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
