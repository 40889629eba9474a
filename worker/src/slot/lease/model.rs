//! The protocol against an API server that fails in every way, and a broker that lets one connection of a client id live.
//!
//! Time is paused, chance comes from a seed: each run of a seed is the same run.

mod retiring;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;
use futures::future::BoxFuture;
use k8s_openapi::api::coordination::v1::Lease;
use routemq_crds::report::WorkerReport;
use routemq_mqtt::Loss;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    ApiError, LeaseApi, Names,
    view::{self, tests::lease},
};
use crate::slot::{Leased, Losses};

/// The API server, and what befalls it.
struct Server {
    leases: Mutex<HashMap<String, (u64, Lease)>>,
    chance: Mutex<Rng>,
    /// Nobody gets an answer.
    away: Mutex<bool>,
    /// Pods that get no answer.
    cut: Mutex<BTreeSet<String>>,
    /// One request in so many fails.
    faults: Mutex<u32>,
    /// What befalls the next write.
    next_write: Mutex<Option<Fate>>,
}

/// What befalls a request.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Answered,
    /// It never arrives.
    Lost,
    /// It is done, and the answer is lost.
    Unanswered,
    /// It is given up, and done after all, so much later.
    Late(Duration),
}

impl Server {
    fn new(slots: u32, seed: u64) -> Self {
        let name = |index| format!("a-slot-{index}");
        let leases = (0..slots).map(|index| (name(index), (1, lease(&name(index), ""))));
        Self {
            leases: Mutex::new(leases.collect()),
            chance: Mutex::new(Rng::with_seed(seed)),
            away: Mutex::default(),
            cut: Mutex::default(),
            faults: Mutex::new(5),
            next_write: Mutex::default(),
        }
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<String, (u64, Lease)>> {
        self.leases.lock().unwrap()
    }

    /// After how long, and how, a request of this pod ends.
    fn fate(&self, pod: &str) -> (Duration, Fate) {
        let mut chance = self.chance.lock().unwrap();
        let faults = *self.faults.lock().unwrap();
        let delay = Duration::from_millis(chance.u64(1..400));
        if *self.away.lock().unwrap() || self.cut.lock().unwrap().contains(pod) {
            return (delay, Fate::Lost);
        }
        if faults == 0 || chance.u32(0..faults) > 0 {
            return (delay, Fate::Answered);
        }
        match chance.u32(0..3) {
            0 => (delay, Fate::Lost),
            1 => (delay, Fate::Unanswered),
            _ => (5 * Duration::from_secs(1), Fate::Late(Duration::from_secs(chance.u64(0..60)))),
        }
    }

    fn read(&self, name: &str) -> Result<Lease, ApiError> {
        let leases = self.leases();
        let (version, lease) = leases.get(name).ok_or(ApiError::None)?;
        Ok(versioned(*version, lease.clone()))
    }

    fn write(&self, lease: Lease) -> Result<Lease, ApiError> {
        let mut leases = self.leases();
        let (version, stored) = leases.get_mut(view::name(&lease)).ok_or(ApiError::None)?;
        if lease.metadata.resource_version != Some(version.to_string()) {
            return Err(ApiError::Conflict);
        }
        *version += 1;
        *stored = lease;
        Ok(versioned(*version, stored.clone()))
    }

    /// What the operator does about a pod that is gone.
    fn clear(&self, pod: &str) {
        for (version, lease) in self.leases().values_mut() {
            if view::holder(lease) == pod {
                *version += 1;
                *lease = view::released(lease.clone());
            }
        }
    }

    fn occupy(&self, name: &str, pod: &str) {
        let stored = self.read(name).unwrap();
        self.write(view::held(stored, pod, &WorkerReport::default())).unwrap();
    }

    fn holders(&self) -> BTreeMap<String, String> {
        let all = self.leases();
        all.iter()
            .map(|(name, (_, lease))| (name.clone(), view::holder(lease).to_owned()))
            .collect()
    }
}

fn versioned(version: u64, mut lease: Lease) -> Lease {
    lease.metadata.resource_version = Some(version.to_string());
    lease
}

/// The server as one pod reaches it.
struct Way {
    server: Arc<Server>,
    pod: String,
}

impl LeaseApi for Way {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Lease, ApiError>> {
        Box::pin(async move {
            let (delay, fate) = self.server.fate(&self.pod);
            sleep(delay).await;
            if fate == Fate::Answered { self.server.read(name) } else { Err(lost()) }
        })
    }

