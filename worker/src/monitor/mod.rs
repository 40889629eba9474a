//! What runs in this process, for whoever asks: `/metrics`, `/livez`, `/readyz`.
//!
//! # Flow
//! 1. Each `MqttRoute` says what it waits for; each worker enters itself with its life signs when it starts.
//! 2. Whoever asks reads them: nothing is pushed, and asking makes no worker wait.
//! 3. A worker that ends leaves its totals behind, so that no counter ever goes back.

mod beat;
mod member;
mod probes;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

pub(crate) use self::{
    beat::{Beat, LaneBeat},
    member::{Member, Membership},
};
use crate::metrics::{Histogram, Reading, encode};

/// Knows what runs. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Monitor {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    batch_rows: Arc<Histogram>,
}

#[derive(Debug, Default)]
struct State {
    /// By name: what a `MqttRoute` waits for; `None`: it runs.
    routes: BTreeMap<String, Option<String>>,
    members: Vec<Arc<Member>>,
    /// What workers that have ended leave behind.
    ended: Reading,
    phase: Phase,
}

/// Where the process stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// What is to run is not known yet.
    #[default]
    Starting,
    Running,
    Stopping,
}

impl Monitor {
    /// The `MqttRoute` does not run yet, for this reason (`waiting for the database`).
    pub fn waits(&self, route: &str, reason: impl Into<String>) {
        self.state().routes.insert(route.to_owned(), Some(reason.into()));
    }

    /// All workers of the `MqttRoute` that this process should run are started.
    pub fn runs(&self, route: &str) {
        self.state().routes.insert(route.to_owned(), None);
    }

    /// There are no other `MqttRoute`s than these.
    pub fn keep(&self, routes: &[String]) {
        self.state().routes.retain(|name, _| routes.contains(name));
    }

    /// Everything that is to run has been told ([`Self::waits`], [`Self::runs`]).
    pub fn started(&self) {
        let mut state = self.state();
        if state.phase == Phase::Starting {
            state.phase = Phase::Running;
        }
    }

    /// From now on nothing is ready.
    pub fn stopping(&self) {
        self.state().phase = Phase::Stopping;
    }

    /// Whether everything that should turn does.
    ///
    /// # Errors
    /// What does not, in a line.
    pub fn live(&self) -> Result<(), String> {
        let members = self.state().members.clone();
        probes::live(members.iter().flat_map(|member| member.turning()))
    }

    /// Whether every `MqttRoute` runs, with every filter of every worker granted.
    ///
    /// # Errors
    /// What is missing first, in a line.
    pub fn ready(&self) -> Result<(), String> {
        let state = self.state();
        let waiting = state.routes.iter();
        let waiting = waiting.filter_map(|(name, why)| Some((name.as_str(), why.as_deref()?)));
        probes::ready(state.phase, waiting, &state.members)
    }

    /// The metrics in OpenMetrics text.
    pub fn metrics(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &registry);
        out
    }

    /// Counts the rows of batches.
    pub(crate) fn batch_rows(&self) -> &Arc<Histogram> {
        &self.shared.batch_rows
    }

    /// A worker starts.
    pub(crate) fn enter(&self, member: Member) -> Membership {
        let member = Arc::new(member);
        self.state().members.push(Arc::clone(&member));
        Membership::new(self.clone(), member)
    }

    /// It has ended.
    fn leave(&self, member: &Arc<Member>) {
        let mut state = self.state();
        let before = state.members.len();
        state.members.retain(|other| !Arc::ptr_eq(other, member));
        if state.members.len() < before {
            member.add_lasting(&mut state.ended);
        }
    }

    fn reading(&self) -> Reading {
        let state = self.state();
        let mut reading = state.ended.clone();
        for member in &state.members {
            member.add_lasting(&mut reading);
            member.add_passing(&mut reading);
        }
        reading.batch_rows = self.shared.batch_rows.distribution();
        reading
    }

    /// Held only to read or to write a few fields.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Monitor {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        encode(&self.reading(), &mut encoder)
    }
}
