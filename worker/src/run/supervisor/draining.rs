//! Sessions that no worker of this route will resume: drained, and ended.

use std::time::Duration;

use routemq_crds::v1alpha1::SessionKind;
use routemq_mqtt::ConnectionState;
use tokio::time::{Instant, timeout_at};

use super::{Before, Supervisor};
use crate::{
    run::{drain::Outcome, plan::Plan},
    slot::Adoption,
    worker::{Purpose, RunningWorker},
};

/// How long a broker that is away may keep its sessions from being drained: its URL may have changed because of that.
const AWAY: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Workers whose slot is no more drain what the broker holds for them, and end their session.
    pub(super) fn retire_beyond(&mut self, plan: &Plan) {
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
    pub(super) async fn drain_gone(&mut self) {
        for slot in self.before.gone.clone() {
            self.drain(slot, self.before.held.clone()).await;
        }
        if self.settings.lease.is_none() {
            self.before = Before::default();
        }
    }

    /// Drains and ends every session, within the drain time; a broker that is away gets little of it.
    pub(super) async fn leave(&mut self) {
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
    pub(super) async fn adopt(&mut self, adoption: Option<Adoption>) {
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

    pub(super) async fn after_drain(&mut self, slot: u32, outcome: Outcome) {
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
}
