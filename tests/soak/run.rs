//! One run, from the first process to the verdict.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use routemq_tests::{Broker, MariaDb, MariaDbConfig, program, version_of};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    bed::{Bed, KEYS},
    checker,
    cluster::NAMESPACE,
    effects, evidence,
    facts::Facts,
    history::History,
    journal::{Journal, State},
    leftovers::{self, Leftovers},
    moment::Clock,
    nemesis::Nemesis,
    options::{BrokerKind, Control, Options},
    publisher::Publisher,
    report::Report,
    schedule::schedule,
    slot::Slot,
    verdict,
    witness::Witness,
};

/// Starting processes on a busy machine.
const START: Duration = Duration::from_mins(1);
/// Messages a second that must have been accepted, over the whole run, or it shows nothing.
const LEAST_LOAD: u64 = 1000;
/// After the last fault messages must go on being handled: longer than any worker may take to be back.
const STANDSTILL: Duration = Duration::from_secs(35);
const PROGRESS: Duration = Duration::from_secs(5);

/// A run under way.
struct Run {
    options: Arc<Options>,
    clock: Clock,
    bed: Bed,
    journal: Journal,
    witness: Witness,
    history: History,
}

/// Runs it all.
pub(crate) async fn run(options: Options) -> Report {
    let clock = Clock::start();
    let (sender, acknowledged) = mpsc::unbounded_channel();
    let witness = Witness::new(clock, sender);
    let config = MariaDbConfig { max_connections: 400, ..MariaDbConfig::default() };
    let (broker, database) = tokio::join!(Bed::broker(options.broker), MariaDb::start_with(config));
    let bed = Bed::start(&options, broker, database, &witness).await;
    let checker = checker::start(bed.database_url.clone(), clock, acknowledged);
    let run = Run {
        journal: Journal::new(clock, options.seed, KEYS),
        history: History::new(clock),
        options: Arc::new(options),
        clock,
        bed,
        witness,
    };
    run.execute(checker).await
}

impl Run {
    async fn execute(self, checker: JoinHandle<checker::Checked>) -> Report {
        self.start_workers().await;
        if self.options.control == Some(Control::LateEffects) {
            tokio::spawn(effects::add_late(self.bed.database_url.clone()));
        }
        let progress = self.show_progress();
        let started = Instant::now();
        let address = self.bed.broker_address;
        let publisher = Publisher::start(address, self.journal.clone(), self.options.rate);
        self.make_faults().await;
        let loaded = started.elapsed();
        self.start_all_used().await;
        publisher.finish().await;
        self.settle_slots().await;
        self.drain().await;
        let peak_memory = self.peak_memory().await;
        self.stop_workers().await;
        progress.abort();
        let _ = progress.await;
        self.account(checker, loaded, peak_memory).await
    }

