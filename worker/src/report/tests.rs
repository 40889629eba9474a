use std::{sync::Arc, time::Duration};

use routemq_crds::report::FilterReport;
use routemq_mqtt::{ConnectionState, FilterState, QoS, SessionStatus, Trouble};
use tokio::{sync::watch, time::timeout};

use super::{Reporter, WorkerReport, reason};
use crate::{
    health::Health,
    outcome::{Failure, class},
};

const GRANTED: FilterState = FilterState::Granted { qos: QoS::AtLeastOnce, settled: true };
const REFUSED: FilterState = FilterState::Refused { code: 0x87, reason: "not authorized" };

fn connected(filters: &[(&str, FilterState)]) -> SessionStatus {
    let filters = filters.iter().map(|(filter, state)| (Arc::from(*filter), state.clone()));
    SessionStatus {
        connection: ConnectionState::Connected { session_present: true, identifiers: true },
        filters: Arc::new(filters.collect()),
        ..SessionStatus::default()
    }
}

async fn until(reporter: &Reporter, wanted: impl Fn(&WorkerReport) -> bool) -> WorkerReport {
    let mut reports = reporter.watch();
    let report = timeout(Duration::from_secs(5), reports.wait_for(|report| wanted(report))).await;
    report.expect("the report becomes what is wanted").expect("the reporter lives").clone()
}

fn codes(report: &WorkerReport) -> Vec<(&str, u8)> {
    report.filters.iter().map(|(filter, FilterReport { code })| (filter.as_str(), *code)).collect()
}

#[tokio::test]
async fn filters_are_named_without_their_share_and_only_once_answered() {
    let reporter = Reporter::default();
    let (_status, session) = watch::channel(connected(&[
        ("$share/fleet.devices/d/+", GRANTED),
        ("plain/#", REFUSED),
        ("$share/fleet.devices/new", FilterState::Pending),
        ("$share/fleet.devices/gone", FilterState::Leaving),
    ]));
    reporter.follow_session(session);
    let report = until(&reporter, |report| report.connected).await;
    assert_eq!(codes(&report), [("d/+", 1), ("plain/#", 0x87)]);
}

#[tokio::test]
async fn a_session_that_has_ended_is_no_longer_reported() {
    let reporter = Reporter::default();
    let (status, session) = watch::channel(connected(&[("a", GRANTED)]));
    reporter.follow_session(session);
    until(&reporter, |report| report.connected).await;
    drop(status);
    let report = until(&reporter, |report| !report.connected).await;
    assert_eq!(report, WorkerReport::default());
}

#[tokio::test]
async fn of_several_sessions_the_worst_answer_counts() {
    let reporter = Reporter::default();
    let (_one, first) =
        watch::channel(connected(&[("a", GRANTED), ("b", GRANTED), ("c", GRANTED)]));
    let (_other, second) = watch::channel(connected(&[("a", GRANTED), ("b", REFUSED)]));
    reporter.follow_session(first);
    until(&reporter, |report| report.filters.len() == 3).await;
    reporter.follow_session(second);
    let report = until(&reporter, |report| report.filters.len() == 2).await;
    assert_eq!(codes(&report), [("a", 1), ("b", 0x87)]);
}

#[tokio::test]
async fn a_session_that_is_not_connected_is_said_so() {
    let reporter = Reporter::default();
    let (status, session) = watch::channel(connected(&[("a", GRANTED)]));
    reporter.follow_session(session);
    until(&reporter, |report| report.connected).await;
    status.send_modify(|status| {
        let reason = "the broker closed the connection from 10.0.0.7".to_owned();
        status.connection =
            ConnectionState::Waiting { reason, trouble: Trouble::Away, taken_over: false };
        Arc::make_mut(&mut status.filters).insert("a".into(), FilterState::Pending);
    });
    let report = until(&reporter, |report| !report.connected).await;
    assert_eq!(codes(&report), []);
    let why = report.disconnected.unwrap();
    assert_eq!(why.reason, reason::BROKER_UNREACHABLE);
    assert!(!why.message.contains("10.0.0.7"), "{}", why.message);
}

