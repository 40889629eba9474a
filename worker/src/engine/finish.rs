//! From the chain's outcome to one that is final.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::time::sleep;

use super::{
    Compiled, chain,
    local::{Here, Seat},
};
use crate::{
    begun::Begun,
    dead_letter,
    journal::{Handling, Journal},
    message::{Message, Received},
    outcome::{Failure, Final, FinalOutcome, Outcome, class},
    retry::Retry,
};

/// A discarded message is logged, then only each so many of its route.
const LOG_EACH: u64 = 1000;

/// What is left of a message that waits.
pub(crate) struct Rest {
    seat: Seat,
    received: Arc<Received>,
    first: First,
}

/// How far it came at once.
enum First {
    /// Not begun: the journal is asked first.
    Not(Message),
    Failed(Failure),
    Waits(chain::Rest),
}

/// Begins to handle a message, on to its end where nothing has to be waited for.
pub(super) fn begin(
    here: Here<'_>,
    received: Arc<Received>,
    message: Message,
) -> Begun<Final, Rest> {
    let first = if here.shared().journal.watching().is_some() {
        First::Not(message)
    } else {
        match run(here, message) {
            Begun::Waits(rest) => First::Waits(rest),
            Begun::Ended(outcome) => match ended(outcome) {
                Ok(outcome) => return Begun::Ended(conclude(outcome, &received)),
                Err(failure) => First::Failed(failure),
            },
        }
    };
    Begun::Waits(Rest { seat: here.seat(), received, first })
}

impl Rest {
    /// Waits until the outcome is final.
    ///
    /// Thousands may wait, and futures are moved when they are first waited for: what seldom happens is on the heap, so that what
    /// waits is small.
    #[expect(clippy::manual_async_fn, reason = "an async fn keeps what it is called with twice")]
    pub(crate) fn end(self) -> impl Future<Output = Final> {
        async move {
            let (here, received) = (self.seat.here(), &self.received);
            let outcome = match self.first {
                First::Not(message) => Box::pin(watched(here, received, message)).await,
                First::Failed(failure) => Box::pin(settle(here, received, failure)).await,
                First::Waits(rest) => match rest.end().await {
                    Outcome::Failed(failure) => Box::pin(settle(here, received, failure)).await,
                    outcome => outcome,
                },
            };
            let outcome = match ended(outcome) {
                Ok(outcome) => outcome,
                Err(failure) => Box::pin(give_up(here, received, &failure)).await,
            };
            conclude(outcome, received)
        }
    }
}

/// An outcome that is final.
///
/// # Errors
/// The failure of one that is not: it is tried again or given up.
fn ended(outcome: Outcome) -> Result<FinalOutcome, Failure> {
    match outcome {
        Outcome::Done => Ok(FinalOutcome::Done),
        Outcome::Dropped(reason) => Ok(FinalOutcome::Dropped(reason)),
        Outcome::Rejected(reason) => Ok(FinalOutcome::Rejected(reason)),
        Outcome::Failed(failure) => Err(failure),
    }
}

fn conclude(outcome: FinalOutcome, received: &Received) -> Final {
    Final { outcome, attempts: received.progress.attempts.load(Relaxed) }
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

/// Begins the chain. A message that has expired is not tried.
fn run(here: Here<'_>, message: Message) -> Begun<Outcome, chain::Rest> {
    if message.has_expired() {
        return Begun::Ended(Outcome::Dropped(class::EXPIRED));
    }
    match message.payload().check() {
        Ok(()) => chain::begin(here, 0, message),
        Err(error) => Begun::Ended(Outcome::Failed(error.into())),
    }
}

/// Asks the journal first, and is in it until it comes to a result.
async fn watched(here: Here<'_>, received: &Arc<Received>, message: Message) -> Outcome {
    let mut _until_the_end = None;
    if let Some(journal) = here.shared().journal.watching() {
        match permit(journal, here.route(), received).await {
            Ok(handling) => _until_the_end = Some(handling),
            Err(failure) => return Outcome::Failed(failure),
        }
    }
    match run(here, message).end(chain::Rest::end).await {
        Outcome::Failed(failure) => settle(here, received, failure).await,
        outcome => outcome,
    }
}

/// Goes on after a failure. A handler's comes back when its retries are used up; one of the middleware itself is retried here, from
/// the message as it came: finished handlers are not run again.
async fn settle(here: Here<'_>, received: &Arc<Received>, mut failure: Failure) -> Outcome {
    let shared = here.shared();
    let mut retry = Retry::new(shared.max_attempts, &shared.health);
    loop {
        match retry.pause(failure) {
            Ok(pause) => sleep(pause).await,
            Err(failure) => {
                received.progress.tried(failure.attempts);
                return Outcome::Failed(failure);
            }
        }
        here.route().counters.retries.up();
        here.cells().retried();
        let again = Message::again(Arc::clone(received));
        match run(here, again).end(chain::Rest::end).await {
            Outcome::Failed(next) => failure = next,
            outcome => return outcome,
        }
    }
}

async fn give_up(here: Here<'_>, received: &Received, failure: &Failure) -> FinalOutcome {
    let route = here.route();
    if let Some(topic) = &route.dead_letter {
        dead_letter::publish(topic, here, received, failure).await;
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
