//! One `MqttRoute` that runs: its database, its publisher, its workers.

use std::{sync::Arc, time::Duration};

use futures::future::{BoxFuture, join_all, select_all};
use routemq_mqtt::{ConnectionState, Publisher, SessionStatus};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{
    Change, Loaded, RunError, RunSettings,
    database::Connection,
    plan::{Plan, plan, worker_count},
};
use crate::{
    engine::{Engine, Resources},
    outbox::Outbox,
    slot::{LocalSlots, Slots},
    worker::{RunningWorker, Summary, WorkerOptions},
};

/// How long the publisher may take to write what is under way when everything else has stopped.
const PUBLISHER_PATIENCE: Duration = Duration::from_secs(2);

/// Everything is right with it; nothing is subscribed yet.
pub(super) struct Prepared {
    loaded: Loaded,
    plan: Plan,
    engine: Arc<Engine>,
    connections: Connections,
    settings: Arc<RunSettings>,
}

/// What handlers reach the world with; kept over swaps.
#[derive(Clone, Debug)]
struct Connections {
    publisher: Publisher,
    database: Option<Connection>,
}

/// A route under way: a task of its own does what it is told, in order.
pub(super) struct RunningRoute {
    loaded: Loaded,
    plan: Plan,
    connections: Connections,
    settings: Arc<RunSettings>,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<Vec<Summary>>,
}

enum Order {
    /// Take up a table, and run so many workers.
    Swap(Arc<Engine>, Box<Plan>),
    /// Answer when every worker is settled.
    Settled(oneshot::Sender<()>),
    /// End.
    Stop,
}

/// Checks an object and builds its engine.
pub(super) async fn prepare(
    loaded: Loaded,
    settings: &Arc<RunSettings>,
) -> Result<Prepared, RunError> {
    let plan = plan(&loaded, settings)?;
    let database = Connection::open(&plan, &loaded.table, settings).await?;
    let publisher = Publisher::spawn(plan.publisher(&settings.client_id)?);
    let connections = Connections { publisher, database };
    match build(&loaded, &plan, &connections, settings).await {
        Ok(engine) => {
            Ok(Prepared { loaded, plan, engine, connections, settings: Arc::clone(settings) })
        }
        Err(error) => {
            connections.publisher.stop(Duration::ZERO).await;
            Err(error)
        }
    }
}

async fn build(
    loaded: &Loaded,
    plan: &Plan,
    connections: &Connections,
    settings: &RunSettings,
) -> Result<Arc<Engine>, RunError> {
    let mut resources = Resources::new(Outbox::Broker(connections.publisher.clone()))
        .with_secrets(loaded.secrets.clone())
        .with_worker(plan.name.clone());
    if let Some(connection) = &connections.database {
        resources = resources.with_database(connection.database());
    }
    let built = Engine::build(loaded.table.clone(), &settings.registry, resources).await;
    built.map(Arc::new).map_err(|problems| RunError::Problems { name: plan.name.clone(), problems })
}

// === impl Prepared ===

impl Prepared {
    /// Lets it run.
    pub(super) fn start(self) -> RunningRoute {
        let Self { loaded, plan, engine, connections, settings } = self;
        say_what_runs(&loaded, &plan);
        let (orders, receiver) = mpsc::channel(8);
        let supervisor = Supervisor {
            plan: plan.clone(),
            engine,
            connections: connections.clone(),
            slots: LocalSlots::new(plan.slots.clone()),
            workers: Vec::new(),
            summaries: Vec::new(),
            asked: Vec::new(),
            settings: Arc::clone(&settings),
        };
        let task = tokio::spawn(supervisor.run(receiver));
        RunningRoute { loaded, plan, connections, settings, orders, task }
    }
}

fn say_what_runs(loaded: &Loaded, plan: &Plan) {
    let (route, workers) = (&plan.name, plan.slots.len());
    match (loaded.table.paused, worker_count(&loaded.table)) {
        (true, _) => {
            tracing::warn!(%route, "paused: no worker runs, the broker keeps the messages");
        }
        (false, 0) => tracing::warn!(%route, "workerCount is 0: no worker runs"),
        (false, _) if workers == 0 => tracing::info!(%route, "no worker of this slot"),
        (false, _) => tracing::info!(%route, workers, broker = %shown(plan), "starting workers"),
    }
}

