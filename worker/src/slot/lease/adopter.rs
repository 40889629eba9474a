//! The task that adopts retired slots, one at a time: claims one, renews it while its session is drained, and writes down that
//! nothing is left of it.
//!
//! Which slots retire stands on their Leases, and their names are known to every worker from the time when they were in use. So a mark
//! is seen within two looks, long before kubelet brings a changed file.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use routemq_crds::report::WorkerReport;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use super::{
    api::{ApiError, LeaseApi},
    keeper::jittered,
    names::Names,
    view::{self, Verdict, Watcher},
};
use crate::slot::{Adoption, leased::Command};

/// Between two looks for a retired slot, at most; at least half of it. Less than half a Lease's duration, so that expiry is seen.
const LOOK: Duration = Duration::from_secs(10);
/// Leases that one look reads: with many slots the workers together still see each of them all the time.
const MOST: usize = 16;
/// Between two attempts to write down that a slot is drained.
const AGAIN: Duration = Duration::from_secs(2);

/// What it is made of.
pub(super) struct Adopter {
    pub(super) api: Arc<dyn LeaseApi>,
    pub(super) names: Names,
    /// The pod's name.
    pub(super) me: String,
    /// The slot to drain, for those who do.
    pub(super) adoption: watch::Sender<Option<Adoption>>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Whether there is somebody who drains.
    pub(super) willing: watch::Receiver<bool>,
    /// The Lease of this pod's own slot, when it retires: the first to look at, at once.
    pub(super) retiring: mpsc::UnboundedReceiver<String>,
    pub(super) watcher: Watcher,
    /// As last written or read while ours.
    pub(super) lease: Option<Lease>,
    /// Nothing is left of its session, which is to be written down.
    pub(super) drained: bool,
    /// Said once, until it is over.
    pub(super) trouble: bool,
}

impl Adopter {
    /// Until it is told to release, or nobody is left who could tell it.
    pub(super) async fn run(mut self) {
        let mut pause = jittered(LOOK);
        loop {
            match self.wait(pause).await {
                Some(Command::Release(answer)) => {
                    self.release().await;
                    let _ = answer.send(true);
                    return;
                }
                Some(Command::Check(answer)) => {
                    pause = self.turn().await;
                    let _ = answer.send(!self.trouble);
                }
                Some(Command::Drained(slot, answer)) => {
                    self.drained |= self.slot() == Some(slot);
                    pause = self.turn().await;
                    let _ = answer.send(!self.drained);
                }
                None if self.commands.is_closed() => return,
                None => pause = self.turn().await,
            }
        }
    }

    /// Until the pause is over, somebody can drain, this pod's own slot retires, or something is asked.
    async fn wait(&mut self, pause: Duration) -> Option<Command> {
        let idle = self.lease.is_none();
        tokio::select! {
            command = self.commands.recv() => return command,
            () = sleep(pause) => {}
            Ok(()) = self.willing.changed(), if idle => {}
            Some(name) = self.retiring.recv(), if idle => self.names.prefer(name),
        }
        None
    }

    async fn turn(&mut self) -> Duration {
        match self.lease.take() {
            Some(lease) => self.go_on(lease).await,
            None if *self.willing.borrow_and_update() => self.look().await,
            None => LOOK,
        }
    }

    fn slot(&self) -> Option<u32> {
        view::index(view::name(self.lease.as_ref()?))
    }

    // === Looking for a retired slot ===

    async fn look(&mut self) -> Duration {
        for name in self.names.next(MOST) {
            let asked = Instant::now();
            match self.api.get(&name).await {
                Ok(lease) if self.is_free(&lease, asked) => {
                    self.claim(lease).await;
                    if self.lease.is_some() {
                        return self.interval();
                    }
                }
                Ok(_) | Err(ApiError::None | ApiError::Conflict | ApiError::Forbidden(_)) => {}
                Err(ApiError::Away(_)) => return LOOK,
            }
        }
        jittered(LOOK)
    }

