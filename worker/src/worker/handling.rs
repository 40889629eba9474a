//! What a lane's jobs are: messages, handled by the engine that admitted them.

use std::{
    mem::take,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
    vec,
};

use routemq_mqtt::{AckToken, Acks, Subscription};
use tokio::time::Instant;

use super::{
    counters::Counters,
    feeds::{Admitted, Batch, Unowed},
    lane::{Entry, Mark, Panicked, Ticket},
    record::{Identity, Observer, Record},
    shard::Work,
    tables::subscriptions,
};
use crate::{
    begun::Begun,
    clock,
    engine::{Engine, Local, Rest},
    message::{Origin, Received},
    outcome::{Final, FinalOutcome, class},
};

/// A table of so many routes is made ready, and freed, where no message waits for it.
pub(crate) const LARGE: usize = 257;
/// How long one that is done with is kept: the last of its messages is finished by then, so that no lane has to free it.
const GRACE: Duration = Duration::from_secs(2);

/// A table that was taken up, with what each lane needs of it: made once, because a table may have many routes.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) engine: Arc<Engine>,
    /// By lane.
    pub(crate) locals: Vec<Arc<Local>>,
    /// What the session should subscribe to, by whole filter. The same list as that of an earlier table where nothing of it changes.
    pub(crate) wanted: Arc<[Subscription]>,
    /// The identifiers of the filters, sorted.
    pub(crate) identifiers: Vec<u32>,
    /// Whether messages may come by several filters.
    pub(crate) overlaps: bool,
}

impl Ready {
    /// `before` is what is served so far.
    pub(crate) fn new(
        engine: Arc<Engine>,
        counters: &Arc<Counters>,
        lanes: usize,
        before: Option<&Self>,
    ) -> Arc<Self> {
        let table = engine.shared_table();
        counters.take_up(&table.routes);
        let local = |lane| Local::new((*engine).clone(), counters.lane(lane, table));
        let locals = (0..lanes).map(local).collect();
        let mut wanted: Arc<[Subscription]> = subscriptions(table).into();
        if let Some(same) = before.filter(|before| before.wanted == wanted) {
            wanted = Arc::clone(&same.wanted);
        }
        let mut identifiers: Vec<u32> = table.filters.iter().map(|it| it.identifier).collect();
        identifiers.sort_unstable();
        let overlaps = table.filters.iter().any(|filter| filter.overlaps);
        Arc::new(Self { engine, locals, wanted, identifiers, overlaps })
    }
}

/// To free a large table takes tens of milliseconds, and whoever has it last may be a task that messages wait for.
impl Drop for Ready {
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread of its own, which no message waits for"
    )]
    fn drop(&mut self) {
        if self.engine.table().routes.len() < LARGE {
            return;
        }
        // Its own references go first, with this struct; those in `parts` are then the last.
        let (locals, identifiers) = (take(&mut self.locals), take(&mut self.identifiers));
        let parts = (Arc::clone(&self.engine), locals, Arc::clone(&self.wanted), identifiers);
        // Where no thread can be had, they are dropped here.
        let _ = thread::Builder::new().name("free-table".to_owned()).spawn(move || {
            thread::sleep(GRACE);
            drop(parts);
        });
    }
}

/// Begins to handle one message.
pub(crate) fn begin(ticket: &Owed, received: Arc<Received>) -> Begun<Final, Rest> {
    ticket.local.begin(received)
}

/// What is owed for a message.
#[derive(Debug)]
pub(crate) struct Owed {
    token: Option<AckToken>,
    local: Arc<Local>,
    route: usize,
    at: Instant,
    /// Bytes that a QoS 0 message counts for.
    bytes: u64,
    /// Kept where somebody observes.
    received: Option<Arc<Received>>,
}

/// A lane's books: counts, tells the observer, acknowledges in batches.
pub(crate) struct Handling {
    lane: usize,
    identity: Arc<Identity>,
    observer: Option<Arc<dyn Observer>>,
    acks: Acks,
    counters: Arc<Counters>,
    unowed: Arc<Unowed>,
    /// This turn's, until the flush.
    tokens: Vec<AckToken>,
    given_back: u64,
    unowed_done: (u64, u64),
}

/// What all lanes of a worker share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) identity: Arc<Identity>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) unowed: Arc<Unowed>,
}

