//! The task of one `MqttRoute` that runs: waits for its database, keeps its workers, stops them.

use std::{sync::Arc, time::Duration};

use futures::future::{BoxFuture, join_all, select_all};
use routemq_mqtt::{ConnectionState, Gate, SessionConfig, SessionStatus};
use tokio::sync::{mpsc, oneshot, watch};

use super::{RunSettings, plan::Plan, route::Connections};
use crate::{
    engine::Engine,
    slot::{LocalSlots, Slots},
    worker::{RunningWorker, Summary, WorkerOptions},
};

/// How long the publisher may take to write what is under way when everything else has stopped.
const PUBLISHER_PATIENCE: Duration = Duration::from_secs(2);

/// What the task is told.
pub(super) enum Order {
    /// Take up a table, and run so many workers.
    Swap(Arc<Engine>, Box<Plan>),
    /// Answer when every worker is settled.
    Settled(oneshot::Sender<()>),
    /// End.
    Stop,
}

/// The state of a route's task.
pub(super) struct Supervisor {
    plan: Plan,
    engine: Arc<Engine>,
    connections: Connections,
    slots: LocalSlots,
    workers: Vec<RunningWorker>,
    /// Of workers that have ended before the stop.
    summaries: Vec<Summary>,
    /// Who asked to be told when workers are settled, before there were any.
    asked: Vec<oneshot::Sender<()>>,
    settings: Arc<RunSettings>,
}

impl Supervisor {
    pub(super) fn new(
        plan: Plan,
        engine: Arc<Engine>,
        connections: Connections,
        settings: Arc<RunSettings>,
    ) -> Self {
        let slots = LocalSlots::new(plan.slots.clone());
        let (workers, summaries, asked) = (Vec::new(), Vec::new(), Vec::new());
        Self { plan, engine, connections, slots, workers, summaries, asked, settings }
    }

