//! One running worker: starts it, swaps its table, stops it.

use std::{
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Duration,
};

use routemq_crds::{
    stop::{FLUSH, STOP_TAKING},
    table::Table,
    v1alpha1::SessionKind,
};
use routemq_mqtt::{
    ConnectionState, End, Session, SessionConfig, SessionHandle, SessionStatus, Subscription,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    counters::Counters,
    dispatcher::{Dispatcher, StatusCell, Wiring},
    feeds::MOST_UNOWED_MEMORY,
    follow::{Follow, follow},
    handling::{LARGE, Ready, Shared},
    lanes::Lanes,
    record::{Identity, Observer},
    tables::Tables,
};
use crate::{
    engine::Engine,
    metrics::Totals,
    monitor::{Member, Membership, Monitor},
};

/// Between two looks whether everything is through.
const LOOK: Duration = Duration::from_millis(20);
/// The part of a worker's concurrency that a session on its way out gets.
const DRAIN_SHARE: usize = 4;

/// What a worker is made of.
pub struct WorkerOptions {
    /// The table and what it needs.
    pub engine: Arc<Engine>,
    /// How to connect. The receive maximum bounds what waits in memory.
    pub session: SessionConfig,
    /// Which of the `MqttRoute`'s sessions this is, from 0.
    pub slot: u32,
    /// Where it enters itself, for metrics and probes.
    pub monitor: Monitor,
    /// Sees every message whose outcome is final.
    pub observer: Option<Arc<dyn Observer>>,
    /// How long siblings may need to change to a new table (or to have it from the start): until then
    /// overlapping copies are handled in doubt. Zero where there are none.
    pub transition: Duration,
    /// Whether siblings may have an older table at the start: they are other processes, and the object has been changed.
    pub older_tables: bool,
    /// Filters that an earlier life of the session may have left subscribed: those that are not wanted are left.
    pub held: Vec<String>,
    /// The table that the session served before, where another worker takes it up: its gone routes stay matchable until the barrier
    /// after their filters are left.
    pub before: Option<Arc<Engine>>,
    /// What the session is for.
    pub purpose: Purpose,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To take its part of the messages.
    Serve,
    /// To be emptied and ended ([`RunningWorker::drained`]): it subscribes to nothing, takes a quarter of the concurrency, and no
    /// probe asks anything of it.
    Drain,
}

/// A running worker. Dropping it leaves it running: call [`RunningWorker::stop`].
#[derive(Debug)]
pub struct RunningWorker {
    identity: Arc<Identity>,
    session: SessionHandle,
    tables: watch::Sender<Arc<Tables>>,
    lanes: Lanes,
    counters: Arc<Counters>,
    follower: JoinHandle<()>,
    membership: Membership,
    transition: Duration,
    end: End,
}

/// What a worker did in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which worker.
    pub worker: Identity,
    /// What it did with its messages; `unfinished` ones are left to the broker.
    pub totals: Totals,
}

impl RunningWorker {
    /// Connects and subscribes; returns at once. The connection and its answers are seen in [`Self::status`].
    pub async fn start(options: WorkerOptions) -> Self {
        let (purpose, transition) = (options.purpose, options.transition);
        let table = options.engine.table();
        let identity = identity(table, options.slot);
        let concurrency = purpose.share_of(table.delivery.concurrency);
        let (end, receive_maximum) =
            (end_of(table.delivery.session), options.session.receive_maximum);
        say_bound(&identity, &options.session);
        let counters = Arc::new(Counters::default());
        // As many as are started below: each has its own view of a table.
        let count = Lanes::count(concurrency);
        let tables = first(options.engine, options.before, &counters, count, transition).await;
        let wanted = tables.wanted();
        let tables = watch::Sender::new(Arc::new(tables));
        let shared = Shared {
            identity: Arc::clone(&identity),
            observer: options.observer,
            counters: Arc::clone(&counters),
            unowed: Arc::default(),
        };
        let status: StatusCell = Arc::new(OnceLock::new());
        let mut lanes = Lanes::default();
        let session = Session::spawn(options.session, |acks| {
            lanes = Lanes::start(concurrency, &shared, &acks);
            Dispatcher::new(Wiring {
                swaps: tables.subscribe(),
                status: Arc::clone(&status),
                lanes: lanes.commands.clone(),
                acks,
                counters: Arc::clone(&counters),
                unowed: shared.unowed,
                doubts_until: options.older_tables.then(|| Instant::now() + transition),
            })
        });
        let _ = status.set(session.status());
        let follower = tokio::spawn(follow(Follow {
            identity: Arc::clone(&identity),
            status: session.status(),
            tables: tables.clone(),
        }));
        let membership = options.monitor.enter(Member {
            identity: Arc::clone(&identity),
            status: session.status(),
            pulse: session.pulse(),
            tables: tables.subscribe(),
            counters: Arc::clone(&counters),
            lanes: lanes.beats(),
            receive_maximum,
            leaving: AtomicBool::new(purpose == Purpose::Drain),
        });
        ask(&session, purpose, wanted, options.held).await;
        Self { identity, session, tables, lanes, counters, follower, membership, transition, end }
    }

