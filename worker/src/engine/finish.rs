//! From the chain's outcome to one that is final.

use std::sync::{Arc, atomic::Ordering};

use tokio::time::sleep;

use super::{Compiled, chain};
use crate::{
    dead_letter,
    journal::{Handling, Journal},
    message::{Message, Received},
    metrics::RouteCells,
    outcome::{Failure, Final, FinalOutcome, Outcome, class},
    retry::Retry,
};

/// A discarded message is logged, then only each so many of its route.
const LOG_EACH: u64 = 1000;

/// Runs a message to its end.
///
/// Futures are moved when they are first waited for: what seldom happens is on the heap, so that what always happens is small.
pub(super) async fn handle(
    route: &Arc<Compiled>,
    cells: &Arc<RouteCells>,
    message: Message,
) -> Final {
    let received = Arc::clone(message.received());
    let outcome = match settle(route, cells, message, &received).await {
        Outcome::Done => FinalOutcome::Done,
        Outcome::Dropped(reason) => FinalOutcome::Dropped(reason),
        Outcome::Rejected(reason) => FinalOutcome::Rejected(reason),
        Outcome::Failed(failure) => Box::pin(give_up(route, &received, &failure)).await,
    };
    Final { outcome, attempts: received.progress.attempts.load(Ordering::Relaxed) }
}

/// After crashes: waits for the message's turn.
///
/// # Errors
/// It killed the process, and is not handled any more: it can be kept. Its turn is given up, however long its dead letter takes.
async fn permit(
    journal: &Journal,
    route: &Compiled,
    received: &Received,
) -> Result<Handling, Failure> {
    let handling = journal.handling(received).await;
    if handling.accused && route.dead_letter.is_some() {
        let words = "the worker died each time while it handled this message";
        return Err(Failure::permanent(class::CRASH, words));
    }
    if handling.accused {
        tracing::error!(
            route = &**received.route(),
            "a message was being handled each time when the process died, and is handled again: name a delivery.deadLetter to get it out of the way"
        );
    }
    Ok(handling)
}

/// Runs the chain. A handler's failure comes back when its retries are used up; a failure of the
/// middleware itself is retried here, from the message as it came: finished handlers are not run again.
/// A message that has expired is not tried, or not again.
async fn settle(
    route: &Arc<Compiled>,
    cells: &Arc<RouteCells>,
    message: Message,
    received: &Arc<Received>,
) -> Outcome {
    let _until_the_end = match route.shared.journal.watching() {
        None => None,
        Some(journal) => match Box::pin(permit(journal, route, received)).await {
            Ok(handling) => Some(handling),
            Err(failure) => return Outcome::Failed(failure),
        },
    };
    let mut retry = Retry::new(route.shared.max_attempts, &route.shared.health);
    let mut next = Some(message);
    loop {
        if received.has_expired() {
            return Outcome::Dropped(class::EXPIRED);
        }
        let message = next.take().unwrap_or_else(|| Message::again(Arc::clone(received)));
        let outcome = match message.payload().check() {
            Ok(()) => chain::run(route, cells, 0, message).await,
            Err(error) => Outcome::Failed(error.into()),
        };
        let Outcome::Failed(failure) = outcome else { return outcome };
        match retry.pause(failure) {
            Ok(pause) => sleep(pause).await,
            Err(failure) => {
                received.progress.attempts.fetch_max(failure.attempts, Ordering::Relaxed);
                return Outcome::Failed(failure);
            }
        }
        route.counters.retries.up();
        cells.retried();
    }
}

async fn give_up(route: &Compiled, received: &Received, failure: &Failure) -> FinalOutcome {
    if let Some(topic) = &route.dead_letter {
        dead_letter::publish(topic, route, received, failure).await;
        return FinalOutcome::DeadLettered(failure.class);
    }
    let before = route.counters.discarded.up();
    if before.is_multiple_of(LOG_EACH) {
        tracing::warn!(
            route = &**received.route(),
            class = failure.class,
            error = failure.describe(512),
            discarded = before + 1,
            "a message is given up: the spec names no delivery.deadLetter"
        );
    }
    FinalOutcome::Discarded(failure.class)
}