    fn replace(&self, lease: Lease) -> BoxFuture<'_, Result<Lease, ApiError>> {
        Box::pin(async move {
            let (delay, fate) = self.server.fate(&self.pod);
            let fate = self.server.next_write.lock().unwrap().take().unwrap_or(fate);
            sleep(delay).await;
            match fate {
                Fate::Answered => return self.server.write(lease),
                Fate::Lost => {}
                Fate::Unanswered => drop(self.server.write(lease)),
                Fate::Late(later) => {
                    let server = Arc::clone(&self.server);
                    tokio::spawn(async move {
                        sleep(later).await;
                        drop(server.write(lease));
                    });
                }
            }
            Err(lost())
        })
    }
}

fn lost() -> ApiError {
    ApiError::Away("lost".to_owned())
}

/// Who is connected as which slot, and how often one threw out another.
#[derive(Default)]
struct Broker {
    connected: Mutex<BTreeMap<u32, watch::Sender<String>>>,
    takeovers: Mutex<Vec<Instant>>,
    /// It says nothing to whom it throws out, as mosquitto before 2.1.
    silent: AtomicBool,
}

impl Broker {
    /// Connects; resolves when somebody else has.
    async fn connection(&self, slot: u32, pod: &str) {
        let mut owner = {
            let mut connected = self.connected.lock().unwrap();
            let sender = connected.entry(slot).or_insert_with(|| watch::Sender::new(String::new()));
            let before = sender.send_replace(pod.to_owned());
            if !before.is_empty() && before != pod {
                self.takeovers.lock().unwrap().push(Instant::now());
            }
            sender.subscribe()
        };
        let _ = owner.wait_for(|owner| owner != pod).await;
    }

    fn loss(&self, lasted: Duration) -> Loss {
        if self.silent.load(Relaxed) { Loss::Closed { lasted } } else { Loss::TakenOver }
    }

    fn disconnect(&self, pod: &str) {
        for sender in self.connected.lock().unwrap().values() {
            sender.send_if_modified(|owner| {
                let ours = owner == pod;
                if ours {
                    owner.clear();
                }
                ours
            });
        }
    }

    fn owners(&self) -> Vec<String> {
        let connected = self.connected.lock().unwrap();
        let mut owners: Vec<_> = connected.values().map(|it| it.borrow().clone()).collect();
        owners.retain(|owner| !owner.is_empty());
        owners.sort();
        owners
    }
}

/// A worker: connects as the slot that it holds, and asks before it connects again.
async fn work(slot: Leased, broker: Arc<Broker>, pod: String) {
    let mut held = slot.watch();
    loop {
        let now = *held.borrow_and_update();
        let Some(index) = now else {
            if held.changed().await.is_err() {
                return;
            }
            continue;
        };
        let losses = Losses::default();
        loop {
            let began = Instant::now();
            tokio::select! {
                () = broker.connection(index, &pod) => {}
                _ = held.wait_for(|now| *now != Some(index)) => break,
            }
            let loss = broker.loss(began.elapsed());
            sleep(Duration::from_millis(100)).await;
            if !slot.may_return(index, loss, &losses).await {
                break;
            }
        }
        broker.disconnect(&pod);
    }
}

struct Pod {
    name: String,
    slot: Leased,
    task: JoinHandle<()>,
    _report: watch::Sender<WorkerReport>,
    keepers: [JoinHandle<()>; 2],
}

struct World {
    server: Arc<Server>,
    broker: Arc<Broker>,
    file: PathBuf,
    scratch: tempfile::TempDir,
    pods: Vec<Pod>,
    born: u32,
    chance: Rng,
}

