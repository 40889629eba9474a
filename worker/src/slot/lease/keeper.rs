//! The task that holds one slot: looks for one, renews it, reports through it, gives it back.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use routemq_crds::report::WorkerReport;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    api::{ApiError, LeaseApi},
    names::Names,
    view::{self, Verdict, Watcher},
};
use crate::slot::leased::{Command, Record};

/// How long a change of the report waits for the next: a start changes several things at once.
const DEBOUNCE: Duration = Duration::from_secs(1);
/// Between two looks for a slot, at most; at least half of it.
const LOOK: Duration = Duration::from_secs(3);
/// A Lease that was deleted by hand is there again within seconds. One that stays away so long went with its slot.
const GONE: Duration = Duration::from_secs(30);
/// For each Lease that is looked at, so that many of them are no more work to the API server.
const LOOK_EACH: Duration = Duration::from_millis(20);
/// But never longer than this, or nobody would see that a Lease stands still (half of its duration).
const LONGEST_LOOK: Duration = Duration::from_secs(12);
/// Leases that are asked for at the same time.
const AT_ONCE: usize = 16;
/// The same while the API server is away.
const AWAY: Duration = Duration::from_secs(10);

/// What it is made of.
pub(super) struct Keeper {
    pub(super) api: Arc<dyn LeaseApi>,
    pub(super) names: Names,
    /// The pod's name: what the operator finds the pod by.
    pub(super) me: String,
    pub(super) report: watch::Receiver<WorkerReport>,
    /// The slot, for those who work on it.
    pub(super) slot: watch::Sender<Option<u32>>,
    /// What its session may hold.
    pub(super) record: Arc<watch::Sender<Record>>,
    pub(super) recorded: watch::Receiver<Record>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Tells the adopter which slot of this pod retires.
    pub(super) retires: mpsc::UnboundedSender<String>,
    /// Tells which slot is lost for good.
    pub(super) abandoned: watch::Sender<Option<u32>>,
    /// Since when there is no such Lease.
    pub(super) gone_since: Option<Instant>,
    pub(super) watcher: Watcher,
    /// As last written or read while ours.
    pub(super) lease: Option<Lease>,
    /// As read before a claim whose fate is unknown.
    pub(super) unsettled: Option<Lease>,
    /// Said once, until it changes.
    pub(super) trouble: Option<&'static str>,
}

impl Keeper {
    /// Until it is told to release, or nobody is left who could tell it.
    pub(super) async fn run(mut self) {
        loop {
            let pause = match self.lease.take() {
                Some(lease) => self.renew(lease).await,
                None => self.search().await,
            };
            match self.wait(pause).await {
                Some(Command::Check(answer)) => {
                    if let Some(lease) = self.lease.take() {
                        self.renew(lease).await;
                    }
                    // Whoever asked may have lost patience.
                    let _ = answer.send(self.trouble.is_none());
                }
                // For the adopter.
                Some(Command::Drained(_, answer)) => drop(answer),
                Some(Command::Release(answer)) => {
                    self.release().await;
                    let _ = answer.send(true);
                    return;
                }
                None if self.commands.is_closed() => return,
                None => {}
            }
        }
    }

