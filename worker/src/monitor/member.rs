//! One worker as the monitor sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use routemq_mqtt::{ConnectionState, Pulse, SessionStatus, Subscription};
use tokio::sync::watch;

use super::{LaneBeat, Monitor};
use crate::{
    metrics::Reading,
    worker::{Counters, Identity, Tables},
};

/// The life signs of one worker.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) identity: Arc<Identity>,
    pub(crate) status: watch::Receiver<SessionStatus>,
    pub(crate) pulse: Pulse,
    pub(crate) tables: watch::Receiver<Arc<Tables>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) lanes: Vec<LaneBeat>,
    pub(crate) receive_maximum: u16,
    /// It takes nothing more: it need not hold its filters, and its lanes need not answer.
    pub(crate) leaving: AtomicBool,
}

/// A worker's entry in the monitor.
#[derive(Debug)]
pub(crate) struct Membership {
    monitor: Monitor,
    member: Arc<Member>,
}

/// Something that should turn, and how long ago it last did.
pub(super) struct Turning {
    pub(super) what: String,
    pub(super) since: Duration,
}

impl Member {
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }

    /// Its session and its lanes; nothing of a worker that leaves.
    pub(super) fn turning(&self) -> Vec<Turning> {
        if self.is_leaving() {
            return Vec::new();
        }
        let session = ("the session".to_owned(), self.pulse.since_turn());
        let lanes = self.lanes.iter().enumerate();
        let lanes = lanes.map(|(index, lane)| (format!("lane {index}"), lane.since_turn()));
        let turning = std::iter::once(session).chain(lanes);
        turning
            .map(|(part, since)| Turning { what: format!("{part} of {}", self.identity), since })
            .collect()
    }

    pub(super) fn wanted(&self) -> Arc<[Subscription]> {
        self.tables.borrow().wanted()
    }

    /// What stays when the worker has ended.
    pub(super) fn add_lasting(&self, reading: &mut Reading) {
        let status = self.status.borrow();
        reading.totals += &self.counters.totals();
        reading.late_acks += status.late_acks;
        reading.reconnects += u64::from(status.epoch.saturating_sub(1));
    }

    /// What is so at this moment.
    pub(super) fn add_passing(&self, reading: &mut Reading) {
        let connected =
            matches!(self.status.borrow().connection, ConnectionState::Connected { .. });
        reading.connected += u64::from(connected);
        reading.inflight += self.pulse.unacknowledged();
        reading.window += u64::from(self.receive_maximum);
        reading.oldest = reading.oldest.max(self.pulse.oldest_unacknowledged().unwrap_or_default());
    }
}

impl Membership {
    pub(super) fn new(monitor: Monitor, member: Arc<Member>) -> Self {
        Self { monitor, member }
    }

    /// The worker takes nothing more: no probe asks anything of it from now on.
    pub(crate) fn leaving(&self) {
        self.member.leaving.store(true, Relaxed);
    }

    /// The worker has ended: what it did stays counted.
    pub(crate) fn leave(self) {
        self.monitor.leave(&self.member);
    }
}
