//! The task of one `MqttRoute` that runs: waits for its database, keeps its workers, stops them.

use std::{ops::Range, sync::Arc, time::Duration};

use futures::future::{BoxFuture, join_all, select_all};
use routemq_crds::{
    stop::{CLOSE_DATABASE, LAST_PUBLISHES},
    v1alpha1::SessionKind,
};
use routemq_mqtt::{ConnectionState, Gate, SessionConfig, SessionStatus};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout, timeout_at},
};

use super::{
    RunError, RunSettings,
    drain::{self, Drains, Outcome},
    plan::Plan,
    route::Connections,
};
use crate::{
    engine::Engine,
    slot::{Adoption, Leased, LocalSlots, Losses, Slots},
    worker::{Purpose, RunningWorker, Summary, WorkerOptions, filters},
};

/// How long a broker that is away may keep its sessions from being drained: its URL may have changed because of that.
const AWAY: Duration = Duration::from_secs(5);

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
        let own = || Arc::new(engine.for_another_worker());
        join_all(self.workers.iter().map(|worker| worker.swap(own()))).await;
        for slot in plan.slots.clone().filter(|slot| !self.plan.slots.contains(slot)) {
            self.slots.release(slot).await;
        }
        (self.engine, self.plan) = (engine, plan);
        self.fill_slots().await;
    }

    /// Workers whose slot is no more drain what the broker holds for them, and end their session.
    fn retire_beyond(&mut self, plan: &Plan) {
        if self.settings.lease.is_some() {
            return;
        }
        let (stay, go): (Vec<_>, Vec<_>) = std::mem::take(&mut self.workers)
            .into_iter()
            .partition(|worker| plan.slots.contains(&worker.identity().slot));
        self.workers = stay;
        for worker in go {
            self.drains.start(worker);
        }
    }

    /// Slots of an earlier life that this one lacks.
    async fn drain_gone(&mut self) {
        for slot in self.before.gone.clone() {
            self.drain(slot, self.before.held.clone()).await;
        }
        if self.settings.lease.is_none() {
            self.before = Before::default();
        }
    }

    /// Drains and ends every session, within the drain time; a broker that is away gets little of it.
    async fn leave(&mut self) {
        let connected = |worker: &RunningWorker| {
            matches!(worker.status().borrow().connection, ConnectionState::Connected { .. })
        };
        let any = self.workers.iter().any(connected) || self.drains.slots().next().is_some();
        let patience = if any { self.settings.drain } else { AWAY.min(self.settings.drain) };
        let deadline = Instant::now() + patience;
        for worker in std::mem::take(&mut self.workers) {
            self.drains.start(worker);
        }
        while self.drains.slots().next().is_some() {
            let Ok((_, summary, _)) = timeout_at(deadline, self.drains.next()).await else { break };
            self.summaries.push(summary);
        }
        for slot in self.drains.slots() {
            tracing::warn!(
                route = %self.plan.name, slot, broker = self.plan.url.host_str(),
                "not drained in time: what this broker still holds for the session is lost when it expires"
            );
        }
    }

    /// Drains the retired slot that this process has adopted, and no other.
    async fn adopt(&mut self, adoption: Option<Adoption>) {
        let slot = adoption.as_ref().map(|adoption| adoption.slot);
        let leased = |slot: &u32| {
            self.settings.lease.as_ref().is_some_and(|lease| !lease.is_abandoned(*slot))
        };
        let others = self.drains.slots().filter(leased).filter(|draining| Some(*draining) != slot);
        for other in others.collect::<Vec<_>>() {
            self.summaries.extend(self.drains.stop(other, Duration::ZERO).await);
        }
        if let Some(Adoption { slot, filters }) = adoption.filter(|it| !self.drains.holds(it.slot))
        {
            self.leave_slot(slot).await;
            self.drain(slot, filters).await;
        }
    }

    /// Whoever serves a slot stops: its session is to be drained.
    async fn leave_slot(&mut self, slot: u32) {
        if let Some(index) = self.workers.iter().position(|worker| worker.identity().slot == slot) {
            let worker = self.workers.swap_remove(index);
            self.summaries.push(worker.stop(self.settings.drain).await);
        }
    }

    async fn drain(&mut self, slot: u32, held: Vec<String>) {
        if self.plan.session == SessionKind::Ephemeral {
            // It ended with its connection.
            return self.after_drain(slot, Outcome::Ended).await;
        }
        if let Some(worker) = self.worker(slot, held, Purpose::Drain).await {
            self.drains.start(worker);
        }
    }

    async fn after_drain(&mut self, slot: u32, outcome: Outcome) {
        match (outcome, &self.settings.lease) {
            (Outcome::Ended, Some(lease)) => lease.drained(slot).await,
            (Outcome::Ended | Outcome::Stopped, _) | (Outcome::TakenOver, None) => {}
            (Outcome::Unsure, None) => Box::pin(self.drain(slot, Vec::new())).await,
            (Outcome::Unsure | Outcome::TakenOver, Some(lease)) => {
                let adoption = lease.watch_adoption().borrow().clone();
                if let Some(ours) = adoption.filter(|adoption| adoption.slot == slot) {
                    Box::pin(self.drain(slot, ours.filters)).await;
                }
            }
        }
    }

    async fn fill_slots(&mut self) {
        while let Some(slot) = self.slots.claim().await {
            self.start(slot).await;
        }
    }

    async fn start(&mut self, slot: u32) {
        // A slot that is wanted again takes its session as it is.
        self.summaries.extend(self.drains.stop(slot, self.settings.drain).await);
        let held = self.settings.lease.as_ref().map(|lease| lease.held_filters(slot));
        let mut held = held.unwrap_or_default();
        held.extend(self.before.held.iter().cloned());
        self.record(slot, &self.engine).await;
        if let Some(worker) = self.worker(slot, held, Purpose::Serve).await {
            self.settings.report.follow_session(worker.status());
            if let Some(lease) = self.settings.lease.clone() {
                tokio::spawn(record_filters(lease, slot, worker.status()));
            }
            self.workers.push(worker);
        }
    }

    /// Before it asks for them, the Lease says which filters a session may hold.
    async fn record(&self, slot: u32, engine: &Engine) {
        if let Some(lease) = &self.settings.lease {
            lease.will_hold(slot, filters(engine.table())).await;
        }
    }

    async fn worker(
        &self,
        slot: u32,
        held: Vec<String>,
        purpose: Purpose,
    ) -> Option<RunningWorker> {
        let session = match self.session(slot, purpose) {
            Ok(session) => session,
            Err(error) => {
                tracing::error!(route = %self.plan.name, slot, %error, "no worker for this slot");
                return None;
            }
        };
        let own = |engine: &Arc<Engine>| Arc::new(engine.for_another_worker());
        let options = WorkerOptions {
            engine: own(&self.engine),
            session,
            slot,
            monitor: self.settings.monitor.clone(),
            observer: self.settings.observer.clone(),
            transition: self.plan.transition,
            older_tables: self.plan.older_tables,
            held,
            before: self.before.engine.as_ref().map(own),
            purpose,
        };
        Some(RunningWorker::start(options).await)
    }

    fn session(&self, slot: u32, purpose: Purpose) -> Result<SessionConfig, RunError> {
        let session = self.plan.session(&self.settings.client_id, slot)?;
        let receive_maximum = match purpose {
            Purpose::Serve => session.receive_maximum,
            Purpose::Drain => drain::window(session.receive_maximum),
        };
        Ok(SessionConfig { before_reconnect: self.gate(slot), receive_maximum, ..session })
    }

    /// Whoever was thrown out looks at the Lease before it connects again.
    fn gate(&self, slot: u32) -> Option<Gate> {
        let lease = self.settings.lease.clone()?;
        let losses = Arc::new(Losses::default());
        Some(Gate::new(move |loss| {
            let (lease, losses) = (lease.clone(), Arc::clone(&losses));
            async move { lease.may_return(slot, loss, &losses).await }
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

/// Until the session has ended: then what it held stays recorded.
async fn record_filters(lease: Leased, slot: u32, mut status: watch::Receiver<SessionStatus>) {
    loop {
        let filters = status.borrow_and_update().filters.keys().cloned().collect();
        lease.holds(slot, filters);
        if status.changed().await.is_err() {
            return;
        }
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