    /// Until the pause is over, the report or the record changed, or something is asked.
    async fn wait(&mut self, pause: Duration) -> Option<Command> {
        let over = Instant::now() + pause;
        let Self { lease, report, recorded, commands, .. } = self;
        let changed = async {
            let news = tokio::select! {
                reported = report.changed() => reported.is_ok(),
                recorded = recorded.changed() => recorded.is_ok(),
            };
            match lease {
                Some(_) if news => sleep(DEBOUNCE).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            command = commands.recv() => command,
            () = sleep_until(over) => None,
            () = changed => None,
        }
    }

    // === Looking for a slot ===

    /// One look at every Lease, until one is ours.
    async fn search(&mut self) -> Duration {
        let claimed = match self.unsettled.take() {
            Some(read) => self.settle(read).await,
            None => Ok(false),
        };
        let claimed = match claimed {
            Ok(false) => self.look_around().await,
            other => other,
        };
        match claimed {
            Ok(true) => self.interval(),
            Ok(false) => {
                self.say("every slot is held by another worker: waiting for one");
                jittered(self.names.for_each(LOOK_EACH).clamp(LOOK, LONGEST_LOOK))
            }
            Err(error) => self.cannot_look(&error),
        }
    }

    /// Whether a slot was claimed. One Lease that is gone or denied is left out (the list may be older than the Role, or younger);
    /// an API server that is away ends the look, lest a better Lease be overlooked.
    async fn look_around(&mut self) -> Result<bool, ApiError> {
        let mut found = self.find().await?;
        // What an earlier life of this pod holds comes first: nobody else could give it back.
        found.sort_by_key(|(verdict, _)| *verdict);
        for (verdict, lease) in found {
            if self.lease.is_none() {
                self.claim(lease).await?;
            } else if verdict == Verdict::Mine {
                // A write that came late gave this pod a second one.
                let _ = self.api.replace(view::released(lease)).await;
            }
        }
        Ok(self.lease.is_some())
    }

    /// What may be claimed, as far as it was looked for.
    async fn find(&mut self) -> Result<Vec<(Verdict, Lease)>, ApiError> {
        let (mut found, mut denied, mut any) = (Vec::new(), None, false);
        for few in self.names.read().chunks(AT_ONCE) {
            let asked = Instant::now();
            for answer in join_all(few.iter().map(|name| self.api.get(name))).await {
                match answer {
                    Ok(lease) => found.push((self.watcher.look(&lease, &self.me, asked), lease)),
                    Err(ApiError::None | ApiError::Conflict) => {}
                    Err(ApiError::Forbidden(reason)) => denied = Some(reason),
                    Err(error @ ApiError::Away(_)) => return Err(error),
                }
            }
            any |= !found.is_empty();
            found.retain(|(verdict, _)| verdict.may_be_claimed());
            // What this pod holds would have been among the first.
            if self.names.are_remembered() && found.iter().any(|(it, _)| *it <= Verdict::Free) {
                break;
            }
        }
        match denied {
            Some(reason) if !any => Err(ApiError::Forbidden(reason)),
            _ => Ok(found),
        }
    }

    /// After a claim whose fate is unknown, before anything else is claimed: a write that is still on its way could give this worker a
    /// second slot. Written again with the version that was read, whichever of the two comes first makes the other void.
    async fn settle(&mut self, read: Lease) -> Result<bool, ApiError> {
        let found = match self.api.get(view::name(&read)).await {
            Ok(found) => found,
            Err(error @ ApiError::Away(_)) => {
                self.unsettled = Some(read);
                return Err(error);
            }
            Err(_) => return Ok(false),
        };
        let same = found.metadata.resource_version == read.metadata.resource_version;
        if same || view::holder(&found) == self.me {
            self.claim(found).await?;
        }
        Ok(self.lease.is_some())
    }

    fn cannot_look(&mut self, error: &ApiError) -> Duration {
        if self.trouble == Some("api") {
            return jittered(AWAY);
        }
        self.trouble = Some("api");
        tracing::warn!(%error, "cannot look for a slot yet: trying on");
        jittered(LOOK)
    }

    fn say(&mut self, what: &'static str) {
        if self.trouble.replace(what) != Some(what) {
            tracing::info!(pod = self.me, "{what}");
        }
    }

    /// Compare-and-swap: whoever writes first has it.
    async fn claim(&mut self, lease: Lease) -> Result<(), ApiError> {
        let Some(index) = view::index(view::name(&lease)) else { return Ok(()) };
        match self.write(lease.clone()).await {
            Ok(lease) => {
                tracing::info!(slot = index, lease = view::name(&lease), "claimed a slot");
                self.hold(lease, index);
            }
            Err(error @ ApiError::Away(_)) => {
                self.unsettled = Some(lease);
                return Err(error);
            }
            Err(ApiError::Conflict | ApiError::None | ApiError::Forbidden(_)) => {}
        }
        Ok(())
    }

    fn hold(&mut self, lease: Lease, index: u32) {
        self.trouble = None;
        let filters = view::filters(&lease).into_iter().collect();
        self.record.send_replace(Record { slot: Some(index), filters });
        self.lease = Some(lease);
        self.names.remember(index);
        self.slot.send_replace(Some(index));
    }

    async fn write(&mut self, lease: Lease) -> Result<Lease, ApiError> {
        let report = self.report.borrow_and_update().clone();
        let record = self.recorded.borrow_and_update().clone();
        let index = view::index(view::name(&lease));
        let mut lease = view::held(lease, &self.me, &report);
        if record.slot == index {
            view::record(&mut lease, &record.filters);
        }
        self.api.replace(lease).await
    }

    // === Keeping it ===

    /// Three times within the Lease's duration.
    fn interval(&self) -> Duration {
        self.lease.as_ref().map_or(LOOK, |lease| view::duration(lease) / 3)
    }

    /// Renews. Only an answer that names somebody else takes the slot away; no answer changes nothing.
    async fn renew(&mut self, lease: Lease) -> Duration {
        match self.write(lease.clone()).await {
            Ok(lease) => self.keep(lease),
            Err(ApiError::Conflict) => self.look_again(lease).await,
            Err(ApiError::None) => self.miss(lease),
            Err(error) => self.carry_on(lease, &error),
        }
    }

    /// Deleted by hand, and the operator makes it anew: it deletes none that is held. Or, while this worker was cut from the API server,
    /// another got the slot, lost it, and it retired.
    fn miss(&mut self, lease: Lease) -> Duration {
        let since = *self.gone_since.get_or_insert_with(Instant::now);
        if since.elapsed() < GONE {
            return self.carry_on(lease, &ApiError::None);
        }
        self.abandoned.send_replace(*self.slot.borrow());
        self.lose("there is no such slot any more")
    }

    /// Somebody wrote meanwhile: the operator (a mark, a cleared holder), ourselves (a write whose answer was lost), or another worker.
    async fn look_again(&mut self, ours: Lease) -> Duration {
        let found = match self.api.get(view::name(&ours)).await {
            Ok(found) => found,
            Err(ApiError::None) => return self.miss(ours),
            Err(error) => return self.carry_on(ours, &error),
        };
        match self.watcher.look(&found, &self.me, Instant::now()) {
            Verdict::Mine | Verdict::Free => {}
            Verdict::Retiring => {
                let pause = self.lose("it is to be drained and ended");
                let _ = self.retires.send(view::name(&found).to_owned());
                return pause;
            }
            Verdict::Expired | Verdict::Held => return self.lose("another worker holds it"),
        }
        match self.write(found.clone()).await {
            Ok(lease) => self.keep(lease),
            // Decided at the next turn, which is soon.
            Err(error) => {
                self.carry_on(found, &error);
                jittered(LOOK)
            }
        }
    }

    fn keep(&mut self, lease: Lease) -> Duration {
        self.gone_since = None;
        if self.trouble.take().is_some() {
            tracing::info!("the slot's Lease is renewed again");
        }
        self.lease = Some(lease);
        self.interval()
    }

    /// The API server is away: messages flow on, the broker is the arbiter.
    fn carry_on(&mut self, lease: Lease, error: &ApiError) -> Duration {
        if self.trouble != Some("renew") {
            self.trouble = Some("renew");
            tracing::warn!(%error, "cannot renew the slot's Lease: going on without");
        }
        self.lease = Some(lease);
        self.interval()
    }

    fn lose(&mut self, why: &'static str) -> Duration {
        tracing::warn!(slot = ?*self.slot.borrow(), "the slot is lost: {why}");
        self.names.forget();
        self.gone_since = None;
        self.slot.send_replace(None);
        Duration::ZERO
    }

    // === Giving it back ===

    /// Best effort: what is not given back expires.
    async fn release(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        self.slot.send_replace(None);
        let name = view::name(&lease).to_owned();
        let mut released = self.api.replace(view::released(lease)).await;
        if matches!(released, Err(ApiError::Conflict)) {
            released = match self.api.get(&name).await {
                Ok(found) if view::holder(&found) == self.me => {
                    self.api.replace(view::released(found)).await
                }
                other => other,
            };
        }
        match released {
            Ok(_) => {
                self.names.forget();
                tracing::info!(lease = name, "released the slot");
            }
            Err(error) => {
                tracing::warn!(%error, lease = name, "the slot is not released: it expires");
            }
        }
    }
}

/// Between half of it and all of it.
pub(super) fn jittered(most: Duration) -> Duration {
    most.mul_f64(0.5 + fastrand::f64() / 2.0)
}
