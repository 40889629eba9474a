//! Workers of slots that this process has.

use std::sync::Arc;

use routemq_mqtt::{Gate, SessionConfig, SessionStatus};
use tokio::sync::watch;

use super::Supervisor;
use crate::{
    engine::Engine,
    run::{RunError, drain},
    slot::{Leased, Losses, Slots as _},
    worker::{Purpose, RunningWorker, WorkerOptions, filters},
};

impl Supervisor {
    pub(super) async fn fill_slots(&mut self) {
        while let Some(slot) = self.slots.claim().await {
            self.start(slot).await;
        }
    }

    pub(super) async fn start(&mut self, slot: u32) {
        // A slot that is wanted again takes its session as it is.
        self.summaries.extend(self.drains.stop(slot, self.settings.drain).await);
        let held = self.settings.lease.as_ref().map(|lease| lease.held_filters(slot));
        let mut held = held.unwrap_or_default();
        held.extend(self.before.held.iter().cloned());
        self.record(slot, &self.engine).await;
        if let Some(worker) = self.worker(slot, held, Purpose::Serve).await {
            self.settings.report.follow_session(worker.status());
            if let Some(lease) = self.settings.lease.clone() {
                tokio::spawn(record_filters(lease, slot, worker.status()));
            }
            self.workers.push(worker);
        }
    }

    /// Before it asks for them, the Lease says which filters a session may hold.
    pub(super) async fn record(&self, slot: u32, engine: &Engine) {
        if let Some(lease) = &self.settings.lease {
            lease.will_hold(slot, filters(engine.table())).await;
        }
    }

    pub(super) async fn worker(
        &self,
        slot: u32,
        held: Vec<String>,
        purpose: Purpose,
    ) -> Option<RunningWorker> {
        let session = match self.session(slot, purpose) {
            Ok(session) => session,
            Err(error) => {
                tracing::error!(route = %self.plan.name, slot, %error, "no worker for this slot");
                return None;
            }
        };
        let options = WorkerOptions {
            engine: Engine::for_one_more(&self.engine),
            session,
            slot,
            monitor: self.settings.monitor.clone(),
            observer: self.settings.observer.clone(),
            transition: self.plan.transition,
            older_tables: self.plan.older_tables,
            held,
            before: self.before.engine.as_ref().map(Engine::for_one_more),
            purpose,
        };
        Some(RunningWorker::start(options).await)
    }

    fn session(&self, slot: u32, purpose: Purpose) -> Result<SessionConfig, RunError> {
        let session = self.plan.session(&self.settings.client_id, slot)?;
        let receive_maximum = match purpose {
            Purpose::Serve => session.receive_maximum,
            Purpose::Drain => drain::window(session.receive_maximum),
        };
        Ok(SessionConfig { before_reconnect: self.gate(slot), receive_maximum, ..session })
    }

    /// Whoever was thrown out looks at the Lease before it connects again.
    fn gate(&self, slot: u32) -> Option<Gate> {
        let lease = self.settings.lease.clone()?;
        let losses = Arc::new(Losses::default());
        Some(Gate::new(move |loss| {
            let (lease, losses) = (lease.clone(), Arc::clone(&losses));
            async move { lease.may_return(slot, loss, &losses).await }
        }))
    }
}

/// Until the session has ended: then what it held stays recorded.
async fn record_filters(lease: Leased, slot: u32, mut status: watch::Receiver<SessionStatus>) {
    loop {
        let filters = status.borrow_and_update().filters.keys().map(ToString::to_string).collect();
        lease.holds(slot, filters);
        if status.changed().await.is_err() {
            return;
        }
    }
}
