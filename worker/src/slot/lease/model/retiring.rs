//! The same with an operator, a number of workers that changes, and sessions that collect messages: every slot that retires is adopted,
//! drained and ended by somebody, whoever dies meanwhile, and nothing that a session held is lost.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::slot::Adoption;

/// A session that exists on the broker.
#[derive(Default)]
struct Session {
    /// Who is connected with its client id.
    owner: String,
    /// It gets its part of what is published.
    subscribed: bool,
    /// What it holds.
    dirty: u32,
}

#[derive(Default)]
struct Sessions {
    by_slot: Mutex<BTreeMap<u32, Session>>,
    /// Messages that went with a session that was ended.
    lost: Mutex<u32>,
    published: Mutex<u32>,
    handled: Mutex<u32>,
}

impl Sessions {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u32, Session>> {
        self.by_slot.lock().unwrap()
    }

    /// One message, to one of those that share.
    fn publish(&self, chance: u64) {
        let mut all = self.all();
        let mut sharing: Vec<_> = all.values_mut().filter(|session| session.subscribed).collect();
        if !sharing.is_empty() {
            let index = usize::try_from(chance).unwrap() % sharing.len();
            sharing[index].dirty += 1;
            *self.published.lock().unwrap() += 1;
        }
    }

    fn connect(&self, slot: u32, pod: &str, serves: bool) {
        let mut all = self.all();
        let session = all.entry(slot).or_default();
        pod.clone_into(&mut session.owner);
        session.subscribed = serves;
    }

    /// Handles a few; what is left. `None`: another is connected.
    fn handle(&self, slot: u32, pod: &str) -> Option<u32> {
        let mut all = self.all();
        let session = all.get_mut(&slot).filter(|session| session.owner == pod)?;
        let few = session.dirty.min(5);
        session.dirty -= few;
        *self.handled.lock().unwrap() += few;
        Some(session.dirty)
    }

    fn end(&self, slot: u32) {
        let ended = self.all().remove(&slot);
        *self.lost.lock().unwrap() += ended.map_or(0, |session| session.dirty);
    }

    fn disconnect(&self, pod: &str) {
        for session in self.all().values_mut().filter(|session| session.owner == pod) {
            session.owner.clear();
        }
    }

    fn leave(&self, slot: u32, pod: &str) {
        if let Some(session) = self.all().get_mut(&slot).filter(|session| session.owner == pod) {
            session.owner.clear();
        }
    }

    fn connections(&self, pod: &str) -> usize {
        self.all().values().filter(|session| session.owner == pod).count()
    }
}

const TURN: Duration = Duration::from_millis(200);

/// Connected as `slot` until it is another's, by the Lease or on the broker; true: told so by the Lease.
async fn serve(slot: Leased, sessions: Arc<Sessions>, pod: String) {
    let mut held = slot.watch();
    loop {
        let Some(index) = *held.borrow_and_update() else {
            if held.changed().await.is_err() {
                return;
            }
            continue;
        };
        let losses = Losses::default();
        while *held.borrow() == Some(index) {
            sessions.connect(index, &pod, true);
            let began = Instant::now();
            while *held.borrow() == Some(index) && sessions.handle(index, &pod).is_some() {
                sleep(TURN).await;
            }
            let loss = Loss::Closed { lasted: began.elapsed() };
            if *held.borrow() == Some(index) && !slot.may_return(index, loss, &losses).await {
                break;
            }
        }
        // Nobody will resume it: it is emptied and ended, as long as nobody else has it.
        while slot.is_abandoned(index) {
            let left = sessions.handle(index, &pod);
            if left == Some(0) {
                sessions.end(index);
            } else if left.is_some() {
                sessions.connect(index, &pod, false);
                sleep(TURN).await;
                continue;
            }
            break;
        }
        sessions.leave(index, &pod);
        sleep(TURN).await;
    }
}

