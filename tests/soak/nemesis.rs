//! Makes the faults of the schedule happen, each on a target of its own, and measures the recovery from each.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use routemq_tests::Line;
use sqlx::{Connection as _, Executor as _, MySqlConnection};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    bed::{Bed, routes},
    history::{History, Open},
    moment::{Clock, Moment},
    options::Options,
    schedule::{Kind, Planned},
    slot::Slot,
    witness::Witness,
};

/// A process that is stopped is stopped on every processor after this.
const STANDS_STILL: Duration = Duration::from_millis(200);
/// So long is waited for the recovery from a fault, whatever is promised.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whoever makes faults.
#[derive(Clone, Debug)]
pub(crate) struct Nemesis {
    pub(crate) bed: Bed,
    pub(crate) options: Arc<Options>,
    pub(crate) witness: Witness,
    pub(crate) history: History,
    pub(crate) clock: Clock,
    /// How often the routes have changed.
    pub(crate) version: Arc<Mutex<u32>>,
}

type Held = OwnedMutexGuard<Slot>;

impl Nemesis {
    /// Follows the schedule; returns when the last fault is over.
    pub(crate) async fn follow(&self, schedule: Vec<Planned>) {
        let start = Instant::now();
        let each = schedule.into_iter().map(async |planned| {
            sleep_until(start + planned.at).await;
            self.make(planned).await;
        });
        join_all(each).await;
    }

    async fn make(&self, planned: Planned) {
        let done = match planned.kind {
            Kind::Kill
            | Kind::Terminate
            | Kind::Freeze
            | Kind::Reset
            | Kind::SlowLine
            | Kind::Silence => self.meet_worker(&planned).await,
            Kind::Scale => self.scale(&planned).await,
            Kind::KillAll => self.kill_all(&planned).await,
            Kind::Rollout => self.rollout(&planned).await,
            Kind::Swap => self.swap(&planned).await,
            Kind::LoseNode => self.lose_node(&planned).await,
            Kind::KillOperator | Kind::KillApiServer => self.meet_control_plane(&planned).await,
            Kind::RestartBroker => self.restart_broker(&planned).await,
            Kind::StopDatabase | Kind::KillDatabase | Kind::FreezeDatabase | Kind::LockTable => {
                self.meet_database(&planned).await
            }
        };
        if done.is_none() {
            self.history.skip(planned.kind);
        }
    }

    // === One worker ===

    async fn meet_worker(&self, planned: &Planned) -> Option<()> {
        let mut slot = self.hold(planned.slot).filter(|slot| slot.is_running())?;
        let open = self.history.begin(planned, Some(planned.slot));
        match planned.kind {
            Kind::Kill => slot.kill(),
            Kind::Terminate => self.terminate(&mut slot).await,
            Kind::Freeze => slot.freeze(),
            Kind::Reset => slot.proxy.cut(),
            Kind::SlowLine => slot.proxy.behave(slow_line()),
            _ => slot.proxy.swallow(),
        }
        sleep(planned.lasts).await;
        match planned.kind {
            Kind::Kill | Kind::Terminate => self.bed.start_process(&mut slot).await,
            Kind::Freeze => slot.thaw(),
            Kind::SlowLine => slot.proxy.heal(),
            Kind::Silence => {
                slot.proxy.cut();
                slot.proxy.heal();
            }
            _ => {}
        }
        let healed = open.healed();
        self.recovery(&open, &[planned.slot], healed).await;
        Some(())
    }

    async fn terminate(&self, slot: &mut Slot) {
        if let Err(what) = slot.terminate().await {
            self.history.bad_exit(slot.number, what);
        }
    }

    /// The last slot comes and goes.
    async fn scale(&self, planned: &Planned) -> Option<()> {
        let number = self.options.workers;
        let mut slot = self.hold(number)?;
        let open = self.history.begin(planned, Some(number));
        if slot.is_running() {
            self.scale_pods(number as usize, Some(number)).await;
            self.terminate(&mut slot).await;
            open.healed();
            return Some(());
        }
        self.scale_pods(number as usize + 1, None).await;
        self.bed.start_process(&mut slot).await;
        let healed = open.healed();
        self.recovery(&open, &[number], healed).await;
        Some(())
    }

    async fn scale_pods(&self, workers: usize, leaves: Option<u32>) {
        if let Some(cluster) = &self.bed.cluster {
            cluster.lock().await.scale(workers, leaves).await;
        }
    }

    async fn lose_node(&self, planned: &Planned) -> Option<()> {
        let mut slot = self.hold(planned.slot).filter(|slot| slot.is_running())?;
        let cluster = self.bed.cluster.as_ref()?;
        let open = self.history.begin(planned, Some(planned.slot));
        slot.kill();
        // What it said last has passed its proxy.
        sleep(STANDS_STILL).await;
        let healed = open.healed();
        cluster.lock().await.lose_node(planned.slot);
        self.bed.start_process(&mut slot).await;
        self.recovery(&open, &[planned.slot], healed).await;
        Some(())
    }

    // === All workers ===

    async fn kill_all(&self, planned: &Planned) -> Option<()> {
        let mut slots = self.hold_all()?;
        slots.retain(|slot| slot.is_running());
        let open = self.history.begin(planned, None);
        for slot in &mut slots {
            slot.kill();
        }
        sleep(planned.lasts).await;
        for slot in &mut slots {
            self.bed.start_process(slot).await;
        }
        let healed = open.healed();
        self.recovery(&open, &numbers(&slots), healed).await;
        Some(())
    }

