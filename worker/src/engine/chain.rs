//! The way through the middleware to the handlers.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt as _;
use tokio::time::{Instant, sleep};

use super::{
    handlers,
    local::{Here, Seat},
};
use crate::{
    begun::{self, Begun},
    handler::BoxFuture,
    message::{Message, Received},
    middleware::{Entered, Log, Step},
    outcome::{Failure, Outcome, class},
};

/// The steps after a middleware: the rest of the middleware, then the handlers.
#[derive(Clone, Debug)]
pub struct Next {
    seat: Seat,
    at: usize,
}

/// The rest under way. Small until something waits.
enum Running {
    Begins(Next, Message),
    Waits(BoxFuture<Outcome>),
    Over,
}

impl Next {
    /// Runs the rest. Retries happen inside: what comes back is what the message came to.
    pub fn run(self, message: Message) -> impl Future<Output = Outcome> + Send + Unpin + use<> {
        Running::Begins(self, message)
    }
}

impl Future for Running {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        if let Self::Waits(work) = &mut *self {
            return work.as_mut().poll(cx);
        }
        let Self::Begins(next, message) = std::mem::replace(&mut *self, Self::Over) else {
            return Poll::Pending;
        };
        match begin(next.seat.here(), next.at, message) {
            Begun::Ended(outcome) => Poll::Ready(outcome),
            Begun::Waits(rest) => {
                let mut work: BoxFuture<Outcome> = Box::pin(rest.end());
                let polled = work.as_mut().poll(cx);
                *self = Self::Waits(work);
                polled
            }
        }
    }
}

/// What is left of a chain that waits.
pub(super) struct Rest {
    seat: Seat,
    logged: Option<Logged>,
    stage: Stage,
}

enum Stage {
    /// Custom code, or a pause.
    Boxed(BoxFuture<Outcome>),
    Handlers(handlers::Rest),
}

impl Rest {
    /// Waits for its end.
    #[expect(clippy::manual_async_fn, reason = "an async fn keeps what it is called with twice")]
    pub(super) fn end(self) -> impl Future<Output = Outcome> {
        async move {
            let outcome = match self.stage {
                Stage::Boxed(work) => guard(work).await,
                Stage::Handlers(rest) => rest.end(self.seat.here()).await,
            };
            if let Some(logged) = &self.logged {
                logged.end(&outcome);
            }
            outcome
        }
    }
}

/// Begins the steps from `from` on, then the handlers.
pub(super) fn begin(here: Here<'_>, from: usize, message: Message) -> Begun<Outcome, Rest> {
    let logged = Logged::begin(here, from, &message);
    match steps(here, from, message) {
        Begun::Ended(outcome) => {
            if let Some(logged) = logged {
                logged.end(&outcome);
            }
            Begun::Ended(outcome)
        }
        Begun::Waits(stage) => Begun::Waits(Rest { seat: here.seat(), logged, stage }),
    }
}

fn steps(here: Here<'_>, from: usize, mut message: Message) -> Begun<Outcome, Stage> {
    let shared = here.shared();
    for (at, step) in here.steps().iter().enumerate().skip(from) {
        if let Some(around) = step.around() {
            let next = Next { seat: here.seat(), at: at + 1 };
            return match guarded(|| begun::begin(around.run(message, next, shared))) {
                Ok(Begun::Ended(outcome)) => Begun::Ended(outcome),
                Ok(Begun::Waits(work)) => Begun::Waits(Stage::Boxed(work)),
                Err(failure) => Begun::Ended(Outcome::Failed(failure)),
            };
        }
        match step.enter(&mut message, shared) {
            Entered::Continue => {}
            Entered::Wait(pause) => {
                return Begun::Waits(Stage::Boxed(later(here.seat(), at + 1, message, pause)));
            }
            Entered::End(outcome) => return Begun::Ended(outcome),
        }
    }
    match handlers::begin(here, message) {
        Begun::Ended(outcome) => Begun::Ended(outcome),
        Begun::Waits(rest) => Begun::Waits(Stage::Handlers(rest)),
    }
}

fn later(seat: Seat, at: usize, message: Message, pause: Duration) -> BoxFuture<Outcome> {
    Box::pin(async move {
        sleep(pause).await;
        let begun = steps(seat.here(), at, message);
        begun.end(|stage| Rest { seat, logged: None, stage }.end()).await
    })
}

/// A message that `log` steps tell of when its outcome is known: those up to the first step that wraps the rest, which logs for
/// itself.
struct Logged {
    seat: Seat,
    from: usize,
    received: Arc<Received>,
    started: Instant,
}

impl Logged {
    /// A level that is off costs a look at it: no clock, no reference.
    fn begin(here: Here<'_>, from: usize, message: &Message) -> Option<Self> {
        let is_on = logs(here.steps(), from).any(Log::is_on);
        is_on.then(|| Self {
            seat: here.seat(),
            from,
            received: Arc::clone(message.received()),
            started: Instant::now(),
        })
    }

    fn end(&self, outcome: &Outcome) {
        let logs = logs(self.seat.here().steps(), self.from);
        logs.for_each(|log| log.write(&self.received, outcome, self.started.elapsed()));
    }
}

fn logs(steps: &[Arc<Step>], from: usize) -> impl Iterator<Item = &Log> {
    let steps = steps[from..].iter();
    steps.take_while(|step| step.around().is_none()).filter_map(|step| step.log())
}

/// Runs custom code: its panic is a failure. Its own words are on stderr, they may quote the message.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| panicked())
}

/// The same for what waits.
pub(super) fn guard<F: Future<Output = Outcome>>(
    work: F,
) -> impl Future<Output = Outcome> + use<F> {
    let ended = AssertUnwindSafe(work).catch_unwind();
    ended.map(|ended| ended.unwrap_or_else(|_| Outcome::Failed(panicked())))
}

fn panicked() -> Failure {
    Failure::transient(class::PANIC, "the code panicked; its message is on standard error")
}
