use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::timeout,
};

use super::{
    fault::{Fault, Verdict},
    queue::Pending,
    value::SqlValue,
};
use crate::outcome::Failure;

/// Writes the rows of one insert, in batches. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inserter {
    /// `a row for table devices`
    what: Arc<str>,
    queue: mpsc::Sender<Pending>,
    limit: Duration,
}

/// A row on its way to its commit. Small: thousands may wait.
pub(crate) struct Writing {
    what: Arc<str>,
    /// Whoever waits for it waits no longer, by a clock of its own.
    pub(crate) limit: Duration,
    state: State,
}

enum State {
    HandedOver(oneshot::Receiver<Result<(), Fault>>),
    /// The queue was full.
    Boxed(Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>),
}

impl Inserter {
    pub(crate) fn new(table: &str, queue: mpsc::Sender<Pending>, limit: Duration) -> Self {
        Self { what: format!("a row for table {table}").into(), queue, limit }
    }

    /// Writes one row, its values in the order of `Insert::columns`. Resolves after the commit of its batch, within
    /// `DatabaseOptions::write_timeout`. Where this future is dropped, the row may or may not be written; its
    /// neighbours are not touched.
    ///
    /// # Errors
    /// Permanent where the database refuses this row; unavailable where it is away (the row may have been written,
    /// so that trying again is safe only with a unique key); systemic where table, column or right are missing;
    /// transient after deadlocks and lock waits.
    pub async fn write(&self, row: Vec<SqlValue>) -> Result<(), Failure> {
        let late = || Fault::new(Verdict::Away, "the row was not committed in time");
        let result = timeout(self.limit, self.hand_over(row)).await;
        result.unwrap_or_else(|_| Err(late().failure(&self.what)))
    }

    /// The same, without a clock.
    pub(crate) fn hand_over(&self, row: Vec<SqlValue>) -> Writing {
        let (done, outcome) = oneshot::channel();
        let state = match self.queue.try_send(Pending { row, done }) {
            Ok(()) | Err(TrySendError::Closed(_)) => State::HandedOver(outcome),
            Err(TrySendError::Full(pending)) => {
                let queue = self.queue.clone();
                State::Boxed(Box::pin(async move {
                    queue.send(pending).await.map_err(|_| stopped())?;
                    outcome.await.unwrap_or_else(|_| Err(stopped()))
                }))
            }
        };
        Writing { what: Arc::clone(&self.what), limit: self.limit, state }
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

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::{handler::Attempt, outcome::FailureKind};

    const LIMIT: Duration = Duration::from_secs(25);

    #[tokio::test(start_paused = true)]
    async fn a_row_that_nobody_collects_is_given_up_in_time() {
        let (queue, _collector) = mpsc::channel(1);
        let inserter = Inserter::new("t", queue, LIMIT);
        let started = Instant::now();
        // The second one finds the queue full.
        let rows = [inserter.write(Vec::new()), inserter.write(Vec::new())];
        for result in futures::future::join_all(rows).await {
            assert_eq!(result.unwrap_err().kind, FailureKind::Unavailable);
        }
        assert_eq!(started.elapsed(), LIMIT);
    }

    #[tokio::test]
    async fn a_row_of_a_queue_that_is_gone_is_unavailable_at_once() {
        let (queue, collector) = mpsc::channel(1);
        drop(collector);
        let failure = Inserter::new("t", queue, LIMIT).write(Vec::new()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unavailable);
    }

    #[test]
    fn a_handler_waits_for_a_row_no_longer_than_the_database_allows() {
        let (queue, _collector) = mpsc::channel(1);
        let attempt = Attempt::Writes(Inserter::new("t", queue, LIMIT).hand_over(Vec::new()));
        for (timeout, wanted) in [(5, 5), (3600, 25)] {
            let timeout = Duration::from_secs(timeout);
            assert_eq!(attempt.limit(timeout), Duration::from_secs(wanted), "{timeout:?}");
        }
    }
}