/// Drains what is adopted.
async fn drain(slot: Leased, sessions: Arc<Sessions>, pod: String) {
    let mut adopted = slot.watch_adoption();
    slot.adopt_from_now_on(true);
    loop {
        let now: Option<Adoption> = adopted.borrow_and_update().clone();
        let Some(index) = now.map(|adoption| adoption.slot) else {
            if adopted.changed().await.is_err() {
                return;
            }
            continue;
        };
        let ours = || slot.watch_adoption().borrow().as_ref().is_some_and(|it| it.slot == index);
        let losses = Losses::default();
        let mut ended = false;
        while ours() && !ended {
            sessions.connect(index, &pod, false);
            let began = Instant::now();
            loop {
                match sessions.handle(index, &pod) {
                    Some(0) => {
                        sessions.end(index);
                        ended = true;
                    }
                    Some(_) if ours() => {
                        sleep(TURN).await;
                        continue;
                    }
                    _ => {}
                }
                break;
            }
            let loss = Loss::Closed { lasted: began.elapsed() };
            if !ended && !slot.may_return(index, loss, &losses).await {
                break;
            }
        }
        if ended {
            slot.drained(index).await;
        } else {
            sessions.leave(index, &pod);
        }
        sleep(TURN).await;
    }
}

struct Worker {
    name: String,
    slot: Leased,
    tasks: Vec<JoinHandle<()>>,
    _report: watch::Sender<WorkerReport>,
}

/// Operator, ReplicaSet, kubelet.
struct Cluster {
    server: Arc<Server>,
    sessions: Arc<Sessions>,
    folder: tempfile::TempDir,
    workers: Vec<Worker>,
    wanted: usize,
    born: u32,
    chance: Rng,
}

impl Cluster {
    fn new(wanted: usize, seed: u64) -> Self {
        fastrand::seed(seed);
        let mut cluster = Self {
            server: Arc::new(Server::new(0, seed)),
            sessions: Arc::default(),
            folder: tempfile::tempdir().unwrap(),
            workers: Vec::new(),
            wanted,
            born: 0,
            chance: Rng::with_seed(seed ^ 0x5eed),
        };
        cluster.reconcile();
        cluster.mount();
        cluster.replicate();
        cluster
    }

    /// The rules of the operator (`operator/src/slots.rs`), on the Leases as they are.
    fn reconcile(&self) {
        let living: BTreeSet<&str> = self.workers.iter().map(|it| it.name.as_str()).collect();
        let mut leases = self.server.leases();
        for (version, lease) in leases.values_mut() {
            let gone = !view::holder(lease).is_empty() && !living.contains(view::holder(lease));
            if gone {
                (*version, *lease) = (*version + 1, view::released(lease.clone()));
            }
        }
        leases.retain(|_, (_, lease)| {
            !(view::is_retiring(lease) && view::is_drained(lease) && view::holder(lease).is_empty())
        });
        let active = leases.values().filter(|(_, lease)| !view::is_retiring(lease)).count();
        let used: BTreeSet<u32> = leases.keys().filter_map(|name| view::index(name)).collect();
        for index in
            (0..).filter(|index| !used.contains(index)).take(self.wanted.saturating_sub(active))
        {
            let name = format!("a-slot-{index}");
            leases.insert(name.clone(), (1, lease(&name, "")));
        }
        let unheld = leases
            .iter()
            .filter(|(_, (_, lease))| !view::is_retiring(lease) && view::holder(lease).is_empty());
        let mut unheld: Vec<_> = unheld.filter_map(|(name, _)| view::index(name)).collect();
        unheld.sort_unstable();
        for index in unheld.into_iter().rev().take(active.saturating_sub(self.wanted)) {
            let (version, lease) = leases.get_mut(&format!("a-slot-{index}")).unwrap();
            (*version, *lease) = (*version + 1, view::tests::retiring(lease.clone()));
        }
    }

    /// What kubelet brings, sooner or later.
    fn mount(&self) {
        let names: Vec<String> = self.server.leases().keys().cloned().collect();
        let text = serde_json::json!({ "leases": names }).to_string();
        std::fs::write(self.folder.path().join("slots.json"), text).unwrap();
    }

    /// As many pods as are wanted.
    fn replicate(&mut self) {
        while self.workers.len() > self.wanted {
            self.kill();
        }
        while self.workers.len() < self.wanted {
            self.born += 1;
            self.start(format!("pod-{}", self.born));
        }
    }

    fn start(&mut self, name: String) {
        let scratch = self.folder.path().join(&name);
        std::fs::create_dir_all(&scratch).unwrap();
        let (report, watch) = watch::channel(WorkerReport::default());
        let names = Names::new(self.folder.path().join("slots.json"), Some(scratch));
        let way = Way { server: Arc::clone(&self.server), pod: name.clone() };
        let (slot, keepers) = super::super::kept(Arc::new(way), names, name.clone(), watch);
        let sessions = || Arc::clone(&self.sessions);
        let mut tasks = Vec::from(keepers);
        tasks.push(tokio::spawn(serve(slot.clone(), sessions(), name.clone())));
        tasks.push(tokio::spawn(drain(slot.clone(), sessions(), name.clone())));
        self.workers.push(Worker { name, slot, tasks, _report: report });
    }

