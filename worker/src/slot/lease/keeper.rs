//! The task that holds one slot: looks for one, renews it, reports through it, gives it back.

use std::{sync::Arc, time::Duration};

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
use crate::slot::leased::Command;

/// How long a change of the report waits for the next: a start changes several things at once.
const DEBOUNCE: Duration = Duration::from_secs(1);
/// Between two looks for a slot, at most; at least half of it.
const LOOK: Duration = Duration::from_secs(3);
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
    pub(super) commands: mpsc::Receiver<Command>,
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
                    let _ = answer.send(());
                }
                Some(Command::Release(answer)) => {
                    self.release().await;
                    let _ = answer.send(());
                    return;
                }
                None if self.commands.is_closed() => return,
                None => {}
            }
        }
    }

    /// Until the pause is over, the report changed, or something is asked.
    async fn wait(&mut self, pause: Duration) -> Option<Command> {
        let over = Instant::now() + pause;
        let Self { lease, report, commands, .. } = self;
        let changed = async {
            match (lease, report.changed().await) {
                (Some(_), Ok(())) => sleep(DEBOUNCE).await,
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
                jittered(LOOK)
            }
            Err(error) => self.cannot_look(&error),
        }
    }

    /// Whether a slot was claimed. One Lease that is gone or denied is left out (the list may be older than the Role, or younger);
    /// an API server that is away ends the look, lest a better Lease be overlooked.
    async fn look_around(&mut self) -> Result<bool, ApiError> {
        let (mut found, mut denied) = (Vec::new(), None);
        for name in self.names.read() {
            let asked = Instant::now();
            match self.api.get(&name).await {
                Ok(lease) => found.push((self.watcher.look(&lease, &self.me, asked), lease)),
                Err(ApiError::None | ApiError::Conflict) => {}
                Err(ApiError::Forbidden(reason)) => denied = Some(reason),
                Err(error @ ApiError::Away(_)) => return Err(error),
            }
        }
        if let (true, Some(reason)) = (found.is_empty(), denied) {
            return Err(ApiError::Forbidden(reason));
        }
        found.retain(|(verdict, _)| verdict.may_be_claimed());
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
        self.lease = Some(lease);
        self.names.remember(index);
        self.slot.send_replace(Some(index));
    }

    async fn write(&mut self, lease: Lease) -> Result<Lease, ApiError> {
        let report = self.report.borrow_and_update().clone();
        self.api.replace(view::held(lease, &self.me, &report)).await
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
            // Deleted by hand, for the operator deletes none that is held: it makes it anew.
            Err(error) => self.carry_on(lease, &error),
        }
    }

    /// Somebody wrote meanwhile: the operator (a mark, a cleared holder), ourselves (a write whose answer was lost), or another worker.
    async fn look_again(&mut self, ours: Lease) -> Duration {
        let found = match self.api.get(view::name(&ours)).await {
            Ok(found) => found,
            Err(error) => return self.carry_on(ours, &error),
        };
        match self.watcher.look(&found, &self.me, Instant::now()) {
            Verdict::Mine | Verdict::Free => {}
            Verdict::Retiring => return self.lose("it is to be drained and ended"),
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
fn jittered(most: Duration) -> Duration {
    most.mul_f64(0.5 + fastrand::f64() / 2.0)
}
