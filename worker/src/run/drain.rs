//! Sessions on their way out: each is emptied and ended by a worker of its own, beside those that serve.
//!
//! # Guarantees
//! - A session is ended only when it is proven empty; until then it is kept, and drained again.
//! - A drain has a part of a worker's window and concurrency, and no say in readiness.

use std::{collections::BTreeMap, time::Duration};

use futures::future::{join_all, select_all};
use routemq_mqtt::{ConnectionState, SessionStatus};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use crate::worker::{RunningWorker, Summary};

/// The part of a worker's receive maximum that a drain gets.
const WINDOW_SHARE: u16 = 4;
/// No drain has a smaller window, but for a worker whose own is smaller.
const SMALLEST_WINDOW: u16 = 16;

/// The window of a drain beside a worker with this one.
pub(super) fn window(receive_maximum: u16) -> u16 {
    (receive_maximum / WINDOW_SHARE).max(SMALLEST_WINDOW.min(receive_maximum))
}

/// The sessions that this process drains, by slot.
#[derive(Debug, Default)]
pub(super) struct Drains {
    running: BTreeMap<u32, Drain>,
}

#[derive(Debug)]
struct Drain {
    /// Told how long what runs may take to finish.
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<(Summary, Outcome)>,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing is left of the session.
    Ended,
    /// The broker may still have it: to be drained again.
    Unsure,
    /// Somebody else is connected with its client id.
    TakenOver,
    /// It was told to stop; the session stays.
    Stopped,
}

impl Drains {
    pub(super) fn start(&mut self, worker: RunningWorker) {
        let slot = worker.identity().slot;
        tracing::info!(worker = %worker.identity(), "draining a session that is no longer needed");
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(drain(worker, stopped));
        self.running.insert(slot, Drain { stop, task });
    }

    pub(super) fn holds(&self, slot: u32) -> bool {
        self.running.contains_key(&slot)
    }

    /// Those that are drained.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> + use<> {
        let slots: Vec<u32> = self.running.keys().copied().collect();
        slots.into_iter()
    }

    /// The next drain that has ended, with its slot; never, where there is none.
    pub(super) async fn next(&mut self) -> (u32, Summary, Outcome) {
        loop {
            if self.running.is_empty() {
                return std::future::pending().await;
            }
            let (slots, tasks): (Vec<u32>, Vec<_>) =
                self.running.iter_mut().map(|(slot, drain)| (*slot, &mut drain.task)).unzip();
            let (ended, index, _) = select_all(tasks).await;
            self.running.remove(&slots[index]);
            // A task that panicked has nothing to say.
            if let Ok((summary, outcome)) = ended {
                return (slots[index], summary, outcome);
            }
        }
    }

    /// Stops one; its session stays.
    pub(super) async fn stop(&mut self, slot: u32, patience: Duration) -> Option<Summary> {
        let Drain { stop, task } = self.running.remove(&slot)?;
        // It may just have ended.
        let _ = stop.send(patience);
        task.await.ok().map(|(summary, _)| summary)
    }

    /// Stops all of them at once.
    pub(super) async fn stop_all(&mut self, patience: Duration) -> Vec<Summary> {
        let stopped = std::mem::take(&mut self.running).into_values().map(async |drain| {
            let _ = drain.stop.send(patience);
            drain.task.await.ok().map(|(summary, _)| summary)
        });
        join_all(stopped).await.into_iter().flatten().collect()
    }
}

async fn drain(worker: RunningWorker, stop: oneshot::Receiver<Duration>) -> (Summary, Outcome) {
    let status = worker.status();
    tokio::select! {
        () = worker.drained() => {}
        () = taken_over(status) => return (worker.stop(Duration::ZERO).await, Outcome::TakenOver),
        // Without anybody to tell it, it goes on as told last: to stop.
        patience = stop => {
            return (worker.stop(patience.unwrap_or_default()).await, Outcome::Stopped);
        }
    }
    let name = worker.identity().clone();
    let (summary, told) = worker.discard().await;
    if told {
        tracing::info!(worker = %name, handled = summary.totals.handled(), "the session is drained and ended");
    }
    (summary, if told { Outcome::Ended } else { Outcome::Unsure })
}

/// Another connection has the client id.
pub(super) async fn taken_over(mut status: watch::Receiver<SessionStatus>) {
    let taken = |status: &SessionStatus| {
        matches!(status.connection, ConnectionState::Waiting { taken_over: true, .. })
    };
    if status.wait_for(taken).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::window;

    #[test]
    fn a_drain_gets_a_quarter_of_the_window_and_never_more_than_there_is() {
        let windows = [65_535, 1000, 40, 10, 1].map(window);
        assert_eq!(windows, [16_383, 250, 16, 10, 1]);
    }
}