impl World {
    fn new(slots: u32, pods: u32, seed: u64) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("slots.json");
        let names: Vec<_> = (0..slots).map(|index| format!("a-slot-{index}")).collect();
        std::fs::write(&file, serde_json::json!({ "leases": names }).to_string()).unwrap();
        fastrand::seed(seed);
        let mut world = Self {
            server: Arc::new(Server::new(slots, seed)),
            broker: Arc::default(),
            file,
            scratch,
            pods: Vec::new(),
            born: 0,
            chance: Rng::with_seed(seed ^ 0xabcd),
        };
        for _ in 0..pods {
            world.born += 1;
            world.start(format!("pod-{}", world.born));
        }
        world
    }

    fn start(&mut self, name: String) {
        let scratch = self.scratch.path().join(&name);
        std::fs::create_dir_all(&scratch).unwrap();
        let (report, watch) = watch::channel(WorkerReport::default());
        let names = Names::new(self.file.clone(), Some(scratch));
        let way = Way { server: Arc::clone(&self.server), pod: name.clone() };
        let (slot, keepers) = super::kept(Arc::new(way), names, name.clone(), watch);
        let task = tokio::spawn(work(slot.clone(), Arc::clone(&self.broker), name.clone()));
        self.pods.push(Pod { name, slot, task, _report: report, keepers });
    }

    /// kill -9: nothing is said to anybody.
    fn kill(&mut self) -> String {
        let pod = self.pods.swap_remove(self.chance.usize(0..self.pods.len()));
        pod.task.abort();
        pod.keepers.iter().for_each(JoinHandle::abort);
        self.broker.disconnect(&pod.name);
        pod.name
    }

    async fn trouble(&mut self) {
        match self.chance.u32(0..8) {
            0 => {
                let name = self.kill();
                self.start(name);
            }
            1 => {
                let name = self.kill();
                self.born += 1;
                self.start(format!("pod-{}", self.born));
                if self.chance.bool() {
                    self.server.clear(&name);
                }
            }
            2 => {
                let index = self.chance.usize(0..self.pods.len());
                let pod = self.pods.swap_remove(index);
                pod.slot.release().await;
                pod.task.abort();
                self.broker.disconnect(&pod.name);
                self.born += 1;
                self.start(format!("pod-{}", self.born));
            }
            3 => *self.server.away.lock().unwrap() = true,
            4 => *self.server.away.lock().unwrap() = false,
            5 => {
                let pod = self.any();
                self.server.cut.lock().unwrap().insert(pod);
            }
            6 => self.server.cut.lock().unwrap().clear(),
            // A mistaken operator: the pod lives.
            _ => {
                let pod = self.any();
                self.server.clear(&pod);
            }
        }
    }

    fn any(&mut self) -> String {
        self.pods[self.chance.usize(0..self.pods.len())].name.clone()
    }

    fn check_always(&self, context: &str) {
        for pod in &self.pods {
            let owned = self.broker.owners().iter().filter(|owner| **owner == pod.name).count();
            assert!(owned <= 1, "{context}: {} is connected {owned} times", pod.name);
        }
    }

    fn check_calm(&self, slots: u32, since: Instant, context: &str) {
        let holders: Vec<String> = self.server.holders().into_values().collect();
        // With more slots than workers nobody looks at what the dead have left.
        let lives = |holder: &&String| self.pods.iter().any(|pod| pod.name == **holder);
        let mut held: Vec<_> = holders.iter().filter(lives).cloned().collect();
        held.sort();
        let wanted = (slots as usize).min(self.pods.len());
        assert_eq!(
            held.len(),
            wanted,
            "{context}: not every slot is held by a worker: {holders:?}"
        );
        assert_eq!(held, self.broker.owners(), "{context}: who holds and who is connected differ");
        held.dedup();
        assert_eq!(held.len(), wanted, "{context}: a worker holds two slots");
        let late = self.broker.takeovers.lock().unwrap().iter().filter(|at| **at > since).count();
        assert_eq!(late, 0, "{context}: workers take turns");
    }
}

async fn run(slots: u32, pods: u32, seed: u64) {
    let context = format!("{slots} slots, {pods} pods, seed {seed}");
    let mut world = World::new(slots, pods, seed);
    world.broker.silent.store(seed.is_multiple_of(2), Relaxed);
    for _ in 0..40 {
        world.trouble().await;
        for _ in 0..10 {
            let pause = world.chance.u64(10..2000);
            sleep(Duration::from_millis(pause)).await;
            world.check_always(&context);
        }
    }
    *world.server.away.lock().unwrap() = false;
    world.server.cut.lock().unwrap().clear();
    *world.server.faults.lock().unwrap() = 0;
    // The last late write, expiry, a renewal, two looks.
    sleep(Duration::from_mins(2)).await;
    let calm = Instant::now();
    sleep(Duration::from_mins(1)).await;
    world.check_calm(slots, calm, &context);
}

