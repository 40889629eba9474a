//! An engine as one lane sees it: counted references of the lane's own, so that lanes do not contend.

use std::{fmt::Debug, sync::Arc};

use super::{
    Compiled, Engine, Shared,
    finish::{self, Rest},
};
use crate::{
    begun::Begun,
    message::{Message, Received},
    metrics::RouteCells,
    middleware::Step,
    outcome::Final,
};

/// Counts what becomes of messages, by route.
pub(crate) trait Books: Debug + Send + Sync {
    /// The cells of the `index`-th route of the table.
    fn of(&self, index: usize) -> &RouteCells;
}

/// An engine, and what counts what it does.
#[derive(Debug)]
pub(crate) struct Local {
    engine: Engine,
    books: Box<dyn Books>,
}

/// A message's route on its lane, lent: what runs to its end at once counts no reference.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Here<'a> {
    local: &'a Arc<Local>,
    route: usize,
}

/// The same, kept by what waits.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    local: Arc<Local>,
    route: usize,
}

impl Local {
    pub(crate) fn new(engine: Engine, books: impl Books + 'static) -> Arc<Self> {
        Arc::new(Self { engine, books: Box::new(books) })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What counts the `index`-th route.
    pub(crate) fn cells(&self, index: usize) -> &RouteCells {
        self.books.of(index)
    }

    /// Begins to handle a message: on to its end where nothing has to be waited for.
    pub(crate) fn begin(self: &Arc<Self>, received: Arc<Received>) -> Begun<Final, Rest> {
        let message = Message::again(Arc::clone(&received));
        finish::begin(Here { local: self, route: received.route_index() }, received, message)
    }

    /// Handles a message as middleware may have left it.
    pub(crate) async fn handle(self: Arc<Self>, message: Message) -> Final {
        let received = Arc::clone(message.received());
        let here = Here { local: &self, route: received.route_index() };
        finish::begin(here, received, message).end(Rest::end).await
    }
}

impl<'a> Here<'a> {
    pub(crate) fn route(self) -> &'a Compiled {
        &self.local.engine.inner.routes[self.route]
    }

    pub(super) fn steps(self) -> &'a [Arc<Step>] {
        &self.local.engine.inner.chains[self.route().chain as usize]
    }

    pub(crate) fn shared(self) -> &'a Shared {
        &self.local.engine.inner.shared
    }

    pub(crate) fn cells(self) -> &'a RouteCells {
        self.local.cells(self.route)
    }

    /// To be kept.
    pub(crate) fn seat(self) -> Seat {
        Seat { local: Arc::clone(self.local), route: self.route }
    }
}

impl Seat {
    pub(crate) fn here(&self) -> Here<'_> {
        Here { local: &self.local, route: self.route }
    }
}

/// Where nobody asks.
impl Books for RouteCells {
    fn of(&self, _index: usize) -> &RouteCells {
        self
    }
}