    async fn rollout(&self, planned: &Planned) -> Option<()> {
        let mut slots = self.hold_all()?;
        let open = self.history.begin(planned, None);
        self.write_next_routes(&mut slots).await;
        for slot in &mut slots {
            self.terminate(slot).await;
            self.bed.start_process(slot).await;
            self.acknowledges(slot.number, self.clock.now()).await;
        }
        let healed = open.healed();
        self.recovery(&open, &numbers(&slots), healed).await;
        Some(())
    }

    async fn swap(&self, planned: &Planned) -> Option<()> {
        let mut slots = self.hold_all()?;
        let open = self.history.begin(planned, None);
        self.write_next_routes(&mut slots).await;
        let healed = open.healed();
        self.recovery(&open, &numbers(&slots), healed).await;
        Some(())
    }

    /// Gives all of them another table, and keeps those that run.
    async fn write_next_routes(&self, slots: &mut Vec<Held>) {
        let mut version = self.version.lock().await;
        *version += 1;
        let routes = routes(&self.options, *version);
        for slot in &mut *slots {
            slot.write_routes(&routes);
        }
        slots.retain(|slot| slot.is_running());
    }

    // === The control plane ===

    /// Messages go on all the time, and nobody is at a loss afterwards.
    async fn meet_control_plane(&self, planned: &Planned) -> Option<()> {
        let mut cluster = self.bed.cluster.as_ref()?.clone().try_lock_owned().ok()?;
        let open = self.history.begin(planned, None);
        if planned.kind == Kind::KillOperator {
            cluster.kill_operator();
            sleep(planned.lasts).await;
            cluster.start_operator();
        } else {
            let launch = cluster.kill_api_server();
            let began = self.clock.now();
            sleep(planned.lasts).await;
            self.go_on(&open, began).await;
            cluster.start_api_server(&launch).await;
        }
        drop(cluster);
        let healed = open.healed();
        self.recovery(&open, &self.running(), healed).await;
        Some(())
    }

    /// Every worker that no other fault has must have acknowledged since `began`, or soon does.
    async fn go_on(&self, open: &Open, began: Moment) {
        for slot in self.running() {
            if self.acknowledges(slot, began).await.is_none() {
                open.recovered(slot, None);
            }
        }
    }

    // === The broker ===

    async fn restart_broker(&self, planned: &Planned) -> Option<()> {
        let mut broker = self.bed.broker.clone().try_lock_owned().ok()?;
        let open = self.history.begin(planned, None);
        broker.stop().await;
        sleep(planned.lasts).await;
        broker.restart().await;
        let healed = open.healed();
        self.recovery(&open, &self.running(), healed).await;
        Some(())
    }

    // === The database ===

    async fn meet_database(&self, planned: &Planned) -> Option<()> {
        let mut database = self.bed.database.clone().try_lock_owned().ok()?;
        let open = self.history.begin(planned, None);
        match planned.kind {
            Kind::LockTable => self.lock_table(&open, planned.lasts).await,
            Kind::FreezeDatabase => {
                database.pause();
                sleep(STANDS_STILL).await;
                let since = self.clock.now();
                sleep(planned.lasts).await;
                open.no_commits_since(since);
                database.resume();
            }
            kind => {
                if kind == Kind::KillDatabase {
                    database.kill();
                } else {
                    database.stop().await;
                }
                let since = self.clock.now();
                sleep(planned.lasts).await;
                open.no_commits_since(since);
                database.restart().await;
            }
        }
        let healed = open.healed();
        self.recovery(&open, &self.running(), healed).await;
        Some(())
    }

    async fn lock_table(&self, open: &Open, lasts: Duration) {
        let locker = MySqlConnection::connect(&self.bed.database_url).await;
        let mut locker = locker.expect("the database runs: nobody else holds it");
        locker.execute("LOCK TABLES effects WRITE").await.expect("the lock is granted");
        let since = self.clock.now();
        sleep(lasts).await;
        open.no_commits_since(since);
        locker.execute("UNLOCK TABLES").await.expect("the lock is given back");
    }

    // === Recovery ===

    /// Waits until each of these workers acknowledges something after `healed`.
    async fn recovery(&self, open: &Open, slots: &[u32], healed: Moment) {
        let each = slots.iter().copied().map(|slot| self.recovery_of(open, slot, healed));
        join_all(each).await;
    }

    async fn recovery_of(&self, open: &Open, slot: u32, healed: Moment) {
        open.recovered(slot, self.acknowledges(slot, healed).await);
    }

    /// When the worker first acknowledged after `since`, to 10 ms.
    async fn acknowledges(&self, slot: u32, since: Moment) -> Option<Moment> {
        let patience = Instant::now() + PATIENCE;
        while Instant::now() < patience {
            if self.witness.last_acknowledgement(slot).is_some_and(|last| last > since) {
                return Some(self.clock.now());
            }
            sleep(Duration::from_millis(10)).await;
        }
        None
    }

    // === Targets ===

    fn hold(&self, slot: u32) -> Option<Held> {
        self.bed.slots[slot as usize].clone().try_lock_owned().ok()
    }

    /// Every slot; `None` where a fault has one of them.
    fn hold_all(&self) -> Option<Vec<Held>> {
        (0..=self.options.workers).map(|slot| self.hold(slot)).collect()
    }

    /// Running workers that no other fault has.
    fn running(&self) -> Vec<u32> {
        let free = (0..=self.options.workers).filter_map(|slot| self.hold(slot));
        free.filter(|slot| slot.is_running()).map(|slot| slot.number).collect()
    }
}

fn numbers(slots: &[Held]) -> Vec<u32> {
    slots.iter().map(|slot| slot.number).collect()
}

fn slow_line() -> Line {
    let (delay, jitter) = (Duration::from_millis(200), Duration::from_millis(100));
    Line { delay, jitter, loss: 0.05 }
}
