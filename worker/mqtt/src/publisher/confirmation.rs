//! What a publish is waited for with.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::{mpsc, oneshot};

use super::{PublishError, Published, flight::Job};

type Answer = oneshot::Receiver<Result<Published, PublishError>>;

/// A publish under way: resolves when the broker has the message, or will not have it. Small, so that a handler that waits for one
/// moves little. Dropping it gives up a message that is not yet sent.
#[must_use = "dropping it gives up what is not yet sent"]
pub struct Confirmation(State);

enum State {
    Awaited(Answer),
    /// The socket task has enough to do: it waits for its turn first.
    Queued(Pin<Box<dyn Future<Output = Result<Published, PublishError>> + Send>>),
    /// Taken when it is told.
    Known(Option<Result<Published, PublishError>>),
}

impl Confirmation {
    /// One whose end is known.
    pub fn known(result: Result<Published, PublishError>) -> Self {
        Self(State::Known(Some(result)))
    }

    pub(super) fn awaited(answer: Answer) -> Self {
        Self(State::Awaited(answer))
    }

    pub(super) fn queued(jobs: mpsc::Sender<Job>, job: Job, answer: Answer) -> Self {
        Self(State::Queued(Box::pin(async move {
            jobs.send(job).await.map_err(|_| PublishError::Stopped)?;
            answer.await.map_err(|_| PublishError::Stopped)?
        })))
    }
}

impl Future for Confirmation {
    type Output = Result<Published, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Awaited(answer) => {
                Pin::new(answer).poll(cx).map(|it| it.unwrap_or(Err(PublishError::Stopped)))
            }
            State::Queued(turn) => turn.as_mut().poll(cx),
            State::Known(result) => result.take().map_or(Poll::Pending, Poll::Ready),
        }
    }
}

impl fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            State::Awaited(_) => "Awaited",
            State::Queued(_) => "Queued",
            State::Known(_) => "Known",
        })
    }
}
