//! Slots between pods: each is a Lease, its name gives the MQTT client id (design, 6.4).
//!
//! # Guarantees
//! - A worker holds at most one slot. It is claimed by compare-and-swap, and only where nobody holds it or its holder let
//!   it stand still for its whole duration on *our* monotonic clock.
//! - A container that restarts takes up the slot that its pod holds, at once.
//! - The API server being away never stops messages: a slot is lost only by an answer that says so. The broker is the arbiter, the Lease
//!   the address book: whoever connects with a client id has it, and whoever is thrown out looks at the Lease *before* it connects again.
//!   So two workers that both believe in a slot end within one connection each, and never take turns.
//! - A slot that retires is not worked on: a worker adopts it, drains its session, and says so on the Lease. A worker adopts one at a
//!   time; whoever dies over it is followed by the next.
//! - A clean stop gives the slot back after the last acknowledgement.

mod adopter;
mod api;
mod join;
mod keeper;
#[cfg(test)]
mod model;
mod names;
mod view;

use std::sync::Arc;

use routemq_crds::report::WorkerReport;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use self::{adopter::Adopter, keeper::Keeper, view::Watcher};
pub use self::{
    api::{ApiError, KubeLeases, LeaseApi},
    join::{JoinError, join},
    names::Names,
};
use super::{
    Leased,
    leased::{Ends, leased},
};

/// Begins to look for a slot, as the pod called `me`, and tells `report` through its Lease.
pub fn keep(
    api: Arc<dyn LeaseApi>,
    names: Names,
    me: String,
    report: watch::Receiver<WorkerReport>,
) -> Leased {
    kept(api, names, me, report).0
}

/// The same, with the tasks.
fn kept(
    api: Arc<dyn LeaseApi>,
    names: Names,
    me: String,
    report: watch::Receiver<WorkerReport>,
) -> (Leased, [JoinHandle<()>; 2]) {
    let (leased, ends) = leased();
    let Ends { slot, keeper: commands, adoption, adopter, willing, record, abandoned } = ends;
    let (retires, retiring) = mpsc::unbounded_channel();
    let adopter = Adopter {
        api: Arc::clone(&api),
        names: names.of_anybody(),
        me: me.clone(),
        adoption,
        commands: adopter,
        willing,
        retiring,
        watcher: Watcher::default(),
        lease: None,
        drained: false,
        trouble: false,
    };
    let keeper = Keeper {
        api,
        names,
        me,
        report,
        slot,
        recorded: record.subscribe(),
        record,
        commands,
        retires,
        abandoned,
        gone_since: None,
        watcher: Watcher::default(),
        lease: None,
        unsettled: None,
        trouble: None,
    };
    (leased, [tokio::spawn(keeper.run()), tokio::spawn(adopter.run())])
}
