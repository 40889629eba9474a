//! Watches a session: tells people what changed, and forgets earlier tables when their time is over.

use std::sync::Arc;

use routemq_mqtt::{ConnectionState, FilterState, SessionStatus, Subscription};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    record::Identity,
    tables::{Tables, with_states},
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
        tell(&identity, &before, &now, &swaps.borrow_and_update());
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

fn tell(worker: &Identity, before: &SessionStatus, now: &SessionStatus, tables: &Tables) {
    // A table that was exchanged is no news by itself, and there may be many filters.
    if before.epoch == now.epoch
        && before.connection == now.connection
        && Arc::ptr_eq(&before.filters, &now.filters)
    {
        return;
    }
    for notice in notices(before, now, &tables.wanted(), tables.overlaps()) {
        notice.log(worker);
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

/// Something that people should know. That the connection comes and goes is told by the session itself.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Notice {
    /// The broker has no subscription identifiers, and filters overlap.
    NoIdentifiers,
    /// Another client has connected with this worker's client id.
    TakenOver,
    /// Every filter is granted.
    Subscribed { filters: usize },
    /// A filter is refused.
    Refused { filter: String, code: u8, reason: &'static str },
    /// A filter is granted with less than asked for.
    Lowered { filter: String, asked: u8, granted: u8 },
}

/// What changed between two states.
fn notices(
    before: &SessionStatus,
    now: &SessionStatus,
    wanted: &[Subscription],
    overlaps: bool,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    if before.connection != now.connection || before.epoch != now.epoch {
        notices.extend(of_connection(&now.connection, overlaps));
    }
    let (old, new) = (with_states(wanted, before), with_states(wanted, now));
    notices.extend(old.zip(new).filter_map(|((it, old), (_, new))| of_filter(it, old, new?)));
    if !all_granted(wanted, before) && all_granted(wanted, now) {
        notices.push(Notice::Subscribed { filters: wanted.len() });
    }
    notices
}

fn of_connection(connection: &ConnectionState, overlaps: bool) -> Option<Notice> {
    match connection {
        ConnectionState::Connected { identifiers: false, .. } if overlaps => {
            Some(Notice::NoIdentifiers)
        }
        ConnectionState::Waiting { taken_over: true, .. } => Some(Notice::TakenOver),
        _ => None,
    }
}

fn of_filter(
    wanted: &Subscription,
    old: Option<&FilterState>,
    new: &FilterState,
) -> Option<Notice> {
    let filter = || wanted.filter.to_string();
    match new {
        FilterState::Refused { code, reason } if old != Some(new) => {
            Some(Notice::Refused { filter: filter(), code: *code, reason })
        }
        FilterState::Granted { qos, .. } if *qos < wanted.qos && !is_granted(old) => {
            Some(Notice::Lowered { filter: filter(), asked: wanted.qos as u8, granted: *qos as u8 })
        }
        _ => None,
    }
}

fn is_granted(state: Option<&FilterState>) -> bool {
    matches!(state, Some(FilterState::Granted { .. }))
}

fn all_granted(wanted: &[Subscription], status: &SessionStatus) -> bool {
    !wanted.is_empty() && with_states(wanted, status).all(|(_, state)| is_granted(state))
}

impl Notice {
    fn log(&self, worker: &Identity) {
        match self {
            Self::NoIdentifiers => tracing::warn!(
                %worker,
                "the broker has no subscription identifiers: a message that several filters cover is handled once for each"
            ),
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
                "the broker granted a lower QoS than asked for: messages may be lost on the way"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, ConnectionState, FilterState, Notice, SessionStatus, Subscription, notices};
    use routemq_mqtt::{QoS, Trouble};

    const GRANTED: FilterState = FilterState::Granted { qos: QoS::AtLeastOnce, settled: false };
    const SETTLED: FilterState = FilterState::Granted { qos: QoS::AtLeastOnce, settled: true };
    const LOWERED: FilterState = FilterState::Granted { qos: QoS::AtMostOnce, settled: false };
    const REFUSED: FilterState = FilterState::Refused { code: 0x87, reason: "not authorized" };

    fn status(identifiers: bool, filter: Option<FilterState>) -> SessionStatus {
        SessionStatus {
            connection: ConnectionState::Connected { session_present: false, identifiers },
            epoch: 1,
            filters: Arc::new(filter.into_iter().map(|state| ("a/+".into(), state)).collect()),
            ..SessionStatus::default()
        }
    }

    fn told(before: Option<FilterState>, now: Option<FilterState>) -> Vec<Notice> {
        let wanted = [Subscription { filter: "a/+".into(), qos: QoS::AtLeastOnce, identifier: 1 }];
        notices(&status(true, before), &status(true, now), &wanted, true)
    }

    #[test]
    fn each_change_of_a_filter_is_told_once() {
        let pending = Some(FilterState::Pending);
        let filter = "a/+".to_owned();
        let refused =
            Notice::Refused { filter: filter.clone(), code: 0x87, reason: "not authorized" };
        let lowered = Notice::Lowered { filter, asked: 1, granted: 0 };
        let subscribed = Notice::Subscribed { filters: 1 };
        let rows = [
            ("granted", pending.clone(), Some(GRANTED), vec![subscribed.clone()]),
            ("settled later", Some(GRANTED), Some(SETTLED), vec![]),
            ("lowered", pending.clone(), Some(LOWERED), vec![lowered, subscribed]),
            ("refused", pending.clone(), Some(REFUSED), vec![refused]),
            ("still refused", Some(REFUSED), Some(REFUSED), vec![]),
            ("unanswered", None, pending, vec![]),
        ];
        for (name, before, now, expected) in rows {
            assert_eq!(told(before, now), expected, "{name}");
        }
    }

    #[test]
    fn a_broker_without_identifiers_is_told_only_where_filters_overlap() {
        let (before, now) = (SessionStatus::default(), status(false, None));
        assert_eq!(notices(&before, &now, &[], true), [Notice::NoIdentifiers]);
        assert_eq!(notices(&before, &now, &[], false), []);
    }

    #[test]
    fn a_taken_client_id_is_told() {
        let reason = "session taken over".to_owned();
        let trouble = Trouble::TakenOver;
        let connection = ConnectionState::Waiting { reason, trouble, taken_over: true };
        let now = SessionStatus { connection, ..status(true, None) };
        assert_eq!(notices(&status(true, None), &now, &[], true), [Notice::TakenOver]);
    }
}
