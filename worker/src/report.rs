//! What this process tells the operator: one [`WorkerReport`], kept up to date by whoever knows a part of it.
//!
//! # Guarantees
//! - Watchers see a change only when the report differs from the one before.
//! - The text depends on the state alone: no times, no numbers of messages, no addresses. Two workers in the same state
//!   report the same words, so that a condition made from them does not flap.

mod degraded;
mod disconnected;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use routemq_crds::{
    report::{Degraded, FilterReport, WorkerReport},
    table::Table,
};
use routemq_mqtt::{ConnectionState, FilterState, SessionStatus};
use tokio::sync::watch;

use self::degraded::{database_away, first};
use crate::health::Causes;

pub use self::degraded::reason;

/// Assembles the report of this process. Cheap to clone; clones share it.
///
/// Made for a process that runs one worker of one `MqttRoute`, as a pod does. Where there are several, the
/// report is what holds for all of them: connected when each is, a filter with its worst answer.
#[derive(Clone, Debug, Default)]
pub struct Reporter {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    parts: Mutex<Parts>,
    report: watch::Sender<WorkerReport>,
}

/// What is known, by who knows it.
#[derive(Debug, Default)]
struct Parts {
    generation: Option<i64>,
    revision: Option<String>,
    missing: Vec<String>,
    refused_table: Option<String>,
    /// What messages are held for, by `MqttRoute`.
    causes: BTreeMap<u64, Causes>,
    /// What else is at less than promised, by reason.
    notes: BTreeMap<&'static str, String>,
    sessions: BTreeMap<u64, SessionPart>,
    /// The number given last.
    last: u64,
}

/// What one session adds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SessionPart {
    connected: bool,
    disconnected: Option<Degraded>,
    no_barrier: bool,
    filters: BTreeMap<String, FilterReport>,
}

impl Reporter {
    /// The report, now and at every change.
    pub fn watch(&self) -> watch::Receiver<WorkerReport> {
        self.shared.report.subscribe()
    }

    /// Which table the workers run.
    pub fn set_table(&self, table: &Table) {
        self.change(|parts| {
            parts.generation = table.generation;
            parts.revision.clone_from(&table.revision);
        });
    }

    /// What is waited for, as words: `Secret fleet-login`. Sorted and named once.
    pub fn set_missing(&self, missing: impl IntoIterator<Item = String>) {
        let mut missing: Vec<String> = missing.into_iter().collect();
        missing.sort();
        missing.dedup();
        self.change(|parts| parts.missing = missing);
    }

    /// Why an older table runs than the one that is there; `None`: it is the newest.
    pub fn set_refused_table(&self, why: Option<String>) {
        self.change(|parts| parts.refused_table = why);
    }

    /// That something works at less than promised, or (`None`) no longer does. `reason` is CamelCase and stable;
    /// `message` is one sentence without anything that varies.
    pub fn set_degraded(&self, reason: &'static str, message: Option<&str>) {
        self.change(|parts| match message {
            Some(message) => drop(parts.notes.insert(reason, message.to_owned())),
            None => drop(parts.notes.remove(reason)),
        });
    }

    /// That the database is waited for before the start, or no longer.
    pub(crate) fn set_database_awaited(&self, awaited: bool) {
        let (reason, message) = database_away();
        self.set_degraded(reason, awaited.then_some(message));
    }

    /// Follows a session until it has ended.
    pub(crate) fn follow_session(&self, mut status: watch::Receiver<SessionStatus>) {
        let (reporter, number) = (self.clone(), self.number());
        tokio::spawn(async move {
            loop {
                let part = SessionPart::of(&status.borrow_and_update());
                reporter.change(|parts| drop(parts.sessions.insert(number, part)));
                if status.changed().await.is_err() {
                    break;
                }
            }
            reporter.change(|parts| drop(parts.sessions.remove(&number)));
        });
    }

