//! The task of one `MqttRoute` that runs: waits for its database, keeps its workers, stops them.

mod draining;
mod serving;

use std::{ops::Range, sync::Arc, time::Duration};

use futures::future::{BoxFuture, join_all, select_all};
use routemq_crds::stop::{CLOSE_DATABASE, LAST_PUBLISHES};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{
    RunSettings,
    drain::{self, Drains},
    plan::Plan,
    route::Connections,
};
use crate::{
    engine::Engine,
    slot::{Adoption, LocalSlots, Slots as _},
    worker::{RunningWorker, Summary},
};

/// What the task is told.
pub(super) enum Order {
    /// Take up a table, and run so many workers.
    Swap(Arc<Engine>, Box<Plan>),
    /// Workers that will not resume the sessions come next: drain and end them, as far as the drain time allows.
    Leave,
    /// Answer when every worker is settled.
    Settled(oneshot::Sender<()>),
    /// End.
    Stop,
}

/// What the sessions served in an earlier life of the route.
#[derive(Clone, Debug, Default)]
pub(super) struct Before {
    /// What they hold.
    pub(super) held: Vec<String>,
    /// The table; `None`: what comes for its gone routes is unmatched.
    pub(super) engine: Option<Arc<Engine>>,
    /// Slots that are no more: their sessions are to be drained.
    pub(super) gone: Range<u32>,
}

/// The state of a route's task.
pub(super) struct Supervisor {
    plan: Plan,
    engine: Arc<Engine>,
    connections: Connections,
    slots: LocalSlots,
    workers: Vec<RunningWorker>,
    drains: Drains,
    /// Of workers that have ended before the stop.
    summaries: Vec<Summary>,
    /// Who asked to be told when workers are settled, before there were any.
    asked: Vec<oneshot::Sender<()>>,
    before: Before,
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
        let (drains, before) = (Drains::default(), Before::default());
        Self {
            plan,
            engine,
            connections,
            slots,
            workers,
            drains,
            summaries,
            asked,
            before,
            settings,
        }
    }

    /// Takes up sessions that served something else before.
    pub(super) fn after(self, before: Before) -> Self {
        Self { before, ..self }
    }

    /// Does what it is told, in order, until it is told to stop.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Vec<Summary> {
        if self.database_ready(&mut orders).await {
            self.fill_slots().await;
            self.drain_gone().await;
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
                    // No worker of this life has connected yet.
                    Some(Order::Leave) => {}
                    Some(Order::Stop) | None => return false,
                },
            }
        }
    }

    async fn obey(&mut self, orders: &mut mpsc::Receiver<Order>) {
        let (mut leased, mut adopted) = (self.leased(), self.adopted());
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
                Ok(()) = adopted.changed() => {
                    let adoption = adopted.borrow_and_update().clone();
                    self.adopt(adoption).await;
                    continue;
                }
                (slot, summary, outcome) = self.drains.next() => {
                    self.summaries.push(summary);
                    self.after_drain(slot, outcome).await;
                    continue;
                }
            };
            match order {
                Some(Order::Swap(engine, plan)) => self.swap(engine, *plan).await,
                Some(Order::Leave) => self.leave().await,
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

    /// The retired slot that this process is to drain, likewise. From now on it has what a drain needs.
    fn adopted(&self) -> watch::Receiver<Option<Adoption>> {
        let Some(lease) = &self.settings.lease else { return watch::channel(None).1 };
        lease.adopt_from_now_on(true);
        let mut adopted = lease.watch_adoption();
        adopted.mark_changed();
        adopted
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
        let abandoned = |worker: &RunningWorker| {
            let lease = self.settings.lease.as_ref();
            lease.is_some_and(|lease| lease.is_abandoned(worker.identity().slot))
        };
        let (orphans, go): (Vec<_>, Vec<_>) = go.into_iter().partition(abandoned);
        for worker in orphans {
            // Nobody will resume its session. Thrown out, it does not come back: its number may be another's by then.
            self.drains.start(worker);
        }
        let stopped = go.into_iter().map(|worker| worker.stop(Duration::ZERO));
        self.summaries.extend(join_all(stopped).await);
        if let (Some(slot), true) = (leased, self.workers.is_empty()) {
            self.start(slot).await;
            self.before = Before::default();
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
        self.retire_beyond(&plan);
        for worker in &self.workers {
            self.record(worker.identity().slot, &engine).await;
        }
        let own = || Engine::for_one_more(&engine);
        join_all(self.workers.iter().map(|worker| worker.swap(own()))).await;
        for slot in plan.slots.clone().filter(|slot| !self.plan.slots.contains(slot)) {
            self.slots.release(slot).await;
        }
        (self.engine, self.plan) = (engine, plan);
        self.fill_slots().await;
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
        if let Some(lease) = &self.settings.lease {
            lease.adopt_from_now_on(false);
        }
        let workers = join_all(self.workers.drain(..).map(|worker| worker.stop(drain)));
        let (mut stopped, drained) = tokio::join!(workers, self.drains.stop_all(drain));
        stopped.extend(drained);
        self.connections.publisher.stop(LAST_PUBLISHES).await;
        if let Some(database) = &self.connections.database {
            // One that hangs is left to its own timeouts.
            let _ = timeout(CLOSE_DATABASE, database.close()).await;
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
    let lost = |worker: &RunningWorker| -> BoxFuture<'static, ()> {
        Box::pin(drain::taken_over(worker.status()))
    };
    select_all(workers.iter().map(lost)).await.1
}
