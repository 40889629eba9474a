//! The handlers of a route, in order, each tried until it is done or given up.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use futures::FutureExt as _;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    chain::{guard, guarded},
    local::Here,
};
use crate::{
    begun::{self, Begun},
    clock,
    handler::{self, Attempt},
    message::Message,
    outcome::{Failure, Outcome, class},
    retry::Retry,
};

/// An attempt that was begun before.
enum First {
    Failed(Failure),
    Waits(Attempt, Instant),
}

/// What is left of handlers that wait: those from the `from`-th on, which has been tried once.
pub(super) struct Rest {
    message: Message,
    from: usize,
    first: First,
}

/// Begins the handlers that are not finished yet.
pub(super) fn begin(here: Here<'_>, message: Message) -> Begun<Outcome, Rest> {
    let finished = message.progress.finished.load(Relaxed);
    for (from, handler) in here.route().handlers.iter().enumerate().skip(finished) {
        let first = match attempt(here, handler, &message, 1) {
            Begun::Ended(Outcome::Done) => {
                message.progress.finished.store(from + 1, Relaxed);
                continue;
            }
            Begun::Ended(Outcome::Failed(failure)) => First::Failed(failure),
            Begun::Ended(outcome) => return Begun::Ended(outcome),
            Begun::Waits((work, started)) => First::Waits(work, started),
        };
        return Begun::Waits(Rest { message, from, first });
    }
    Begun::Ended(Outcome::Done)
}

impl Rest {
    /// Waits for the end of the last handler, or of the first that fails. Small, as all that may wait by the thousand: retries are on
    /// the heap.
    #[expect(clippy::manual_async_fn, reason = "an async fn keeps what it is called with twice")]
    pub(super) fn end(mut self, here: Here<'_>) -> impl Future<Output = Outcome> + use<'_> {
        async move {
            loop {
                let handlers = &here.route().handlers;
                let Some(handler) = handlers.get(self.from) else { return Outcome::Done };
                let message = &self.message;
                let outcome = match self.first {
                    First::Waits(work, started) => {
                        wait(here, handler, message, work, started).await
                    }
                    First::Failed(failure) => Outcome::Failed(failure),
                };
                let outcome = match outcome {
                    Outcome::Failed(failure) => {
                        Box::pin(persist(here, handler, message, failure)).await
                    }
                    outcome => outcome,
                };
                if !matches!(outcome, Outcome::Done) {
                    return outcome;
                }
                message.progress.finished.store(self.from + 1, Relaxed);
                match begin(here, self.message) {
                    Begun::Waits(next) => self = next,
                    Begun::Ended(outcome) => return outcome,
                }
            }
        }
    }
}

/// Tries a handler that failed until it ends in something else than a failure that may pass.
async fn persist(
    here: Here<'_>,
    handler: &handler::Compiled,
    message: &Message,
    mut failure: Failure,
) -> Outcome {
    let shared = here.shared();
    let mut retry = Retry::new(shared.max_attempts, &shared.health);
    loop {
        tracing::debug!(
            route = &**message.route(),
            handler = handler.kind(),
            class = failure.class,
            attempt = retry.attempts(),
            "a handler failed"
        );
        match retry.pause(failure) {
            Ok(pause) => sleep(pause).await,
            Err(failure) => return Outcome::Failed(failure),
        }
        here.cells().retried();
        here.route().counters.retries.up();
        let begun = attempt(here, handler, message, retry.attempts());
        match begun.end(|(work, started)| wait(here, handler, message, work, started)).await {
            Outcome::Failed(next) => failure = next,
            outcome => return outcome,
        }
    }
}

/// Begins the `number`-th attempt. A panic stays inside. A message that has expired is not tried.
fn attempt(
    here: Here<'_>,
    handler: &handler::Compiled,
    message: &Message,
    number: u32,
) -> Begun<Outcome, (Attempt, Instant)> {
    if message.has_expired() {
        return Begun::Ended(Outcome::Dropped(class::EXPIRED));
    }
    message.progress.tried(number);
    let started = clock::recent();
    let outcome = match guarded(|| begun::begin(handler.begin(message, here))) {
        Ok(Begun::Waits(work)) => return Begun::Waits((work, started)),
        Ok(Begun::Ended(outcome)) => outcome,
        Err(failure) => Outcome::Failed(failure),
    };
    count(here, handler, message, started);
    Begun::Ended(outcome)
}

/// Waits for the end of an attempt, as long as it may take.
fn wait<'a>(
    here: Here<'a>,
    handler: &'a handler::Compiled,
    message: &'a Message,
    work: Attempt,
    started: Instant,
) -> impl Future<Output = Outcome> + use<'a> {
    let limit = work.limit(here.shared().timeout);
    timeout_at(started + limit, guard(work)).map(move |ended| {
        count(here, handler, message, started);
        ended.unwrap_or_else(|_| timed_out(handler, limit))
    })
}

fn timed_out(handler: &handler::Compiled, limit: Duration) -> Outcome {
    let seconds = limit.as_secs_f32();
    let words = format!("the {} handler took longer than {seconds} s", handler.kind());
    let (kind, class) = handler.on_timeout();
    Outcome::Failed(Failure::new(kind, class, words))
}

/// An attempt has ended.
fn count(here: Here<'_>, handler: &handler::Compiled, message: &Message, started: Instant) {
    if !message.progress.is_skipped(handler.index()) {
        here.cells().handled(handler.index(), clock::now() - started);
    }
}
