//! What works at less than promised, and since when: what holds messages back.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

use crate::outcome::{Failure, FailureKind, Reason};

/// Knows what messages are held for. Cheap to clone; clones share it.
///
/// Logged once when a class of failure begins to hold messages, and once when it ends, never per message.
#[derive(Clone, Debug)]
pub struct Health {
    causes: Arc<watch::Sender<Causes>>,
    unheard: Arc<watch::Sender<bool>>,
}

/// What messages are held for, by class; empty: everything works.
pub type Causes = BTreeMap<Reason, Cause>;

/// Why messages are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// [`FailureKind::Unavailable`] or [`FailureKind::Systemic`].
    pub kind: FailureKind,
    /// In words; the first message's failure.
    pub message: String,
    /// How many messages wait for it.
    pub held: usize,
}

/// One message that is held. Dropping it releases it.
#[derive(Debug)]
pub(crate) struct Hold {
    class: Reason,
    health: Health,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            causes: Arc::new(watch::Sender::new(Causes::new())),
            unheard: Arc::new(watch::Sender::new(false)),
        }
    }
}

impl Health {
    /// What messages are held for, now and at every change.
    pub fn watch(&self) -> watch::Receiver<Causes> {
        self.causes.subscribe()
    }

    /// Whether the broker had nobody to give the last dead letter to, now and at every change.
    pub fn watch_unheard(&self) -> watch::Receiver<bool> {
        self.unheard.subscribe()
    }

    /// The broker has taken a dead letter, and (`heard`) had somebody to keep it for.
    pub(crate) fn dead_letter(&self, heard: bool) {
        let changed =
            self.unheard.send_if_modified(|unheard| std::mem::replace(unheard, !heard) == heard);
        if changed && !heard {
            tracing::warn!(
                "nobody subscribes to the dead letter topic: the broker keeps no dead letter; routemq dlq ls begins to"
            );
        }
    }

    pub(crate) fn hold(&self, failure: &Failure) -> Hold {
        self.causes.send_modify(|causes| {
            let cause = causes.entry(failure.class).or_insert_with(|| begin(failure));
            cause.held += 1;
        });
        Hold { class: failure.class, health: self.clone() }
    }
}

impl Hold {
    pub(crate) fn class(&self) -> Reason {
        self.class
    }
}

fn begin(failure: &Failure) -> Cause {
    let message = failure.describe(512);
    let class = failure.class;
    if failure.kind == FailureKind::Systemic {
        tracing::error!(class, cause = message, "messages are held until this is mended");
    } else {
        tracing::warn!(class, cause = message, "messages are held until it is back");
    }
    Cause { kind: failure.kind, message, held: 0 }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.health.causes.send_modify(|causes| {
            let Some(cause) = causes.get_mut(self.class) else { return };
            cause.held -= 1;
            if cause.held == 0 {
                causes.remove(self.class);
                tracing::info!(class = self.class, "messages are no longer held");
            }
        });
    }
}
