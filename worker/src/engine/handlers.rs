//! The handlers of a route, in order, each tried until it is done or given up.

use std::sync::atomic::Ordering::Relaxed;

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
    /// Waits for the end of the last handler, or of the first that fails.
    pub(super) async fn end(self, here: Here<'_>) -> Outcome {
        let Self { message, from, first } = self;
        let mut first = Some(first);
        for (index, handler) in here.route().handlers.iter().enumerate().skip(from) {
            match persist(here, handler, &message, first.take()).await {
                Outcome::Done => message.progress.finished.store(index + 1, Relaxed),
                other => return other,
            }
        }
        Outcome::Done
    }
}

/// Tries one handler until it ends in something else than a failure that may pass.
async fn persist(
    here: Here<'_>,
    handler: &handler::Compiled,
    message: &Message,
    mut first: Option<First>,
) -> Outcome {
    let shared = here.shared();
    let mut retry = Retry::new(shared.max_attempts, &shared.health);
    loop {
        let begun = match first.take() {
            Some(First::Failed(failure)) => Begun::Ended(Outcome::Failed(failure)),
            Some(First::Waits(work, started)) => Begun::Waits((work, started)),
            None => attempt(here, handler, message, retry.attempts()),
        };
        let outcome =
            begun.end(|(work, started)| wait(here, handler, message, work, started)).await;
        let failure = match outcome {
            Outcome::Failed(failure) => failure,
            outcome => return outcome,
        };
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
async fn wait(
    here: Here<'_>,
    handler: &handler::Compiled,
    message: &Message,
    work: Attempt,
    started: Instant,
) -> Outcome {
    let timeout = here.shared().timeout;
    let ended = timeout_at(started + timeout, guard(work)).await;
    let outcome = ended.unwrap_or_else(|_| {
        let words =
            format!("the {} handler took longer than {} s", handler.kind(), timeout.as_secs_f32());
        let (kind, class) = handler.on_timeout();
        Outcome::Failed(Failure::new(kind, class, words))
    });
    count(here, handler, message, started);
    outcome
}

/// An attempt has ended.
fn count(here: Here<'_>, handler: &handler::Compiled, message: &Message, started: Instant) {
    if !message.progress.is_skipped(handler.index()) {
        here.cells().handled(handler.index(), clock::now() - started);
    }
}
