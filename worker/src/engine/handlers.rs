//! The handlers of a route, in order, each tried until it is done or given up.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
    task::Poll,
};

use futures::FutureExt as _;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Compiled, chain::panicked};
use crate::{
    handler,
    message::Message,
    metrics::RouteCells,
    outcome::{Failure, Outcome, class},
    retry::Retry,
};

/// Runs the handlers that are not finished yet.
pub(super) async fn run(route: &Compiled, cells: &RouteCells, message: &Message) -> Outcome {
    let progress = &message.progress;
    let first = progress.finished.load(Ordering::Relaxed);
    for (index, handler) in route.handlers.iter().enumerate().skip(first) {
        match persist(route, cells, handler, message).await {
            Outcome::Done => progress.finished.store(index + 1, Ordering::Relaxed),
            other => return other,
        }
    }
    Outcome::Done
}

/// Tries one handler until it ends in something else than a failure that may pass.
async fn persist(
    route: &Compiled,
    cells: &RouteCells,
    handler: &handler::Compiled,
    message: &Message,
) -> Outcome {
    let shared = &route.shared;
    let mut retry = Retry::new(shared.max_attempts, &shared.health);
    loop {
        if message.has_expired() {
            return Outcome::Dropped(class::EXPIRED);
        }
        message.progress.attempts.fetch_max(retry.attempts(), Ordering::Relaxed);
        let started = Instant::now();
        let outcome = attempt(route, handler, message, started).await;
        if !message.progress.is_skipped(handler.index()) {
            cells.handled(handler.index(), started.elapsed());
        }
        let failure = match outcome {
            Outcome::Failed(failure) => failure,
            outcome => return outcome,
        };
        tracing::debug!(
            route = &*route.info.name,
            handler = handler.kind(),
            class = failure.class,
            attempt = retry.attempts(),
            "a handler failed"
        );
        match retry.pause(failure) {
            Ok(pause) => sleep(pause).await,
            Err(failure) => return Outcome::Failed(failure),
        }
        cells.retried();
        route.counters.retries.up();
    }
}

/// One attempt: bounded in time, and a panic stays inside.
async fn attempt(
    route: &Compiled,
    handler: &handler::Compiled,
    message: &Message,
    started: Instant,
) -> Outcome {
    let Ok(work) = catch_unwind(AssertUnwindSafe(|| handler.begin(message, route))) else {
        return Outcome::Failed(panicked());
    };
    let mut work = AssertUnwindSafe(work).catch_unwind();
    // Most are done at once, and need no timer.
    let first = poll_fn(|cx| Poll::Ready(work.poll_unpin(cx))).await;
    let result = match first {
        Poll::Ready(ended) => Ok(ended),
        Poll::Pending => timeout_at(started + route.shared.timeout, work).await,
    };
    match result {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Outcome::Failed(panicked()),
        Err(_) => Outcome::Failed(timed_out(route, handler)),
    }
}

fn timed_out(route: &Compiled, handler: &handler::Compiled) -> Failure {
    let seconds = route.shared.timeout.as_secs_f32();
    let words = format!("the {} handler took longer than {seconds} s", handler.kind());
    let (kind, class) = handler.on_timeout();
    Failure::new(kind, class, words)
}
