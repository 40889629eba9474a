//! One table, ready to run: from a received PUBLISH to an outcome that is final.
//!
//! # Flow
//! 1. [`Engine::admit`] finds the route. No route: the caller counts it and acknowledges.
//! 2. [`Engine::handle`] runs the middleware once, outer to inner, then the handlers in order.
//! 3. A handler that fails transiently is tried again, alone: the handlers before it never run twice for this delivery.
//! 4. What fails for good goes to the dead letter topic, and `handle` returns when the broker has confirmed that.
//!
//! # Guarantees
//! - When `handle` returns, the message may be acknowledged: its work is done, or its dead letter is stored,
//!   or the spec says that nothing is to be done with it.
//! - While what a handler needs is away, `handle` waits, for ever: the message stays unacknowledged, so the broker
//!   keeps it. [`Health`] says what for. Only a message expiry that the publisher has set ends that.
//! - Dropping the future of `handle` (a stop, a kill) loses nothing: the broker delivers the message again, and the
//!   handlers that had finished run once more. At least once, never less.
//! - A panic in custom code fails the attempt, not the worker.

mod build;
mod chain;
mod counters;
mod finish;
mod handlers;
mod local;
mod order;
mod resources;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use routemq_crds::{
    problem::Problem,
    table::{PayloadRules, Table},
    template::TopicTemplate,
};
use routemq_mqtt::{Arrival, Publish};
use smallvec::SmallVec;
use tokio::runtime::{Handle, RuntimeFlavor};

pub use chain::Next;
pub use counters::RouteCounters;
pub(crate) use finish::Rest;
pub(crate) use local::{Books, Here, Local};
pub(crate) use order::topic_hash;
pub use resources::Resources;

use crate::{
    eval::Evaluator,
    handler,
    health::Health,
    journal::Journal,
    message::{Message, Origin, Parts, Received, RouteInfo},
    metrics::RouteCells,
    middleware::Step,
    outbox::Outbox,
    outcome::Final,
    registry::{Registry, States},
    router::{Captures, Matcher},
};

/// Tables below this size are built where somebody asks for them.
const BUILT_HERE: usize = 257;
/// Routes that are taken apart at once.
const DROPPED_HERE: usize = 1000;

/// One compiled table with its registry and resources. Immutable; clones share it.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    table: Arc<Table>,
    matcher: Arc<Matcher>,
    /// Steps before the handlers; this worker's own where they remember something.
    chains: Vec<Chain>,
    routes: Arc<[Compiled]>,
    infos: Arc<[RouteInfo]>,
    /// By route: the subscription identifier of its filter.
    identifiers: Arc<[u32]>,
    shared: Arc<Shared>,
}

/// The steps before the handlers of a route, or of several.
type Chain = Arc<[Arc<Step>]>;

/// A topic's route.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Its index in the table.
    pub(crate) route: usize,
    /// The values of its params.
    pub(crate) captures: Captures,
}

impl Found {
    /// What is kept of the message that it was found for; see [`Parts::of`].
    pub(crate) fn parts(self, arrival: Arrival<'_>, own: Option<&Bytes>) -> Parts {
        // There are fewer routes than that.
        let route = u32::try_from(self.route).unwrap_or(u32::MAX);
        Parts::of(arrival, own, route, self.captures)
    }
}

/// A table of many routes takes milliseconds to take apart: not on a task that messages wait for.
impl Drop for Inner {
    fn drop(&mut self) {
        if self.routes.len() < DROPPED_HERE {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let parts = (
                std::mem::take(&mut self.chains),
                Arc::clone(&self.routes),
                Arc::clone(&self.infos),
                Arc::clone(&self.table),
                Arc::clone(&self.matcher),
            );
            // Its own references go first, with this struct; those in `parts` are then the last.
            runtime.spawn_blocking(move || drop(parts));
        }
    }
}

/// What all routes of a table share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) evaluator: Evaluator,
    pub(crate) outbox: Outbox,
    pub(crate) states: States,
    pub(crate) health: Health,
    pub(crate) worker: Arc<str>,
    pub(crate) journal: Journal,
    pub(crate) timeout: Duration,
    pub(crate) max_attempts: u32,
    pub(crate) order_by: Option<order::OrderBy>,
}

/// One route, ready to run. What every message of the route needs stands together.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Compiled {
    pub(crate) payload: PayloadRules,
    /// Index into the worker's chains.
    pub(crate) chain: u32,
    /// Most routes have one.
    pub(crate) handlers: SmallVec<[handler::Compiled; 1]>,
    pub(crate) dead_letter: Option<TopicTemplate>,
    pub(crate) counters: RouteCounters,
}

/// The same steps, with nothing remembered.
fn afresh(chain: &Chain) -> Chain {
    let afresh = |step: &Arc<Step>| step.afresh().map_or_else(|| Arc::clone(step), Arc::new);
    chain.iter().map(afresh).collect()
}

// === impl Engine ===

