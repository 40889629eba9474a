//! The rules of `/livez` and `/readyz`.

use std::{sync::Arc, time::Duration};

use routemq_mqtt::{ConnectionState, FilterState, SessionStatus, Subscription};

use super::{
    Phase,
    member::{Member, Turning},
};

/// What turns at least this often is alive. Everything that may take longer (a database, a broker, a handler) is waited
/// for without keeping a task from turning.
const SILENCE: Duration = Duration::from_mins(1);

/// Fails with the part that has been silent for longest.
pub(super) fn live(parts: impl Iterator<Item = Turning>) -> Result<(), String> {
    let silent = parts.filter(|part| part.since > SILENCE).max_by_key(|part| part.since);
    match silent {
        None => Ok(()),
        Some(Turning { what, since }) => Err(format!(
            "{what} has not turned for {} s: does custom code block its thread?",
            since.as_secs()
        )),
    }
}

/// Fails with the first reason, in the order in which things happen.
pub(super) fn ready<'a>(
    phase: Phase,
    mut waiting: impl Iterator<Item = (&'a str, &'a str)>,
    members: &[Arc<Member>],
) -> Result<(), String> {
    if phase == Phase::Stopping {
        return Err("stopping: nothing more is taken, what runs is finished".to_owned());
    }
    if let Some((route, reason)) = waiting.next() {
        return Err(format!("{route}: {reason}"));
    }
    if phase == Phase::Starting {
        return Err("starting: nothing is loaded yet".to_owned());
    }
    let staying = members.iter().filter(|member| !member.is_leaving());
    let unready = staying.filter_map(|member| {
        let why = unsubscribed(&member.status.borrow(), &member.wanted())?;
        Some(format!("{}: {why}", member.identity))
    });
    unready.take(1).next().map_or(Ok(()), Err)
}

/// Why not every wanted filter is granted.
fn unsubscribed(status: &SessionStatus, wanted: &[Subscription]) -> Option<String> {
    match &status.connection {
        ConnectionState::Connected { .. } => {}
        ConnectionState::Waiting { reason, .. } => return Some(format!("not connected: {reason}")),
        _ => return Some("not connected yet".to_owned()),
    }
    wanted.iter().find_map(|it| ungranted(it, status.filters.get(&*it.filter)))
}

fn ungranted(wanted: &Subscription, state: Option<&FilterState>) -> Option<String> {
    let Subscription { filter, qos: asked, .. } = wanted;
    match state {
        Some(FilterState::Granted { qos, .. }) if qos < asked => Some(format!(
            "the broker granted QoS {} instead of {} for {filter}: messages may be lost on the way",
            *qos as u8, *asked as u8
        )),
        Some(FilterState::Granted { .. }) => None,
        Some(FilterState::Refused { code, reason }) => Some(format!(
            "the broker refused the subscription to {filter}: {reason} (0x{code:02x})"
        )),
        _ => Some(format!("the broker has not answered the subscription to {filter} yet")),
    }
}

#[cfg(test)]
mod tests {
    use routemq_mqtt::{QoS, Trouble};

    use super::*;

    fn status(connection: ConnectionState, filter: Option<FilterState>) -> SessionStatus {
        let filters = filter.into_iter().map(|state| ("a/+".into(), state)).collect();
        let filters = Arc::new(filters);
        SessionStatus { connection, filters, ..SessionStatus::default() }
    }

    #[test]
    fn a_worker_is_ready_when_it_is_connected_and_every_filter_is_granted() {
        let wanted = [Subscription { filter: "a/+".into(), qos: QoS::AtLeastOnce, identifier: 1 }];
        let connected = || ConnectionState::Connected { session_present: true, identifiers: true };
        let away = ConnectionState::Waiting {
            reason: "no route to host".to_owned(),
            trouble: Trouble::Away,
            taken_over: false,
        };
        let granted = |settled| FilterState::Granted { qos: QoS::AtLeastOnce, settled };
        let lowered = FilterState::Granted { qos: QoS::AtMostOnce, settled: true };
        let refused = FilterState::Refused { code: 0x87, reason: "not authorized" };
        let rows = [
            ("granted", status(connected(), Some(granted(true))), None),
            ("granted, before its barrier", status(connected(), Some(granted(false))), None),
            (
                "lowered",
                status(connected(), Some(lowered)),
                Some("granted QoS 0 instead of 1 for a/+"),
            ),
            ("not asked yet", status(connected(), None), Some("has not answered")),
            (
                "not answered",
                status(connected(), Some(FilterState::Pending)),
                Some("has not answered"),
            ),
            (
                "refused",
                status(connected(), Some(refused)),
                Some("refused the subscription to a/+: not authorized (0x87)"),
            ),
            ("away", status(away, Some(granted(true))), Some("not connected: no route to host")),
            ("at the start", status(ConnectionState::Connecting, None), Some("not connected yet")),
        ];
        for (name, status, words) in rows {
            let why = unsubscribed(&status, &wanted);
            match words {
                None => assert_eq!(why, None, "{name}"),
                Some(words) => {
                    assert!(why.as_ref().is_some_and(|it| it.contains(words)), "{name}: {why:?}");
                }
            }
        }
    }

    #[test]
    fn a_stop_comes_before_what_is_waited_for_and_that_before_the_start() {
        let waiting = || [("fleet.devices", "waiting for Secret login")].into_iter();
        let why = |phase| ready(phase, waiting(), &[]).unwrap_err();
        assert!(why(Phase::Stopping).starts_with("stopping"));
        assert_eq!(why(Phase::Running), "fleet.devices: waiting for Secret login");
        assert_eq!(why(Phase::Starting), why(Phase::Running));
        let nothing = |phase| ready(phase, std::iter::empty(), &[]);
        assert!(nothing(Phase::Starting).unwrap_err().starts_with("starting"));
        assert_eq!(nothing(Phase::Running), Ok(()));
    }

    #[test]
    fn a_part_that_is_silent_for_more_than_a_minute_is_named() {
        let part = |what: &str, since| Turning {
            what: what.to_owned(),
            since: Duration::from_secs(since),
        };
        assert_eq!(live([part("a", 60)].into_iter()), Ok(()));
        let error =
            live([part("a", 61), part("lane 1 of fleet.devices-0", 75)].into_iter()).unwrap_err();
        assert!(error.starts_with("lane 1 of fleet.devices-0 has not turned for 75 s"), "{error}");
    }
}