    /// kill -9.
    fn kill(&mut self) -> String {
        let worker = self.workers.swap_remove(self.chance.usize(0..self.workers.len()));
        worker.tasks.iter().for_each(JoinHandle::abort);
        self.sessions.disconnect(&worker.name);
        worker.name
    }

    async fn trouble(&mut self) {
        match self.chance.u32(0..9) {
            // A container that restarts.
            0 if !self.workers.is_empty() => {
                let name = self.kill();
                self.start(name);
            }
            // A pod that is lost, and another in its place.
            1 if !self.workers.is_empty() => drop(self.kill()),
            2 if !self.workers.is_empty() => {
                let index = self.chance.usize(0..self.workers.len());
                let worker = self.workers.swap_remove(index);
                worker.slot.release().await;
                worker.tasks.iter().for_each(JoinHandle::abort);
                self.sessions.disconnect(&worker.name);
            }
            3 | 4 => self.wanted = self.chance.usize(1..6),
            5 => *self.server.away.lock().unwrap() = true,
            6 => *self.server.away.lock().unwrap() = false,
            7 if !self.workers.is_empty() => {
                let index = self.chance.usize(0..self.workers.len());
                let name = self.workers[index].name.clone();
                self.server.cut.lock().unwrap().insert(name);
            }
            _ => self.server.cut.lock().unwrap().clear(),
        }
        self.replicate();
    }

    /// Time goes by, and the operator looks now and then.
    async fn pass(&mut self, time: Duration, context: &str) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            sleep(Duration::from_millis(self.chance.u64(10..500))).await;
            self.sessions.publish(self.chance.u64(..));
            if self.chance.u32(0..8) == 0 && !*self.server.away.lock().unwrap() {
                self.reconcile();
            }
            if self.chance.u32(0..60) == 0 {
                self.mount();
            }
            for worker in &self.workers {
                let connections = self.sessions.connections(&worker.name);
                assert!(connections <= 2, "{context}: {} has {connections}", worker.name);
            }
        }
    }

    fn check(&self, context: &str) {
        let leases = self.server.leases();
        let seen: Vec<_> = leases
            .iter()
            .map(|(name, (_, lease))| (name, view::holder(lease), view::is_retiring(lease)))
            .collect();
        assert_eq!(leases.len(), self.wanted, "{context}: {seen:?}");
        let living = |holder: &str| self.workers.iter().any(|worker| worker.name == holder);
        assert!(
            seen.iter().all(|(_, holder, retires)| !retires && living(holder)),
            "{context}: {seen:?}"
        );
        let slots: BTreeSet<u32> = leases.keys().filter_map(|name| view::index(name)).collect();
        let sessions: BTreeSet<u32> = self.sessions.all().keys().copied().collect();
        assert_eq!(sessions, slots, "{context}: a session without a slot, or the other way round");
        let waiting: u32 = self.sessions.all().values().map(|session| session.dirty).sum();
        assert_eq!(*self.sessions.lost.lock().unwrap(), 0, "{context}: lost");
        let (published, handled) =
            (*self.sessions.published.lock().unwrap(), *self.sessions.handled.lock().unwrap());
        assert_eq!(published, handled + waiting, "{context}");
        assert!(waiting <= 3, "{context}: a slot stays dirty: {waiting}");
    }
}

async fn run(seed: u64) {
    let context = format!("seed {seed}");
    let mut cluster = Cluster::new(3, seed);
    for _ in 0..30 {
        cluster.trouble().await;
        let pause = Duration::from_millis(cluster.chance.u64(100..20_000));
        cluster.pass(pause, &context).await;
    }
    *cluster.server.away.lock().unwrap() = false;
    cluster.server.cut.lock().unwrap().clear();
    *cluster.server.faults.lock().unwrap() = 0;
    cluster.mount();
    cluster.pass(Duration::from_mins(5), &context).await;
    cluster.check(&context);
}

#[tokio::test(start_paused = true)]
async fn after_any_trouble_every_slot_that_retired_is_drained_and_gone_and_nothing_is_lost() {
    for seed in 0..4 {
        run(seed).await;
    }
}
