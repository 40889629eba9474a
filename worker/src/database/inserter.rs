use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use super::{
    fault::{Fault, Verdict},
    queue::Pending,
    value::SqlValue,
};
use crate::{clock, outcome::Failure};

/// Writes the rows of one insert, in batches. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inserter {
    /// `a row for table devices`
    what: Arc<str>,
    queue: mpsc::Sender<Pending>,
}

/// A row on its way to its commit. Small: thousands may wait.
pub struct Writing {
    what: Arc<str>,
    state: State,
}

enum State {
    HandedOver(oneshot::Receiver<Result<(), Fault>>),
    /// The queue was full.
    Boxed(Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>),
}

impl Inserter {
    pub(crate) fn new(table: &str, queue: mpsc::Sender<Pending>) -> Self {
        Self { what: format!("a row for table {table}").into(), queue }
    }

    /// Writes one row, its values in the order of `Insert::columns`. Resolves after the commit of its batch, within
    /// `DatabaseOptions::write_timeout`. Where this future is dropped, the row may or may not be written; its
    /// neighbours are not touched.
    ///
    /// # Errors
    /// Permanent where the database refuses this row; unavailable where it is away (the row may have been written,
    /// so that trying again is safe only with a unique key); systemic where table, column or right are missing;
    /// transient after deadlocks and lock waits.
    pub fn write(&self, row: Vec<SqlValue>) -> Writing {
        let (done, outcome) = oneshot::channel();
        let state = match self.queue.try_send(Pending { row, done, since: clock::recent() }) {
            Ok(()) | Err(TrySendError::Closed(_)) => State::HandedOver(outcome),
            Err(TrySendError::Full(pending)) => {
                let queue = self.queue.clone();
                State::Boxed(Box::pin(async move {
                    queue.send(pending).await.map_err(|_| stopped())?;
                    outcome.await.unwrap_or_else(|_| Err(stopped()))
                }))
            }
        };
        Writing { what: Arc::clone(&self.what), state }
    }
}

impl Future for Writing {
    type Output = Result<(), Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = match &mut self.state {
            State::HandedOver(outcome) => {
                Pin::new(outcome).poll(cx).map(|it| it.unwrap_or_else(|_| Err(stopped())))
            }
            State::Boxed(work) => work.as_mut().poll(cx),
        };
        polled.map_err(|fault| fault.failure(&self.what))
    }
}

/// A queue that was closed drops what it is given.
fn stopped() -> Fault {
    Fault::new(Verdict::Away, "the writer was stopped")
}

impl fmt::Debug for Writing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writing").field("what", &self.what).finish_non_exhaustive()
    }
}
