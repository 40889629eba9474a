//! One `MqttRoute` that runs: its database, its publisher, its workers.

use std::{sync::Arc, time::Duration};

use routemq_mqtt::Publisher;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    Change, Loaded, RunError, RunSettings,
    database::Connection,
    plan::{Plan, plan, worker_count},
    supervisor::{Before, Order, Supervisor},
};
use crate::{
    engine::{Engine, Resources},
    health::Health,
    outbox::Outbox,
    worker::{Summary, filters},
};

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
pub(super) struct Connections {
    pub(super) publisher: Publisher,
    pub(super) database: Option<Connection>,
    /// What messages are held for.
    pub(super) health: Health,
}

/// A route under way: a task of its own does what it is told, in order.
pub(super) struct RunningRoute {
    loaded: Loaded,
    plan: Plan,
    connections: Connections,
    settings: Arc<RunSettings>,
    /// As many slots as it ever had: those that it has no more may not be drained yet.
    most_slots: u32,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<Vec<Summary>>,
}

/// Checks an object and builds its engine.
pub(super) async fn prepare(
    loaded: Loaded,
    settings: &Arc<RunSettings>,
) -> Result<Prepared, RunError> {
    let plan = plan(&loaded, settings)?;
    let database = Connection::open(&plan, &loaded.table, settings).await?;
    let publisher = Publisher::spawn(plan.publisher(&settings.client_id)?);
    let connections = Connections { publisher, database, health: Health::default() };
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
        .with_worker(plan.name.clone())
        .with_health(connections.health.clone())
        .with_journal(settings.journal.clone());
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
        self.start_after(Before::default())
    }

    /// Lets it run on sessions that served something else before.
    fn start_after(self, before: Before) -> RunningRoute {
        let Self { loaded, plan, engine, connections, settings } = self;
        say_what_runs(&loaded, &plan, settings.lease.is_some());
        settings.report.set_table(&loaded.table);
        settings.report.follow_health(connections.health.watch());
        settings.report.follow_dead_letters(connections.health.watch_unheard());
        settings.monitor.waits(&plan.name, "starting");
        let (orders, receiver) = mpsc::channel(8);
        let supervisor =
            Supervisor::new(plan.clone(), engine, connections.clone(), Arc::clone(&settings));
        let task = tokio::spawn(supervisor.after(before).run(receiver));
        let most_slots = plan.slots.end;
        RunningRoute { loaded, plan, connections, settings, most_slots, orders, task }
    }
}

fn say_what_runs(loaded: &Loaded, plan: &Plan, leased: bool) {
    let (route, workers) = (&plan.name, plan.slots.len());
    match (loaded.table.paused, worker_count(&loaded.table)) {
        (true, _) => {
            tracing::warn!(%route, "paused: no worker runs, the broker keeps the messages");
        }
        (false, 0) => tracing::warn!(%route, "workerCount is 0: no worker runs"),
        (false, _) if leased => {
            tracing::info!(%route, broker = %shown(plan), "waiting for a slot");
        }
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
    /// Takes the object as it is now; `None`: nothing changed that concerns a worker.
    pub(super) async fn apply(&mut self, loaded: Loaded) -> Option<Change> {
        self.try_apply(loaded).await.unwrap_or_else(|error| Some(Change::Refused(error)))
    }

    async fn try_apply(&mut self, loaded: Loaded) -> Result<Option<Change>, RunError> {
        let mut plan = plan(&loaded, &self.settings)?;
        // Where several objects have no share name, that of each depends on the others.
        let unchanged = self.loaded.written == loaded.written
            && self.loaded.secrets == loaded.secrets
            && self.plan.share == plan.share;
        if !plan.connects_as(&self.plan) {
            return self.restart(loaded).await.map(Some);
        }
        let renewed = self.renew(&mut plan)?;
        if unchanged {
            self.settings.report.set_table(&loaded.table);
            return Ok(renewed.then_some(Change::Renewed));
        }
        self.swap(loaded, plan).await.map(Some)
    }

    /// Takes up what Secrets say now, without stopping a worker; whether that is something else than before.
    fn renew(&mut self, plan: &mut Plan) -> Result<bool, RunError> {
        let login = self.plan.take_login(plan);
        let moved = plan.database != self.plan.database;
        if let (true, Some(url), Some(connection)) =
            (moved, &plan.database, &self.connections.database)
        {
            let failed = |source| RunError::Database { name: plan.name.clone(), source };
            connection.redirect(url).map_err(failed)?;
            self.plan.database.clone_from(&plan.database);
        }
        Ok(login || moved)
    }

    async fn swap(&mut self, loaded: Loaded, plan: Plan) -> Result<Change, RunError> {
        let engine = build(&loaded, &plan, &self.connections, &self.settings).await?;
        if let Some(database) = &self.connections.database {
            database.create_tables(&loaded.table, &self.settings).await;
        }
        // The task ends only when it is told to stop.
        let _ = self.orders.send(Order::Swap(engine, Box::new(plan.clone()))).await;
        self.settings.report.set_table(&loaded.table);
        self.most_slots = self.most_slots.max(plan.slots.end);
        (self.loaded, self.plan) = (loaded, plan);
        Ok(Change::Swapped)
    }

    /// Other workers take up the sessions, and what they hold for routes that are gone; sessions that nobody will take up
    /// are drained before.
    async fn restart(&mut self, loaded: Loaded) -> Result<Change, RunError> {
        let prepared = prepare(loaded, &self.settings).await?;
        let before = if prepared.plan.resumes(&self.plan) {
            self.hand_on(&prepared).await
        } else {
            let _ = self.orders.send(Order::Leave).await;
            Before::default()
        };
        let most = self.most_slots.max(prepared.plan.slots.end);
        let _ = self.orders.send(Order::Stop).await;
        let _ = (&mut self.task).await;
        *self = Self { most_slots: most, ..prepared.start_after(before) };
        Ok(Change::Restarted)
    }

    /// What the next workers should know of the sessions that they resume.
    async fn hand_on(&self, next: &Prepared) -> Before {
        let (held, wanted) = (filters(&self.loaded.table), filters(&next.loaded.table));
        let slots = &next.plan.slots;
        let gone = match (next.plan.idle, slots.is_empty()) {
            (true, _) => 0..0,
            // It ran one slot only, and that is no more.
            (false, true) => self.plan.slots.clone(),
            (false, false) => slots.end..self.most_slots,
        };
        if held.iter().all(|it| wanted.contains(it)) || !next.plan.writes_as(&self.plan) {
            return Before { held, gone, engine: None };
        }
        let built = build(&self.loaded, &next.plan, &next.connections, &self.settings).await;
        Before { held, gone, engine: built.ok() }
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