#[tokio::test(start_paused = true)]
async fn after_any_trouble_every_slot_has_one_worker_and_nobody_takes_turns() {
    for seed in 0..6 {
        for (slots, pods) in [(3, 3), (3, 5), (4, 2)] {
            run(slots, pods, seed).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_takes_no_slot_away() {
    let world = World::new(3, 3, 1);
    *world.server.faults.lock().unwrap() = 0;
    sleep(Duration::from_secs(30)).await;
    let before: Vec<_> = world.pods.iter().map(|pod| *pod.slot.watch().borrow()).collect();
    assert!(before.iter().all(Option::is_some), "{before:?}");
    *world.server.away.lock().unwrap() = true;
    sleep(Duration::from_mins(10)).await;
    let after: Vec<_> = world.pods.iter().map(|pod| *pod.slot.watch().borrow()).collect();
    assert_eq!(after, before);
}

#[tokio::test(start_paused = true)]
async fn a_worker_cut_from_the_api_server_and_who_has_its_slot_now_do_not_throw_each_other_out_for_ever()
 {
    // A broker that says so is believed; one that says nothing is tried three times, and then once a minute.
    for (silent, most) in [(false, 1), (true, 8 + 2 * 10)] {
        let mut world = World::new(1, 1, 3);
        *world.server.faults.lock().unwrap() = 0;
        world.broker.silent.store(silent, Relaxed);
        sleep(Duration::from_secs(30)).await;
        world.start("other".to_owned());
        let old = world.pods[0].name.clone();
        world.server.cut.lock().unwrap().insert(old);
        sleep(Duration::from_mins(10)).await;
        let takeovers = world.broker.takeovers.lock().unwrap().len();
        assert!((1..=most).contains(&takeovers), "silent: {silent}: {takeovers} takeovers");
        world.server.cut.lock().unwrap().clear();
        sleep(Duration::from_mins(2)).await;
        assert_eq!(world.broker.owners(), ["other"]);
    }
}

#[tokio::test(start_paused = true)]
async fn among_hundreds_of_slots_the_one_whose_holder_is_gone_is_found() {
    let mut world = World::new(300, 0, 5);
    *world.server.faults.lock().unwrap() = 0;
    for index in 0..300 {
        world.server.occupy(&format!("a-slot-{index}"), "gone");
    }
    world.start("late".to_owned());
    sleep(Duration::from_mins(2)).await;
    let held = world.server.holders().values().filter(|holder| *holder == "late").count();
    assert_eq!(held, 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_comes_late_gives_no_second_slot() {
    // The order in which a worker tries slots depends on the seed.
    for seed in 0..8 {
        let mut world = World::new(2, 0, seed);
        *world.server.faults.lock().unwrap() = 0;
        world.server.occupy("a-slot-0", "another");
        *world.server.next_write.lock().unwrap() = Some(Fate::Late(Duration::from_secs(20)));
        world.start("pod".to_owned());
        sleep(Duration::from_secs(1)).await;
        world.server.clear("another");
        sleep(Duration::from_secs(40)).await;
        let holders = world.server.holders();
        let held = holders.values().filter(|holder| *holder == "pod").count();
        assert_eq!(held, 1, "seed {seed}: {holders:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_restarts_takes_up_its_own_slot_at_once() {
    let mut world = World::new(3, 3, 2);
    *world.server.faults.lock().unwrap() = 0;
    sleep(Duration::from_secs(30)).await;
    let before = world.server.holders();
    let name = world.kill();
    world.start(name);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.server.holders(), before);
    let pod = world.pods.last().unwrap();
    assert!(pod.slot.watch().borrow().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_slot_of_a_lost_node_is_taken_up_when_it_expires() {
    let mut world = World::new(2, 2, 3);
    *world.server.faults.lock().unwrap() = 0;
    sleep(Duration::from_secs(30)).await;
    world.kill();
    world.start("replacement".to_owned());
    let start = Instant::now();
    let mut held = world.pods.last().unwrap().slot.watch();
    held.wait_for(Option::is_some).await.unwrap();
    let waited = start.elapsed();
    assert!((20..45).contains(&waited.as_secs()), "{waited:?}");
}
