//! Watches a session: tells people what changed, and forgets earlier tables when their time is over.

use std::sync::Arc;

use routemq_mqtt::{ConnectionState, FilterState, SessionStatus, Subscription};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    record::Identity,
    tables::{Tables, subscriptions},
};

/// What is watched.
#[derive(Debug)]
pub(crate) struct Follow {
    pub(crate) identity: Arc<Identity>,
    pub(crate) status: watch::Receiver<SessionStatus>,
    pub(crate) tables: watch::Sender<Arc<Tables>>,
}

/// Runs until the session has ended.
pub(crate) async fn follow(follow: Follow) {
    let Follow { identity, mut status, tables } = follow;
    let mut swaps = tables.subscribe();
    let mut before = SessionStatus::default();
    loop {
        let now = status.borrow_and_update().clone();
        for notice in notices(&before, &now, &swaps.borrow_and_update()) {
            notice.log(&identity);
        }
        forget(&tables, &now);
        before = now;
        let ripe = tables.borrow().young_until();
        tokio::select! {
            changed = status.changed() => if changed.is_err() { return },
            _ = swaps.changed() => {}
            () = until(ripe) => {}
        }
    }
}

fn forget(tables: &watch::Sender<Arc<Tables>>, status: &SessionStatus) {
    tables.send_if_modified(|tables| match tables.aged(status, Instant::now()) {
        Some(aged) => {
            *tables = Arc::new(aged);
            true
        }
        None => false,
    });
}

/// A time that is over already is waited for in vain: then only a change of the status can help.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) if time > Instant::now() => sleep_until(time).await,
        _ => std::future::pending().await,
    }
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The broker accepted the connection.
    Connected { session_present: bool },
    /// The broker has no subscription identifiers, and filters overlap.
    NoIdentifiers,
    /// No connection; what failed and how to mend it.
    Waiting { reason: String },
    /// Another client has connected with this worker's client id.
    TakenOver,
    /// Every filter is granted.
    Subscribed { filters: usize },
    /// A filter is refused.
    Refused { filter: String, code: u8, reason: &'static str },
    /// A filter is granted with less than asked for.
    Lowered { filter: String, asked: u8, granted: u8 },
    /// The broker refuses the barrier.
    NoBarrier,
}

/// What changed between two states.
pub(crate) fn notices(before: &SessionStatus, now: &SessionStatus, tables: &Tables) -> Vec<Notice> {
    let table = tables.current.table();
    let wanted = subscriptions(table);
    let overlaps = table.filters.iter().any(|filter| filter.overlaps);
    let mut notices = Vec::new();
    if before.connection != now.connection || before.epoch != now.epoch {
        notices.extend(of_connection(&now.connection, overlaps));
    }
    notices.extend(wanted.iter().filter_map(|it| of_filter(it, before, now)));
    if !all_granted(&wanted, before) && all_granted(&wanted, now) {
        notices.push(Notice::Subscribed { filters: wanted.len() });
    }
    if now.no_barrier && !before.no_barrier {
        notices.push(Notice::NoBarrier);
    }
    notices
}

fn of_connection(connection: &ConnectionState, overlaps: bool) -> Vec<Notice> {
    match connection {
        ConnectionState::Connected { session_present, identifiers } => {
            let connected = Notice::Connected { session_present: *session_present };
            let missing = (overlaps && !identifiers).then_some(Notice::NoIdentifiers);
            std::iter::once(connected).chain(missing).collect()
        }
        ConnectionState::Waiting { taken_over: true, .. } => vec![Notice::TakenOver],
        ConnectionState::Waiting { reason, .. } => vec![Notice::Waiting { reason: reason.clone() }],
        ConnectionState::Connecting | ConnectionState::Stopped => Vec::new(),
    }
}

fn of_filter(wanted: &Subscription, before: &SessionStatus, now: &SessionStatus) -> Option<Notice> {
    let filter = wanted.filter.clone();
    let (old, new) = (before.filters.get(&filter), now.filters.get(&filter)?);
    match new {
        FilterState::Refused { code, reason } if old != Some(new) => {
            Some(Notice::Refused { filter, code: *code, reason })
        }
        FilterState::Granted { qos, .. } if *qos < wanted.qos && !is_granted(old) => {
            Some(Notice::Lowered { filter, asked: wanted.qos as u8, granted: *qos as u8 })
        }
        _ => None,
    }
}

fn is_granted(state: Option<&FilterState>) -> bool {
    matches!(state, Some(FilterState::Granted { .. }))
}

fn all_granted(wanted: &[Subscription], status: &SessionStatus) -> bool {
    wanted.iter().all(|it| is_granted(status.filters.get(&it.filter)))
}

impl Notice {
    fn log(&self, worker: &Identity) {
        match self {
            Self::Connected { session_present } => {
                tracing::info!(%worker, session_present, "connected to the broker");
            }
            Self::NoIdentifiers => tracing::warn!(
                %worker,
                "the broker has no subscription identifiers: messages that several filters cover are handled once for each"
            ),
            Self::Waiting { reason } => {
                tracing::warn!(%worker, reason, "no connection, trying again")
            }
            Self::TakenOver => tracing::error!(
                %worker,
                "another client took this worker's client id: give each process a slot of its own (--slot)"
            ),
            Self::Subscribed { filters } => tracing::info!(%worker, filters, "subscribed"),
            Self::Refused { filter, code, reason } => tracing::error!(
                %worker, filter, code, reason,
                "the broker refused the subscription: allow the filter in its access rules"
            ),
            Self::Lowered { filter, asked, granted } => tracing::warn!(
                %worker, filter, asked, granted,
                "the broker granted a lower QoS than asked for: messages may be lost at QoS 0"
            ),
            Self::NoBarrier => tracing::warn!(
                %worker,
                "the broker refuses the barrier message, two quiet seconds stand in: allow routemq/barrier/# in its access rules"
            ),
        }
    }
}
