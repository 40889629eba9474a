//! The lanes of one worker: started together, stopped so that nothing finished stays unacknowledged.

use std::num::NonZero;

use futures::future::join_all;
use routemq_mqtt::Acks;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::{
    feeds::Batch,
    handling::{Handling, Shared, begin},
    lane::{Lane, Mark},
    shard::{Command, Shard},
};
use crate::{engine::Rest, monitor::LaneBeat};

/// The ways into them, and their tasks.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) commands: Vec<mpsc::UnboundedSender<Command<Batch>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Lanes {
    /// As many lanes as there are processors, and no more than handlers may be at work.
    pub(super) fn count(concurrency: usize) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        processors.min(concurrency).max(1)
    }

    /// The lanes share `concurrency` out.
    pub(super) fn start(concurrency: usize, shared: &Shared, acks: &Acks) -> Self {
        let count = Self::count(concurrency);
        let mut lanes = Self::default();
        for index in 0..count {
            let limit = concurrency / count + usize::from(index < concurrency % count);
            let (commands, receiver) = mpsc::unbounded_channel();
            let work = Handling::new(index, shared.clone(), acks.clone());
            let lane = Lane::new(limit, begin, Rest::end);
            lanes.commands.push(commands);
            lanes.tasks.push(tokio::spawn(Shard::new(work, lane, receiver).run()));
        }
        lanes
    }

    pub(super) fn beats(&self) -> Vec<LaneBeat> {
        let beat = |lane: &mpsc::UnboundedSender<Command<Batch>>| {
            let lane = lane.clone();
            LaneBeat::new(move |beat| lane.send(Command::Beat(beat)).is_ok())
        };
        self.commands.iter().map(beat).collect()
    }

    /// Finishes what stands before the furthest message that any lane has started, so that everything finished can
    /// be acknowledged in order; at the deadline what is left is dropped, unacknowledged.
    pub(super) async fn stop(self, deadline: Instant) {
        let furthest = self.halt().await;
        for lane in &self.commands {
            let _ = lane.send(Command::Finish(furthest));
        }
        for mut task in self.tasks {
            if timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
                let _ = task.await;
            }
        }
    }

    async fn halt(&self) -> Option<Mark> {
        let ask = |lane: &mpsc::UnboundedSender<Command<Batch>>| {
            let (reply, answer) = oneshot::channel();
            let _ = lane.send(Command::Halt(reply));
            answer
        };
        let answers = join_all(self.commands.iter().map(ask)).await;
        answers.into_iter().filter_map(Result::ok).max().flatten()
    }
}
