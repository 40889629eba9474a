//! The way through the middleware to the handlers.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures::FutureExt as _;
use tokio::time::{Instant, sleep};

use super::{Compiled, Shared, handlers};
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
    mut message: Message,
) -> Outcome {
    // A level that is off costs a look at it: no clock, no reference.
    let logged =
        logs(route, from).any(Log::is_on).then(|| (Arc::clone(message.received()), Instant::now()));
    let outcome = 'steps: {
        for (at, step) in route.steps.iter().enumerate().skip(from) {
            if let Some(around) = step.around() {
                let next = Next { route: Arc::clone(route), cells: Arc::clone(cells), at: at + 1 };
                break 'steps wrap(around, message, next, &route.shared).await;
            }
            match step.enter(&mut message, &route.shared) {
                Entered::Continue => {}
                Entered::Wait(pause) => sleep(pause).await,
                Entered::End(outcome) => break 'steps outcome,
            }
        }
        handlers::run(route, cells, &message).await
    };
    if let Some((received, started)) = logged {
        logs(route, from).for_each(|log| log.write(&received, &outcome, started.elapsed()));
    }
    outcome
}

/// The `log` steps up to the first step that wraps the rest: that one's rest logs for itself.
fn logs(route: &Compiled, from: usize) -> impl Iterator<Item = &Log> {
    let steps = route.steps[from..].iter();
    steps.take_while(|step| step.around().is_none()).filter_map(|step| step.log())
}

async fn wrap(around: &Around, message: Message, next: Next, shared: &Shared) -> Outcome {
    let begun = catch_unwind(AssertUnwindSafe(|| around.run(message, next, shared)));
    let Ok(work) = begun else { return Outcome::Failed(panicked()) };
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Outcome::Failed(panicked()))
}

/// What a panic of custom code becomes; its own words are on stderr, they may quote the message.
pub(super) fn panicked() -> Failure {
    Failure::transient(class::PANIC, "the code panicked; its message is on standard error")
}