    /// Does what it is told, in order, until it is told to stop.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Vec<Summary> {
        if self.database_ready(&mut orders).await {
            self.fill_slots().await;
            self.tell_monitor();
            for answer in std::mem::take(&mut self.asked) {
                self.answer_when_settled(answer);
            }
            self.obey(&mut orders).await;
        }
        self.stop().await
    }

    /// Waits for the database; false: stopped meanwhile.
    async fn database_ready(&mut self, orders: &mut mpsc::Receiver<Order>) -> bool {
        let Some(database) = self.connections.database.clone() else { return true };
        let (name, table) = (self.plan.name.clone(), self.engine.table().clone());
        let settings = Arc::clone(&self.settings);
        let ready = database.ready(&name, &table, &settings);
        tokio::pin!(ready);
        loop {
            tokio::select! {
                () = &mut ready => return true,
                order = orders.recv() => match order {
                    Some(Order::Swap(engine, plan)) => {
                        self.slots = LocalSlots::new(plan.slots.clone());
                        (self.engine, self.plan) = (engine, *plan);
                    }
                    Some(Order::Settled(answer)) => self.asked.push(answer),
                    Some(Order::Stop) | None => return false,
                },
            }
        }
    }

    async fn obey(&mut self, orders: &mut mpsc::Receiver<Order>) {
        let mut leased = self.leased();
        loop {
            let order = tokio::select! {
                order = orders.recv() => order,
                index = taken_over(&self.workers) => {
                    self.give_up(index).await;
                    let slot = *leased.borrow_and_update();
                    self.take_up(slot).await;
                    continue;
                }
                // An error means that nobody leases slots to this process.
                Ok(()) = leased.changed() => {
                    let slot = *leased.borrow_and_update();
                    self.take_up(slot).await;
                    continue;
                }
            };
            match order {
                Some(Order::Swap(engine, plan)) => self.swap(engine, *plan).await,
                Some(Order::Settled(answer)) => self.answer_when_settled(answer),
                Some(Order::Stop) | None => return,
            }
        }
    }

    /// The slot that is leased to this process, at once and at every change; never, where slots are its own.
    fn leased(&self) -> watch::Receiver<Option<u32>> {
        let Some(lease) = &self.settings.lease else { return watch::channel(None).1 };
        let mut leased = lease.watch();
        leased.mark_changed();
        leased
    }

    /// Works on the slot that is leased to this process, and on no other. A slot that went to somebody else is left as it
    /// is: its session is theirs to resume.
    async fn take_up(&mut self, leased: Option<u32>) {
        if self.settings.lease.is_none() {
            return;
        }
        let (stay, go): (Vec<_>, Vec<_>) = std::mem::take(&mut self.workers)
            .into_iter()
            .partition(|worker| Some(worker.identity().slot) == leased);
        self.workers = stay;
        let stopped = go.into_iter().map(|worker| worker.stop(Duration::ZERO));
        self.summaries.extend(join_all(stopped).await);
        if let (Some(slot), true) = (leased, self.workers.is_empty()) {
            self.start(slot).await;
        }
        self.tell_monitor();
    }

    /// Without a slot of its own a leased worker is not ready.
    fn tell_monitor(&self) {
        let (monitor, name) = (&self.settings.monitor, &self.plan.name);
        if self.settings.lease.is_some() && self.workers.is_empty() {
            monitor.waits(name, "waiting for a slot");
        } else {
            monitor.runs(name);
        }
    }

    async fn swap(&mut self, engine: Arc<Engine>, plan: Plan) {
        self.retire_beyond(&plan).await;
        let own = || Arc::new(engine.for_another_worker());
        join_all(self.workers.iter().map(|worker| worker.swap(own()))).await;
        for slot in plan.slots.clone().filter(|slot| !self.plan.slots.contains(slot)) {
            self.slots.release(slot).await;
        }
        (self.engine, self.plan) = (engine, plan);
        self.fill_slots().await;
    }

    /// Workers whose slot is no more drain what the broker holds for them, and end their session.
    async fn retire_beyond(&mut self, plan: &Plan) {
        if self.settings.lease.is_some() {
            return;
        }
        let (stay, go): (Vec<_>, Vec<_>) = std::mem::take(&mut self.workers)
            .into_iter()
            .partition(|worker| plan.slots.contains(&worker.identity().slot));
        self.workers = stay;
        let drain = self.settings.drain;
        self.summaries.extend(join_all(go.into_iter().map(|worker| worker.retire(drain))).await);
    }

    async fn fill_slots(&mut self) {
        while let Some(slot) = self.slots.claim().await {
            self.start(slot).await;
        }
    }

    async fn start(&mut self, slot: u32) {
        let session = match self.plan.session(&self.settings.client_id, slot) {
            Ok(session) => session,
            Err(error) => {
                tracing::error!(route = %self.plan.name, slot, %error, "no worker for this slot");
                return;
            }
        };
        let options = WorkerOptions {
            engine: Arc::new(self.engine.for_another_worker()),
            session: SessionConfig { before_reconnect: self.gate(slot), ..session },
            slot,
            monitor: self.settings.monitor.clone(),
            observer: self.settings.observer.clone(),
            transition: self.plan.transition,
        };
        let worker = RunningWorker::start(options).await;
        self.settings.report.follow_session(worker.status());
        self.workers.push(worker);
    }

    /// Whoever was thrown out looks at the Lease before it connects again.
    fn gate(&self, slot: u32) -> Option<Gate> {
        let lease = self.settings.lease.clone()?;
        Some(Gate::new(move || {
            let lease = lease.clone();
            async move { lease.is_ours(slot).await }
        }))
    }

    fn answer_when_settled(&self, answer: oneshot::Sender<()>) {
        let settled = join_all(self.workers.iter().map(RunningWorker::settled));
        tokio::spawn(async move {
            settled.await;
            let _ = answer.send(());
        });
    }

    /// The broker is the arbiter of slots: whoever connected last has it.
    async fn give_up(&mut self, index: usize) {
        let worker = self.workers.swap_remove(index);
        tracing::error!(worker = %worker.identity(), "stopped: its slot is held by another process");
        self.summaries.push(worker.stop(Duration::ZERO).await);
    }

    async fn stop(mut self) -> Vec<Summary> {
        let drain = self.settings.drain;
        let stopped = join_all(self.workers.drain(..).map(|worker| worker.stop(drain))).await;
        self.connections.publisher.stop(PUBLISHER_PATIENCE).await;
        if let Some(database) = &self.connections.database {
            database.close().await;
        }
        self.summaries.extend(stopped);
        self.summaries
    }
}

/// The first worker whose client id another connection has taken.
async fn taken_over(workers: &[RunningWorker]) -> usize {
    if workers.is_empty() {
        return std::future::pending().await;
    }
    let lost =
        |worker: &RunningWorker| -> BoxFuture<'static, ()> { Box::pin(lost(worker.status())) };
    select_all(workers.iter().map(lost)).await.1
}

async fn lost(mut status: watch::Receiver<SessionStatus>) {
    let taken = |status: &SessionStatus| {
        matches!(status.connection, ConnectionState::Waiting { taken_over: true, .. })
    };
    if status.wait_for(taken).await.is_err() {
        std::future::pending::<()>().await;
    }
}