    async fn start_workers(&self) {
        for slot in &self.bed.slots[..self.options.workers as usize] {
            let mut slot = slot.lock().await;
            self.bed.start_process(&mut slot).await;
        }
        let deadline = Instant::now() + START;
        while self.subscribed() < self.options.workers as usize {
            assert!(
                Instant::now() < deadline,
                "the workers do not subscribe:\n{}",
                self.logs().await
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn subscribed(&self) -> usize {
        self.witness.seen().connections.iter().filter(|it| it.subscribed.is_some()).count()
    }

    async fn logs(&self) -> String {
        self.all_logs().await.into_iter().map(|(_, log)| log).collect()
    }

    /// Faults as planned, and load for as long as was asked for.
    async fn make_faults(&self) {
        let end = Instant::now() + self.options.duration();
        let nemesis = Nemesis {
            bed: self.bed.clone(),
            options: Arc::clone(&self.options),
            witness: self.witness.clone(),
            history: self.history.clone(),
            clock: self.clock,
            version: Arc::new(Mutex::new(0)),
        };
        nemesis.follow(schedule(&self.options)).await;
        tokio::time::sleep_until(end).await;
    }

    // === The end ===

    /// What a worker that went has left on the broker is its own to fetch.
    async fn start_all_used(&self) {
        for slot in &self.bed.slots {
            let mut slot = slot.lock().await;
            if let Some(what) = slot.fell_over() {
                self.history.bad_exit(slot.number, what);
            }
            // With Leases the others have drained what a worker left that went.
            let stays = self.bed.cluster.is_none() || slot.number < self.options.workers;
            if slot.was_used() && !slot.is_running() && stays {
                self.bed.start_process(&mut slot).await;
            }
        }
    }

    /// With Leases: waits until retired slots are gone.
    async fn settle_slots(&self) {
        if let Some(cluster) = &self.bed.cluster {
            let extra = self.bed.slots[self.options.workers as usize].lock().await.is_running();
            let workers = self.options.workers as usize + usize::from(extra);
            cluster.lock().await.settled(workers).await;
        }
    }

    /// Waits until every accepted message has been acknowledged by a worker, or none is any more.
    async fn drain(&self) {
        let (mut last, mut since) = (0, Instant::now());
        while self.not_acknowledged() > 0 && since.elapsed() < STANDSTILL {
            let acknowledged = self.witness.seen().acknowledged;
            if acknowledged > last {
                (last, since) = (acknowledged, Instant::now());
            }
            sleep(Duration::from_millis(100)).await;
        }
        // What is under way besides (of messages whose fate the publisher does not know) comes to its end.
        sleep(Duration::from_secs(1)).await;
    }

    fn not_acknowledged(&self) -> usize {
        let entries = self.journal.entries();
        let seen = self.witness.seen();
        let open = entries.iter().enumerate().filter(|(id, entry)| {
            let deliveries = seen.deliveries.get(*id).map_or(&[][..], Vec::as_slice);
            matches!(entry.state, State::Accepted(_))
                && deliveries.iter().all(|delivery| delivery.acknowledged.is_none())
        });
        open.count()
    }

    async fn peak_memory(&self) -> u64 {
        let mut most = 0;
        for slot in &self.bed.slots {
            most = most.max(slot.lock().await.peak_memory().unwrap_or_default());
        }
        most
    }

    async fn stop_workers(&self) {
        join_all(self.bed.slots.iter().cloned().map(|slot| self.stop_worker(slot))).await;
    }

    async fn stop_worker(&self, slot: Arc<Mutex<Slot>>) {
        let mut slot = slot.lock().await;
        let ended = match slot.fell_over() {
            Some(what) => Err(what),
            None if slot.is_running() => slot.terminate().await,
            None => Ok(()),
        };
        if let Err(what) = ended {
            self.history.bad_exit(slot.number, what);
        }
    }

    async fn account(
        self,
        checker: JoinHandle<checker::Checked>,
        loaded: Duration,
        peak_memory: u64,
    ) -> Report {
        let leftovers = self.leftovers().await;
        let (attempts, effects) = effects::read(&self.bed.database_url).await;
        let seen = self.witness.seen().clone();
        let logs = self.all_logs().await;
        // The witnesses go, so the checker comes to its end.
        let Self { options, bed, journal, witness, history, .. } = self;
        let broker = bed.broker.lock().await;
        let (versions, broker_keeps_window) =
            (versions(&broker), broker.keeps_to_receive_maximum());
        drop(broker);
        drop((bed, witness));
        let facts = Facts {
            entries: journal.entries(),
            nobody: journal.nobody(),
            seen,
            attempts,
            effects,
            checked: checker.await.expect("the checker ends when all is checked"),
            incidents: history.incidents(),
            bad_exits: history.bad_exits(),
            leftovers,
            broker_loses: options.broker == BrokerKind::Rmqtt,
            receive_maximum: options.receive_maximum,
            broker_keeps_window,
            workers: options.workers + 1,
        };
        let mut judgement = verdict::judge(&facts, options.slack);
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let least = options.rate.min(LEAST_LOAD) as f64 / options.slack;
        judgement.counterexamples.extend(verdict::too_little(&facts, loaded, least));
        let options = (*options).clone();
        let skipped = history.skipped();
        let report = Report { options, facts, judgement, loaded, skipped, peak_memory, versions };
        keep_evidence(&report, &logs);
        report
    }

    async fn leftovers(&self) -> Leftovers {
        let ids = match &self.bed.cluster {
            Some(cluster) => self.ids_of(&cluster.lock().await.slots().expect("it answers")),
            None => self.client_ids(),
        };
        let broker = self.bed.broker.lock().await;
        leftovers::look(&broker, &ids).await
    }

    /// The last client id of each slot that was used.
    fn client_ids(&self) -> Vec<String> {
        let seen = self.witness.seen();
        let of_slot = |number: u32| {
            let own =
                |it: &&crate::witness::Connection| it.slot == number && it.subscribed.is_some();
            seen.connections.iter().rev().find(own).map(|it| it.client_id.clone())
        };
        (0..=self.options.workers).filter_map(of_slot).collect()
    }

    /// The client ids of the slots with these numbers, whoever had them.
    fn ids_of(&self, slots: &[u32]) -> Vec<String> {
        let seen = self.witness.seen();
        let of_slot = |slot: &u32| {
            let end = format!("-{NAMESPACE}.soak-{slot}");
            let own = seen.connections.iter().find(|it| it.client_id.ends_with(&end));
            own.map(|it| it.client_id.clone())
        };
        slots.iter().filter_map(of_slot).collect()
    }

    async fn all_logs(&self) -> Vec<(String, String)> {
        let mut logs = vec![("broker".to_owned(), self.bed.broker.lock().await.log())];
        if let Some(cluster) = &self.bed.cluster {
            logs.push(("operator".to_owned(), cluster.lock().await.log()));
        }
        for slot in &self.bed.slots {
            let slot = slot.lock().await;
            logs.push((format!("worker-{}", slot.number), slot.output()));
        }
        logs
    }

    // === Progress ===

    fn show_progress(&self) -> JoinHandle<()> {
        let (clock, journal) = (self.clock, self.journal.clone());
        let (witness, history) = (self.witness.clone(), self.history.clone());
        tokio::spawn(async move {
            loop {
                sleep(PROGRESS).await;
                let (counts, acknowledged) = (journal.counts(), witness.seen().acknowledged);
                let open: Vec<String> = history
                    .incidents()
                    .iter()
                    .filter(|incident| incident.over().is_none())
                    .map(|incident| incident.kind.name())
                    .collect();
                eprintln!(
                    "{} {} published, {} accepted, {} unknown, {acknowledged} acknowledged by workers  {}",
                    clock.now(),
                    counts.sent,
                    counts.accepted,
                    counts.unknown,
                    open.join(" ")
                );
            }
        })
    }
}

fn keep_evidence(report: &Report, logs: &[(String, String)]) {
    if report.holds() {
        return;
    }
    let folder = report.options.evidence.join(format!("seed-{}", report.options.seed));
    match evidence::write(&folder, &report.facts, logs, &report.stories()) {
        Ok(()) => eprintln!("evidence: {}", folder.display()),
        Err(error) => eprintln!("no evidence in {}: {error}", folder.display()),
    }
}

fn versions(broker: &Broker) -> Vec<String> {
    vec![broker.name(), version_of(&program("mariadbd", "mariadb-server"), "--version")]
}