/// The broker's URL without a login.
fn shown(plan: &Plan) -> url::Url {
    let mut url = plan.url.clone();
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url
}

// === impl RunningRoute ===

impl RunningRoute {
    /// Takes the object as it is now; `None`: nothing changed.
    pub(super) async fn apply(&mut self, loaded: Loaded) -> Option<Change> {
        if self.loaded.object.spec == loaded.object.spec && self.loaded.secrets == loaded.secrets {
            return None;
        }
        let change = match plan(&loaded, &self.settings) {
            Ok(plan) if plan.connects_as(&self.plan) => self.swap(loaded, plan).await,
            Ok(_) => self.restart(loaded).await,
            Err(error) => Err(error),
        };
        Some(change.unwrap_or_else(Change::Refused))
    }

    async fn swap(&mut self, loaded: Loaded, plan: Plan) -> Result<Change, RunError> {
        let engine = build(&loaded, &plan, &self.connections, &self.settings).await?;
        if let Some(database) = &self.connections.database {
            database.create_tables(&loaded.table, &self.settings).await;
        }
        // The task ends only when it is told to stop.
        let _ = self.orders.send(Order::Swap(engine, Box::new(plan.clone()))).await;
        (self.loaded, self.plan) = (loaded, plan);
        Ok(Change::Swapped)
    }

    async fn restart(&mut self, loaded: Loaded) -> Result<Change, RunError> {
        let prepared = prepare(loaded, &self.settings).await?;
        let _ = self.orders.send(Order::Stop).await;
        let _ = (&mut self.task).await;
        *self = prepared.start();
        Ok(Change::Restarted)
    }

    /// Waits until every worker is settled.
    pub(super) async fn settled(&self) {
        let (answer, settled) = oneshot::channel();
        let _ = self.orders.send(Order::Settled(answer)).await;
        let _ = settled.await;
    }

    /// Drains and ends.
    pub(super) async fn stop(self) -> Vec<Summary> {
        let _ = self.orders.send(Order::Stop).await;
        self.task.await.unwrap_or_default()
    }
}

// === The task ===

struct Supervisor {
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
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Vec<Summary> {
        if self.database_ready(&mut orders).await {
            self.fill_slots().await;
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
        loop {
            let order = tokio::select! {
                order = orders.recv() => order,
                index = taken_over(&self.workers) => {
                    self.give_up(index).await;
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

    async fn swap(&mut self, engine: Arc<Engine>, plan: Plan) {
        self.retire_beyond(&plan).await;
        join_all(self.workers.iter().map(|worker| worker.swap(Arc::clone(&engine)))).await;
        for slot in plan.slots.clone().filter(|slot| !self.plan.slots.contains(slot)) {
            self.slots.release(slot).await;
        }
        (self.engine, self.plan) = (engine, plan);
        self.fill_slots().await;
    }

    /// Workers whose slot is no more drain what the broker holds for them, and end their session.
    async fn retire_beyond(&mut self, plan: &Plan) {
        let (stay, go): (Vec<_>, Vec<_>) = std::mem::take(&mut self.workers)
            .into_iter()
            .partition(|worker| plan.slots.contains(&worker.identity().slot));
        self.workers = stay;
        let drain = self.settings.drain;
        self.summaries.extend(join_all(go.into_iter().map(|worker| worker.retire(drain))).await);
    }

    async fn fill_slots(&mut self) {
        while let Some(slot) = self.slots.claim().await {
            match self.plan.session(&self.settings.client_id, slot) {
                Ok(session) => {
                    let options = WorkerOptions {
                        engine: Arc::clone(&self.engine),
                        session,
                        slot,
                        observer: self.settings.observer.clone(),
                        transition: self.plan.transition,
                    };
                    self.workers.push(RunningWorker::start(options).await);
                }
                Err(error) => {
                    tracing::error!(route = %self.plan.name, slot, %error, "no worker for this slot");
                }
            }
        }
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