impl Handling {
    pub(crate) fn new(lane: usize, shared: Shared, acks: Acks) -> Self {
        let Shared { identity, observer, counters, unowed } = shared;
        Self {
            lane,
            identity,
            observer,
            acks,
            counters,
            unowed,
            tokens: Vec::new(),
            given_back: 0,
            unowed_done: (0, 0),
        }
    }

    fn count_unowed(&mut self, ticket: &Owed) {
        if ticket.token.is_none() {
            self.unowed_done.0 += 1;
            self.unowed_done.1 += ticket.bytes;
        }
    }
}

/// Messages of one read, each made when its turn comes.
#[derive(Debug)]
pub(crate) struct Opened {
    local: Arc<Local>,
    origin: Arc<Origin>,
    at: Instant,
    is_observed: bool,
    jobs: vec::IntoIter<Admitted>,
}

impl Iterator for Opened {
    type Item = Entry<Owed, Arc<Received>>;

    fn next(&mut self) -> Option<Self::Item> {
        let Admitted { key, token, own, parts } = self.jobs.next()?;
        let bytes = if token.is_none() { parts.size() } else { 0 };
        let engine = self.local.engine();
        let received = Arc::new(match own {
            None => engine.received(&self.origin, parts),
            Some(own) => engine.received(&engine.origin(*own, self.origin.arrived), parts),
        });
        let route = received.route_index();
        self.local.cells(route).received();
        let ticket = Owed {
            token,
            local: Arc::clone(&self.local),
            route,
            at: self.at,
            bytes,
            received: self.is_observed.then(|| Arc::clone(&received)),
        };
        Some(Entry { key, ticket, job: received })
    }
}

impl Work for Handling {
    type Batch = Batch;
    type Open = Opened;
    type Ticket = Owed;
    type Job = Arc<Received>;
    type Output = Final;

    fn open(&mut self, batch: Batch) -> Opened {
        let Batch { local, read, arrived, at, jobs } = batch;
        let origin = local.engine().origin(read, arrived);
        Opened { local, origin, at, is_observed: self.observer.is_some(), jobs: jobs.into_iter() }
    }

    fn finished(&mut self, ticket: Owed, result: Result<Final, Panicked>) {
        let ended = result.unwrap_or_else(|panicked| after_panic(&ticket, &panicked));
        // Here, while the route's counters are at hand; the acknowledgement goes out at the end of the turn.
        let took = clock::recent().saturating_duration_since(ticket.at);
        ticket.local.cells(ticket.route).finished(ended.outcome, took);
        if let (Some(observer), Some(message)) = (&self.observer, &ticket.received) {
            let duration = ticket.at.elapsed();
            observer.finished(&Record { worker: &self.identity, message, ended, duration });
        }
        self.count_unowed(&ticket);
        self.tokens.extend(ticket.token);
    }

    fn given_back(&mut self, ticket: Owed) {
        self.count_unowed(&ticket);
        self.given_back += u64::from(ticket.token.is_some());
    }

    fn flush(&mut self) {
        if !self.tokens.is_empty() {
            self.counters.settled.fetch_add(self.tokens.len() as u64, Relaxed);
            self.acks.done_all(&self.tokens);
            self.tokens.clear();
        }
        if self.given_back > 0 {
            self.counters.returned.fetch_add(std::mem::take(&mut self.given_back), Relaxed);
        }
        let (messages, bytes) = std::mem::take(&mut self.unowed_done);
        if messages > 0 {
            self.unowed.messages.fetch_add(messages, Relaxed);
            self.unowed.bytes.fetch_add(bytes, Relaxed);
        }
    }
}

impl Ticket for Owed {
    fn mark(&self) -> Option<Mark> {
        self.token.map(|token| (token.epoch, token.sequence))
    }
}

/// The engine catches panics of custom code. One that gets here is a fault of ours: the message cannot be handled
/// by trying again, and unacknowledged it would hold up all messages after it.
fn after_panic(ticket: &Owed, panicked: &Panicked) -> Final {
    let route = ticket.local.engine().table().routes.get(ticket.route).map(|route| &route.name);
    tracing::error!(route = ?route, panic = %panicked.0, "handling panicked, message discarded");
    Final { outcome: FinalOutcome::Discarded(class::PANIC), attempts: 1 }
}

impl std::fmt::Debug for Handling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handling")
            .field("lane", &self.lane)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