    /// Whether it retires, is not drained yet, and nobody else is at it.
    fn is_free(&mut self, lease: &Lease, asked: Instant) -> bool {
        let free = self.watcher.look_at_holder(lease, &self.me, asked).may_be_claimed();
        free && view::is_retiring(lease) && !view::is_drained(lease)
    }

    /// Compare-and-swap. One whose answer is lost is found again as ours.
    async fn claim(&mut self, lease: Lease) {
        let Some(slot) = view::index(view::name(&lease)) else { return };
        if let Ok(lease) = self.write(lease).await {
            tracing::info!(slot, lease = view::name(&lease), "adopted a retired slot");
            let filters = view::filters(&lease);
            (self.lease, self.drained) = (Some(lease), false);
            self.adoption.send_replace(Some(Adoption { slot, filters }));
        }
    }

    async fn write(&self, lease: Lease) -> Result<Lease, ApiError> {
        let lease = if self.drained {
            view::drained(lease)
        } else {
            view::held(lease, &self.me, &WorkerReport::default())
        };
        self.api.replace(lease).await
    }

    // === Keeping it, until it is drained ===

    fn interval(&self) -> Duration {
        match &self.lease {
            Some(_) if self.drained => AGAIN,
            Some(lease) => view::duration(lease) / 3,
            None => LOOK,
        }
    }

    /// Renews, or says that it is drained. Only an answer that says so takes the slot away.
    async fn go_on(&mut self, lease: Lease) -> Duration {
        match self.write(lease.clone()).await {
            Ok(lease) => self.written(lease),
            Err(ApiError::Conflict) => self.look_again(lease).await,
            Err(ApiError::None) => self.lose("it is gone"),
            Err(error) => self.carry_on(lease, &error),
        }
    }

    fn written(&mut self, lease: Lease) -> Duration {
        self.trouble = false;
        if self.drained {
            tracing::info!(lease = view::name(&lease), "the retired slot is drained");
            self.drained = false;
            self.adoption.send_replace(None);
            // There may be more.
            return Duration::ZERO;
        }
        self.lease = Some(lease);
        self.interval()
    }

    /// The operator or ourselves (a write whose answer was lost), or another worker.
    async fn look_again(&mut self, ours: Lease) -> Duration {
        let found = match self.api.get(view::name(&ours)).await {
            Ok(found) => found,
            Err(ApiError::None) => return self.lose("it is gone"),
            Err(error) => return self.carry_on(ours, &error),
        };
        if view::is_drained(&found) && view::holder(&found).is_empty() {
            return self.lose("it is drained");
        }
        match self.watcher.look_at_holder(&found, &self.me, Instant::now()) {
            Verdict::Mine | Verdict::Free => {}
            _ => return self.lose("another worker drains it"),
        }
        match self.write(found.clone()).await {
            Ok(lease) => self.written(lease),
            // Decided at the next turn.
            Err(error) => {
                self.carry_on(found, &error);
                AGAIN
            }
        }
    }

    /// The API server is away: the drain goes on, the broker is the arbiter.
    fn carry_on(&mut self, lease: Lease, error: &ApiError) -> Duration {
        if !std::mem::replace(&mut self.trouble, true) {
            tracing::warn!(%error, "cannot renew the Lease of an adopted slot: going on without");
        }
        self.lease = Some(lease);
        self.interval()
    }

    fn lose(&mut self, why: &'static str) -> Duration {
        tracing::info!(slot = ?self.adoption.borrow().as_ref().map(|it| it.slot), "an adopted slot is no longer ours: {why}");
        (self.drained, self.trouble) = (false, false);
        self.adoption.send_replace(None);
        jittered(LOOK)
    }

    /// Best effort: what is not given back expires. The next worker goes on where this one stopped.
    async fn release(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        self.adoption.send_replace(None);
        let lease = if self.drained { view::drained(lease) } else { view::released(lease) };
        let name = view::name(&lease).to_owned();
        if let Err(error) = self.api.replace(lease).await {
            tracing::warn!(%error, lease = name, "the adopted slot is not released: it expires");
        }
    }
}