    /// Changes to another table of the same `MqttRoute`, without losing a message:
    /// 1. from the next turn on, messages are matched with the new table first; what is under way finishes on
    ///    the engine that admitted it;
    /// 2. new filters are subscribed, then gone ones unsubscribed;
    /// 3. gone routes stay matchable until the barrier after the UNSUBACK, and earlier tables are consulted about
    ///    overlaps until siblings have had [`WorkerOptions::transition`] to change too.
    ///
    /// What a session is made of (concurrency, receive maximum, expiry) needs a new worker instead.
    pub async fn swap(&self, engine: Arc<Engine>) {
        let before = Arc::clone(&self.tables.borrow().current);
        let lanes = self.lanes.commands.len();
        let ready = take_up(engine, &self.counters, lanes, Some(before)).await;
        let wanted = Arc::clone(&ready.wanted);
        // Nobody else changes tables but to forget earlier ones, which then are still there: no harm is done.
        let swapped = self.tables.borrow().swapped(ready, self.transition);
        self.tables.send_replace(Arc::new(swapped));
        self.session.subscribe_to(wanted).await;
    }

    /// The session's state, by filter.
    pub fn status(&self) -> watch::Receiver<SessionStatus> {
        self.session.status()
    }

    /// Which worker this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What it has done so far.
    pub fn totals(&self) -> Totals {
        self.counters.totals()
    }

    /// Resolves when every filter of the current table is granted and settled, and nothing else is subscribed.
    pub fn settled(&self) -> impl Future<Output = ()> + Send + use<> {
        let (tables, mut status) = (self.tables.subscribe(), self.status());
        async move {
            // An error means that the session has ended: nothing more to wait for.
            let _ = status.wait_for(|status| tables.borrow().is_settled(status)).await;
        }
    }