#[tokio::test]
async fn what_keeps_a_session_from_its_broker_is_a_stable_reason_until_it_is_connected() {
    let reporter = Reporter::default();
    let (status, session) = watch::channel(SessionStatus::default());
    reporter.follow_session(session);
    for (trouble, wanted) in [
        (Trouble::TlsExpired, reason::TLS_EXPIRED),
        (Trouble::BadCredentials, reason::BAD_CREDENTIALS),
        (Trouble::NotAuthorized, reason::NOT_AUTHORIZED),
        (Trouble::Misconfigured, reason::CONNECTION_MISCONFIGURED),
    ] {
        let reason = String::new();
        status.send_modify(|status| {
            status.connection = ConnectionState::Waiting { reason, trouble, taken_over: false };
        });
        let said = |report: &WorkerReport| {
            report.disconnected.as_ref().is_some_and(|why| why.reason == wanted)
        };
        until(&reporter, said).await;
    }
    status.send_modify(|status| *status = connected(&[]));
    until(&reporter, |report| report.connected && report.disconnected.is_none()).await;
}

#[tokio::test]
async fn watchers_are_woken_only_by_a_change() {
    let reporter = Reporter::default();
    let mut reports = reporter.watch();
    reports.mark_unchanged();
    reporter.set_refused_table(None);
    reporter.set_missing([]);
    assert!(!reports.has_changed().unwrap(), "nothing changed");
    reporter.set_missing(["Secret b".to_owned(), "Secret a".to_owned(), "Secret b".to_owned()]);
    assert!(reports.has_changed().unwrap());
    assert_eq!(reports.borrow_and_update().missing, ["Secret a", "Secret b"]);
    reporter.set_missing(["Secret b".to_owned(), "Secret a".to_owned()]);
    assert!(!reports.has_changed().unwrap(), "the same in another order");
}

#[tokio::test]
async fn what_messages_are_held_for_is_reported_in_words_that_do_not_vary() {
    let (reporter, health) = (Reporter::default(), Health::default());
    reporter.follow_health(health.watch());
    let away = Failure::unavailable(class::DATABASE, "no answer from 10.0.0.7 after 1.3 s");
    let held = health.hold(&away);
    let report = until(&reporter, |report| report.degraded.is_some()).await;
    let degraded = report.degraded.unwrap();
    assert_eq!(degraded.reason, reason::DATABASE_AWAY);
    assert!(!degraded.message.contains("10.0.0.7"), "{}", degraded.message);
    let mut reports = reporter.watch();
    reports.mark_unchanged();
    let more = health.hold(&away);
    tokio::task::yield_now().await;
    assert!(!reports.has_changed().unwrap(), "how many are held is nobody's business");
    drop((held, more));
    until(&reporter, |report| report.degraded.is_none()).await;
}

#[tokio::test]
async fn what_a_human_must_mend_comes_before_what_is_merely_away() {
    let (reporter, health) = (Reporter::default(), Health::default());
    reporter.follow_health(health.watch());
    reporter.set_degraded(reason::NO_BARRIER, Some("it takes longer"));
    let away = health.hold(&Failure::unavailable(class::BROKER, "away"));
    let refused = health.hold(&Failure::systemic(class::DATABASE_REFUSED, "no such table"));
    let named = |report: &WorkerReport, name| {
        report.degraded.as_ref().is_some_and(|degraded| degraded.reason == name)
    };
    until(&reporter, |report| named(report, reason::DATABASE_REFUSED)).await;
    drop(refused);
    until(&reporter, |report| named(report, reason::BROKER_AWAY)).await;
    drop(away);
    until(&reporter, |report| named(report, reason::NO_BARRIER)).await;
    reporter.set_degraded(reason::NO_BARRIER, None);
    until(&reporter, |report| report.degraded.is_none()).await;
}

#[tokio::test]
async fn dead_letters_that_nobody_hears_are_reported_until_one_is_heard() {
    let (reporter, health) = (Reporter::default(), Health::default());
    reporter.follow_dead_letters(health.watch_unheard());
    for (heard, wanted) in [(false, Some(reason::DEAD_LETTER_UNROUTABLE)), (true, None)] {
        health.dead_letter(heard);
        let said = |report: &WorkerReport| report.degraded.as_ref().map(|it| it.reason.clone());
        until(&reporter, |report| said(report).as_deref() == wanted).await;
    }
}
