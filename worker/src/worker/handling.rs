//! What a lane's jobs are: messages, handled by the engine that admitted them.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use routemq_mqtt::{AckToken, Acks};
use tokio::time::Instant;

use super::{
    counters::{Counters, LaneCells},
    dispatcher::{Admitted, Batch, Unowed, size},
    lane::{Entry, Mark, Panicked, Ticket},
    record::{Identity, Observer, Record},
    shard::Work,
};
use crate::{
    engine::Engine,
    message::{Message, Received},
    metrics::RouteCells,
    outcome::{Final, FinalOutcome, class},
};

/// An engine as one lane sees it: counted references of the lane's own, so that lanes do not contend.
#[derive(Debug)]
pub(crate) struct Local {
    engine: Arc<Engine>,
    cells: LaneCells,
}

impl Local {
    /// What this lane counts of the `index`-th route.
    fn cells(&self, index: usize) -> &Arc<RouteCells> {
        self.cells.of(index, &self.engine.table().routes[index])
    }
}

/// A table that was taken up, with what each lane needs of it: made once, because a table may have many routes.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) engine: Arc<Engine>,
    /// By lane.
    pub(crate) locals: Vec<Arc<Local>>,
}

impl Ready {
    pub(crate) fn new(engine: Arc<Engine>, counters: &Arc<Counters>, lanes: usize) -> Arc<Self> {
        let routes = &engine.table().routes;
        counters.take_up(routes);
        let local = |lane| {
            let cells = counters.lane(lane, routes.len());
            Arc::new(Local { engine: Arc::clone(&engine), cells })
        };
        let locals = (0..lanes).map(local).collect();
        Arc::new(Self { engine, locals })
    }
}

/// A message to handle, and with what.
pub(crate) type Job = (Arc<Local>, Arc<Received>);

/// Handles one message.
pub(crate) async fn handle((local, received): Job) -> Final {
    let cells = local.cells(received.route_index());
    local.engine.handle_counted(Message::again(received), cells).await
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
    ended: Vec<Owed>,
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
            ended: Vec::new(),
            tokens: Vec::new(),
            given_back: 0,
            unowed_done: (0, 0),
        }
    }

    fn entry(&self, local: &Arc<Local>, at: Instant, admitted: Admitted) -> Entry<Owed, Job> {
        let Admitted { key, token, received } = admitted;
        let route = received.route_index();
        local.cells(route).received();
        let ticket = Owed {
            token,
            local: Arc::clone(local),
            route,
            at,
            bytes: if token.is_none() { size(&received) } else { 0 },
            received: self.observer.as_ref().map(|_| Arc::clone(&received)),
        };
        Entry { key, ticket, job: (Arc::clone(local), received) }
    }

    /// What ended this turn is acknowledged now: one look at the clock for all of it.
    fn deliver(&mut self) {
        if self.ended.is_empty() {
            return;
        }
        let now = Instant::now();
        for ticket in self.ended.drain(..) {
            ticket.local.cells(ticket.route).delivered(now.saturating_duration_since(ticket.at));
            self.tokens.extend(ticket.token);
        }
    }

    fn count_unowed(&mut self, ticket: &Owed) {
        if ticket.token.is_none() {
            self.unowed_done.0 += 1;
            self.unowed_done.1 += ticket.bytes;
        }
    }
}

impl Work for Handling {
    type Batch = Batch;
    type Ticket = Owed;
    type Job = Job;
    type Output = Final;

    fn open(&mut self, batch: Batch, into: &mut VecDeque<Entry<Owed, Job>>) {
        let Batch { local, at, jobs } = batch;
        into.extend(jobs.into_iter().map(|admitted| self.entry(&local, at, admitted)));
    }

    fn finished(&mut self, ticket: Owed, result: Result<Final, Panicked>) {
        let ended = result.unwrap_or_else(|panicked| after_panic(&ticket, &panicked));
        ticket.local.cells(ticket.route).finished(ended.outcome);
        if let (Some(observer), Some(message)) = (&self.observer, &ticket.received) {
            let duration = ticket.at.elapsed();
            observer.finished(&Record { worker: &self.identity, message, ended, duration });
        }
        self.count_unowed(&ticket);
        self.ended.push(ticket);
    }

    fn given_back(&mut self, ticket: Owed) {
        self.count_unowed(&ticket);
        self.given_back += u64::from(ticket.token.is_some());
    }

    fn flush(&mut self) {
        self.deliver();
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
    let route = ticket.local.engine.table().routes.get(ticket.route).map(|route| &route.name);
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