    /// Unsubscribes everything, and resolves when all that the broker kept for the session is through: delivered (the barrier proves
    /// it), handled and acknowledged. Waits for a connection, and for a handler, as long as it takes.
    pub async fn drained(&self) {
        self.membership.leaving();
        self.session.subscribe_to(Vec::new()).await;
        loop {
            let connection = self.connection().await;
            let proven = self.session.barrier().await;
            self.all_finished().await;
            // What was not acknowledged before a reconnect comes again, behind the barrier.
            if proven && self.epoch() == Some(connection) {
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// Waits for a connection; which one it is.
    async fn connection(&self) -> u32 {
        loop {
            match self.epoch() {
                Some(epoch) => return epoch,
                None => sleep(LOOK).await,
            }
        }
    }

    /// Of the connection that there is.
    fn epoch(&self) -> Option<u32> {
        let status = self.session.status();
        let status = status.borrow();
        matches!(status.connection, ConnectionState::Connected { .. }).then_some(status.epoch)
    }

    /// Everything taken has been finished.
    async fn all_finished(&self) {
        while self.totals().unfinished > 0 {
            sleep(LOOK).await;
        }
    }

    /// Ends the session for good, with all that the broker keeps for it: call it when it is [`Self::drained`]. Whether the broker was
    /// told; without a connection the session stays until its expiry.
    pub async fn discard(mut self) -> (Summary, bool) {
        self.end = End::Discard;
        self.end_within(Duration::ZERO).await
    }

    /// Stops: takes nothing more, finishes within `drain` what runs and what stands before it in receive order, flushes
    /// the acknowledgements, disconnects.
    /// A durable session stays with the broker and keeps what was not finished; an ephemeral one ends.
    pub async fn stop(self, drain: Duration) -> Summary {
        self.end_within(drain).await.0
    }

    async fn end_within(self, drain: Duration) -> (Summary, bool) {
        let deadline = Instant::now() + drain;
        self.membership.leaving();
        // The socket task never waits for anything, so this is plenty.
        let _ = timeout(STOP_TAKING, self.session.stop_taking()).await;
        self.lanes.stop(deadline).await;
        let told = self.session.stop(self.end, FLUSH).await;
        self.follower.abort();
        self.membership.leave();
        (Summary { worker: (*self.identity).clone(), totals: self.counters.totals() }, told)
    }
}

impl Purpose {
    /// Of handlers at work at a time.
    fn share_of(self, concurrency: usize) -> usize {
        match self {
            Self::Serve => concurrency,
            Self::Drain => (concurrency / DRAIN_SHARE).max(1),
        }
    }
}

/// The tables that a worker begins with: its own, and the one that its session served before.
async fn first(
    engine: Arc<Engine>,
    before: Option<Arc<Engine>>,
    counters: &Arc<Counters>,
    lanes: usize,
    transition: Duration,
) -> Tables {
    let Some(before) = before else {
        return Tables::new(take_up(engine, counters, lanes, None).await, transition);
    };
    let before = take_up(before, counters, lanes, None).await;
    let ready = take_up(engine, counters, lanes, Some(Arc::clone(&before))).await;
    Tables::new(before, transition).swapped(ready, transition)
}

/// Subscribes to what is wanted and leaves what else the session holds; all of it, where it is to end.
async fn ask(
    session: &SessionHandle,
    purpose: Purpose,
    wanted: Arc<[Subscription]>,
    held: Vec<String>,
) {
    match purpose {
        Purpose::Serve => {
            session.subscribe_to(wanted).await;
            session.leave(held).await;
        }
        Purpose::Drain => {
            let own = wanted.iter().map(|own| own.filter.to_string());
            session.leave(own.chain(held).collect()).await;
        }
    }
}

/// Makes a table ready; a large one where no message waits for it.
async fn take_up(
    engine: Arc<Engine>,
    counters: &Arc<Counters>,
    lanes: usize,
    before: Option<Arc<Ready>>,
) -> Arc<Ready> {
    if engine.table().routes.len() < LARGE {
        return Ready::new(engine, counters, lanes, before.as_deref());
    }
    let (own, also, known) = (Arc::clone(&engine), Arc::clone(counters), before.clone());
    let ready = move || Ready::new(own, &also, lanes, known.as_deref());
    // It fails only where the runtime ends.
    let ready = tokio::task::spawn_blocking(ready).await;
    ready.unwrap_or_else(|_| Ready::new(engine, counters, lanes, before.as_deref()))
}

fn identity(table: &Table, slot: u32) -> Arc<Identity> {
    Arc::new(Identity { mqtt_route: format!("{}.{}", table.namespace, table.name).into(), slot })
}

/// What waits in memory is bounded; what handlers make of the messages that are at work comes on top.
fn say_bound(worker: &Identity, session: &SessionConfig) {
    let mebibytes = (session.most_unfinished_bytes() + MOST_UNOWED_MEMORY) >> 20;
    let receive_maximum = session.receive_maximum;
    tracing::info!(%worker, receive_maximum, mebibytes, "messages that wait take this memory at most");
}

fn end_of(session: SessionKind) -> End {
    match session {
        SessionKind::Durable => End::Keep,
        SessionKind::Ephemeral => End::Discard,
    }
}

impl std::fmt::Debug for WorkerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerOptions")
            .field("session", &self.session)
            .field("slot", &self.slot)
            .field("transition", &self.transition)
            .finish_non_exhaustive()
    }
}
