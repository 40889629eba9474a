use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
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
        let result = timeout(self.limit, self.settled(row)).await;
        result.unwrap_or_else(|_| Err(late())).map_err(|fault| fault.failure(&self.what))
    }

    async fn settled(&self, row: Vec<SqlValue>) -> Result<(), Fault> {
        let stopped = || Fault::new(Verdict::Away, "the writer was stopped");
        let (done, outcome) = oneshot::channel();
        self.queue.send(Pending { row, done }).await.map_err(|_| stopped())?;
        outcome.await.unwrap_or_else(|_| Err(stopped()))
    }
}
