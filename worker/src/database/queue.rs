//! Collects rows into batches by number, bytes and time.

use std::{sync::Arc, time::Duration};

use routemq_crds::table::Batch;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{Instant, timeout_at},
};

use super::{
    batch::{Row, WriteRows, settle},
    fault::Fault,
};

/// Bytes of one batch, about: bounds memory and stays below every server's packet limit.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// Rows that wait to be collected, at most: more than messages may be at work at once, so that handing over a row does not wait.
const WAITING: usize = 16_384;

/// A row that waits for its commit.
pub(crate) struct Pending {
    pub(crate) row: Row,
    pub(crate) done: oneshot::Sender<Result<(), Fault>>,
}

/// Starts the task that batches what comes in on the returned sender. It ends when every sender is
/// gone and what it had taken is settled. `in_flight` batches are written at the same time.
pub(crate) fn start<W: WriteRows + 'static>(
    writer: W,
    batch: Batch,
    in_flight: usize,
) -> mpsc::Sender<Pending> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(collect(Arc::new(writer), receiver, batch, Arc::new(Semaphore::new(in_flight))));
    sender
}

async fn collect<W: WriteRows + 'static>(
    writer: Arc<W>,
    mut rows: mpsc::Receiver<Pending>,
    batch: Batch,
    in_flight: Arc<Semaphore>,
) {
    let mut buffer = Vec::with_capacity(batch.max_rows.min(4096));
    while let Some(first) = rows.recv().await {
        buffer.push(first);
        let deadline = Instant::now() + batch.max_delay;
        fill(&mut rows, &mut buffer, batch.max_rows, Some(deadline)).await;
        let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else { return };
        // What came while all connections were at work goes with this batch.
        fill(&mut rows, &mut buffer, batch.max_rows, None).await;
        let writer = Arc::clone(&writer);
        let taken = std::mem::replace(&mut buffer, Vec::with_capacity(batch.max_rows.min(4096)));
        tokio::spawn(async move {
            write(&*writer, taken).await;
            drop(permit);
        });
    }
}

/// Takes rows until there are enough, or the deadline; without one, what is there.
async fn fill(
    rows: &mut mpsc::Receiver<Pending>,
    buffer: &mut Vec<Pending>,
    max_rows: usize,
    deadline: Option<Instant>,
) {
    let mut bytes: usize = buffer.iter().map(|pending| size(&pending.row)).sum();
    while buffer.len() < max_rows && bytes < MAX_BATCH_BYTES {
        let next = match (rows.try_recv(), deadline) {
            (Ok(pending), _) => Some(pending),
            (Err(_), None) => return,
            (Err(_), Some(deadline)) => timeout_at(deadline, rows.recv()).await.unwrap_or(None),
        };
        let Some(pending) = next else { return };
        bytes += size(&pending.row);
        buffer.push(pending);
    }
}

pub(crate) fn size(row: &Row) -> usize {
    row.iter().map(super::value::SqlValue::size).sum()
}

/// Rows whose message gave up before their batch began are left out; the others are settled
/// whether or not anybody still waits.
async fn write<W: WriteRows>(writer: &W, pending: Vec<Pending>) {
    let wanted = pending.into_iter().filter(|pending| !pending.done.is_closed());
    let (rows, waiters): (Vec<Row>, Vec<_>) = wanted.map(|p| (p.row, p.done)).unzip();
    if rows.is_empty() {
        return;
    }
    let started = Instant::now();
    writer.begin(rows.len());
    let results = settle(writer, &rows).await;
    tracing::trace!(rows = rows.len(), micros = micros(started.elapsed()), "batch settled");
    for (waiter, result) in waiters.into_iter().zip(results) {
        // The message may have given up meanwhile; its row is stored all the same.
        let _ = waiter.send(result);
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::{super::fault::Verdict, super::value::SqlValue, *};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<usize>>>);

    impl WriteRows for Log {
        async fn write(&self, rows: &[Row]) -> Result<(), Fault> {
            self.0.lock().unwrap().push(rows.len());
            tokio::task::yield_now().await;
            let bad = rows.iter().any(|row| row[0] == SqlValue::Null);
            if bad { Err(Fault::new(Verdict::Row, "null")) } else { Ok(()) }
        }

        fn take(&self, rows: usize) -> usize {
            rows
        }
    }

    fn batch(max_rows: usize, milliseconds: u64) -> Batch {
        Batch { max_rows, max_delay: Duration::from_millis(milliseconds) }
    }

    async fn put(
        queue: &mpsc::Sender<Pending>,
        value: SqlValue,
    ) -> oneshot::Receiver<Result<(), Fault>> {
        let (done, receiver) = oneshot::channel();
        assert!(queue.send(Pending { row: vec![value], done }).await.is_ok());
        receiver
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_written_when_it_is_full_or_its_first_row_has_waited_enough() {
        let log = Log::default();
        let queue = start(log.clone(), batch(4, 5), 2);
        let mut waiting = Vec::new();
        for i in 0..6 {
            waiting.push(put(&queue, SqlValue::Int(i)).await);
        }
        for receiver in waiting {
            assert_eq!(receiver.await.unwrap(), Ok(()));
        }
        assert_eq!(*log.0.lock().unwrap(), [4, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_future_takes_only_its_own_row_along() {
        let log = Log::default();
        let queue = start(log.clone(), batch(10, 5), 2);
        let first = put(&queue, SqlValue::Int(1)).await;
        drop(put(&queue, SqlValue::Int(2)).await);
        let third = put(&queue, SqlValue::Int(3)).await;
        assert_eq!((first.await.unwrap(), third.await.unwrap()), (Ok(()), Ok(())));
        assert_eq!(*log.0.lock().unwrap(), [2], "the row nobody waits for was not written");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bad_row_fails_alone() {
        let queue = start(Log::default(), batch(3, 5), 2);
        let (a, b, c) = (
            put(&queue, SqlValue::Int(1)).await,
            put(&queue, SqlValue::Null).await,
            put(&queue, SqlValue::Int(3)).await,
        );
        assert_eq!(a.await.unwrap(), Ok(()));
        assert_eq!(b.await.unwrap().unwrap_err().verdict, Verdict::Row);
        assert_eq!(c.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_is_settled_after_the_queue_is_dropped() {
        let queue = start(Log::default(), batch(100, 50), 2);
        let waiting = put(&queue, SqlValue::Int(1)).await;
        drop(queue);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_bounded_in_bytes() {
        let log = Log::default();
        let queue = start(log.clone(), batch(100, 5), 1);
        let big = || SqlValue::from("x".repeat(MAX_BATCH_BYTES / 2));
        let mut waiting = Vec::new();
        for _ in 0..4 {
            waiting.push(put(&queue, big()).await);
        }
        for receiver in waiting {
            assert_eq!(receiver.await.unwrap(), Ok(()));
        }
        assert_eq!(*log.0.lock().unwrap(), [2, 2]);
    }
}
