//! The way through the middleware to the handlers.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt as _;

use super::{Compiled, handlers};
use crate::{
    message::Message,
    metrics::RouteCells,
    middleware::{Around, Entered, Log},
    outcome::{Failure, Outcome, class},
};

/// The steps after a middleware: the rest of the middleware, then the handlers.
#[derive(Clone, Debug)]
pub struct Next {
    route: Arc<Compiled>,
    cells: Arc<RouteCells>,
    at: usize,
}

impl Next {
    /// Runs the rest. Retries happen inside: what comes back is what the message came to.
    pub async fn run(self, message: Message) -> Outcome {
        run(&self.route, &self.cells, self.at, message).await
    }
}

/// Runs the steps from `from` on, then the handlers. Built-in steps are walked without boxing.
pub(super) async fn run(
    route: &Arc<Compiled>,
    cells: &Arc<RouteCells>,
    from: usize,
    message: Message,
) -> Outcome {
    let logs = logs(route, from);
    // A level that is off costs a look at it: no clock, no reference.
    if !logs.clone().any(Log::is_on) {
        return walk(route, cells, from, message).await;
    }
    let (received, started) = (Arc::clone(message.received()), tokio::time::Instant::now());
    let outcome = walk(route, cells, from, message).await;
    logs.for_each(|log| log.write(&received, &outcome, started.elapsed()));
    outcome
}

/// The `log` steps up to the first step that wraps the rest: that one's rest logs for itself.
fn logs(route: &Compiled, from: usize) -> impl Iterator<Item = &Log> + Clone {
    let steps = route.steps[from..].iter();
    steps.take_while(|step| step.around().is_none()).filter_map(|step| step.log())
}

async fn walk(
    route: &Arc<Compiled>,
    cells: &Arc<RouteCells>,
    from: usize,
    mut message: Message,
) -> Outcome {
    for (at, step) in route.steps.iter().enumerate().skip(from) {
        if let Some(around) = step.around() {
            let (route, cells) = (Arc::clone(route), Arc::clone(cells));
            let next = Next { route, cells, at: at + 1 };
            return Box::pin(wrap(around, message, next)).await;
        }
        match step.enter(&mut message, &route.shared).await {
            Entered::Continue => {}
            Entered::End(outcome) => return outcome,
        }
    }
    handlers::run(route, cells, &message).await
}

async fn wrap(around: &Around, message: Message, next: Next) -> Outcome {
    // Of the route and not of what all routes share: lanes would contend over that one's count of references.
    let route = Arc::clone(&next.route);
    let work = AssertUnwindSafe(around.run(message, next, &route.shared));
    work.catch_unwind().await.unwrap_or_else(|_| Outcome::Failed(panicked()))
}

/// What a panic of custom code becomes; its own words are on stderr, they may quote the message.
pub(super) fn panicked() -> Failure {
    Failure::transient(class::PANIC, "the code panicked; its message is on standard error")
}