    /// Follows what messages are held for, until nobody can hold any.
    pub(crate) fn follow_health(&self, mut health: watch::Receiver<Causes>) {
        let (reporter, number) = (self.clone(), self.number());
        tokio::spawn(async move {
            loop {
                let causes = health.borrow_and_update().clone();
                reporter.change(|parts| drop(parts.causes.insert(number, causes)));
                if health.changed().await.is_err() {
                    break;
                }
            }
            reporter.change(|parts| drop(parts.causes.remove(&number)));
        });
    }

    /// Follows whether dead letters find somebody, until none can be written.
    pub(crate) fn follow_dead_letters(&self, mut unheard: watch::Receiver<bool>) {
        let reporter = self.clone();
        tokio::spawn(async move {
            let (reason, message) = degraded::unheard();
            loop {
                let now = *unheard.borrow_and_update();
                reporter.set_degraded(reason, now.then_some(message));
                if unheard.changed().await.is_err() {
                    break;
                }
            }
        });
    }

    fn number(&self) -> u64 {
        let mut parts = self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.last += 1;
        parts.last
    }

    fn change(&self, change: impl FnOnce(&mut Parts)) {
        let mut parts = self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut parts);
        let now = parts.assembled();
        // Under the lock, so that an older state never overwrites a newer one.
        self.shared.report.send_if_modified(|report| {
            let changed = *report != now;
            *report = now;
            changed
        });
    }
}

impl Parts {
    fn assembled(&self) -> WorkerReport {
        let sessions = || self.sessions.values();
        WorkerReport {
            generation: self.generation,
            revision: self.revision.clone(),
            connected: !self.sessions.is_empty() && sessions().all(|session| session.connected),
            disconnected: sessions().find_map(|session| session.disconnected.clone()),
            filters: self.filters(),
            missing: self.missing.clone(),
            degraded: self.degraded(),
            refused_table: self.refused_table.clone(),
            drained: false,
        }
    }

    /// Filters that every session has an answer for, with the worst of them.
    fn filters(&self) -> BTreeMap<String, FilterReport> {
        let mut sessions = self.sessions.values();
        let Some(first) = sessions.next() else { return BTreeMap::new() };
        let mut filters = first.filters.clone();
        for session in sessions {
            filters.retain(|filter, answer| match session.filters.get(filter) {
                Some(other) => {
                    answer.code = worse(answer.code, other.code);
                    true
                }
                None => false,
            });
        }
        filters
    }

    fn degraded(&self) -> Option<Degraded> {
        let no_barrier = self.sessions.values().any(|session| session.no_barrier);
        first(self.causes.values().flatten(), &self.notes, no_barrier)
    }
}

/// A refusal is worse than a grant, and a lower QoS worse than a higher one.
fn worse(one: u8, other: u8) -> u8 {
    const FIRST_REFUSAL: u8 = 0x80;
    if one.max(other) >= FIRST_REFUSAL { one.max(other) } else { one.min(other) }
}

impl SessionPart {
    fn of(status: &SessionStatus) -> Self {
        let answers = status.filters.iter();
        Self {
            connected: matches!(status.connection, ConnectionState::Connected { .. }),
            disconnected: disconnected::why(&status.connection),
            no_barrier: status.no_barrier,
            filters: answers.filter_map(|(filter, state)| answered(filter, state)).collect(),
        }
    }
}

/// What SUBACK said, by the filter without its share.
fn answered(filter: &str, state: &FilterState) -> Option<(String, FilterReport)> {
    let code = match state {
        FilterState::Granted { qos, .. } => *qos as u8,
        FilterState::Refused { code, .. } => *code,
        FilterState::Pending | FilterState::Leaving => return None,
    };
    Some((unshared(filter).to_owned(), FilterReport { code }))
}

/// MQTT 5, 4.8.2: `$share/<share name>/<filter>`.
fn unshared(filter: &str) -> &str {
    let shared = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    shared.map_or(filter, |(_, filter)| filter)
}

#[cfg(test)]
mod tests;