impl Engine {
    /// Makes a table ready to run.
    ///
    /// # Errors
    /// Every problem at once: custom names that are not registered, missing secrets, state that no one registered.
    pub async fn build(
        table: Table,
        registry: &Registry,
        resources: Resources,
    ) -> Result<Self, Vec<Problem>> {
        if table.routes.len() < BUILT_HERE {
            return build::build(table, registry, &resources);
        }
        // Far longer than a task may keep its thread. On this thread where that can be: glibc gives each its own heap, and what was
        // freed by whoever read the spec here is used again.
        if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
            return tokio::task::block_in_place(|| build::build(table, registry, &resources));
        }
        let registry = registry.clone();
        let work = move || build::build(table, &registry, &resources);
        match tokio::task::spawn_blocking(work).await {
            Ok(built) => built,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(vec![Problem::new("spec", "the program is stopping")]),
            },
        }
    }

    /// For one more worker of this process: the engine itself where nobody else has it, for a table may be large.
    pub(crate) fn for_one_more(engine: &Arc<Self>) -> Arc<Self> {
        match Arc::strong_count(engine) {
            1 => Arc::clone(engine),
            _ => Arc::new(engine.for_another_worker()),
        }
    }

    /// The same engine for another worker of this process: what a worker remembers (rate limits, keys of `dedup`) starts
    /// empty and is its own, as it would be in a pod; everything else is shared.
    #[must_use]
    pub fn for_another_worker(&self) -> Self {
        let inner = &self.inner;
        let inner = Inner {
            table: Arc::clone(&inner.table),
            matcher: Arc::clone(&inner.matcher),
            chains: inner.chains.iter().map(afresh).collect(),
            routes: Arc::clone(&inner.routes),
            infos: Arc::clone(&inner.infos),
            identifiers: Arc::clone(&inner.identifiers),
            shared: Arc::clone(&inner.shared),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Finds the route of a message.
    ///
    /// # Errors
    /// The message itself, where no route matches.
    pub fn admit(&self, publish: Publish, received_at: SystemTime) -> Result<Message, Publish> {
        match self.find(&publish.topic) {
            Some(found) => {
                let nothing = Bytes::new();
                let mut arrival = publish.arrival(&nothing);
                let own = arrival.detach();
                let parts = found.parts(arrival, Some(&own));
                let received = self.received(&self.origin(own, received_at), parts);
                Ok(Message::again(Arc::new(received)))
            }
            None => Err(publish),
        }
    }

    /// The route that a topic belongs to, and the values of its params.
    pub(crate) fn find(&self, topic: &str) -> Option<Found> {
        let mut captures = Captures::default();
        let route = self.inner.matcher.find(topic, &mut captures)?;
        Some(Found { route, captures })
    }

    /// The subscription identifier of a route's filter.
    pub(crate) fn identifier(&self, route: usize) -> u32 {
        self.inner.identifiers.get(route).copied().unwrap_or(0)
    }

    /// What the messages of one read have in common.
    pub(crate) fn origin(&self, read: Bytes, arrived: SystemTime) -> Arc<Origin> {
        Arc::new(Origin { read, arrived, routes: Arc::clone(&self.inner.infos) })
    }

    /// A message of what was read, as its route takes it.
    pub(crate) fn received(&self, origin: &Arc<Origin>, parts: Parts) -> Received {
        let rules = self.inner.routes[parts.route as usize].payload;
        Received::new(origin, parts, rules)
    }

    /// Messages with the same key are handled in order: the hash of `orderBy`, by default of the topic.
    /// Where `orderBy` cannot be evaluated the topic stands in; the message fails later, in its handlers or not at all.
    pub fn order_key(&self, message: &Message) -> u64 {
        let received = message.received();
        let whole = || Arc::clone(received);
        order::key(&self.inner.shared, order::Looks::of(received), whole)
    }

    /// The same for one that is on its way.
    pub(crate) fn key(&self, arrival: &Arrival<'_>, found: &Found, at: SystemTime) -> u64 {
        let looks = order::Looks {
            topic: arrival.topic,
            params: &self.inner.infos[found.route].params,
            captures: &found.captures,
        };
        let whole = || {
            let parts = found.clone().parts(arrival.clone(), None);
            Arc::new(self.received(&self.origin(arrival.read.clone(), at), parts))
        };
        order::key(&self.inner.shared, looks, whole)
    }

    /// Does what the spec says is to be done with the message. See the module for what is promised.
    pub async fn handle(&self, message: Message) -> Final {
        Local::new(self.clone(), RouteCells::default()).handle(message).await
    }

    /// The table that it runs.
    pub fn table(&self) -> &Table {
        &self.inner.table
    }

    pub(crate) fn shared_table(&self) -> &Arc<Table> {
        &self.inner.table
    }

    /// What messages are held for.
    pub fn health(&self) -> &Health {
        &self.inner.shared.health
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.inner.shared.outbox
    }

    /// The counters of a route, by its index in the table.
    pub fn counters(&self, route: usize) -> Option<&RouteCounters> {
        self.inner.routes.get(route).map(|route| &route.counters)
    }
}
