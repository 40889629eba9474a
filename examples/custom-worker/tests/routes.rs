//! The routes and the code together, without a broker.
#![expect(clippy::panic, reason = "a helper of tests, outside of a test function")]

use routemq_worker::{Engine, FinalOutcome, class, dispatch::Incoming};

async fn engine() -> Engine {
    let yaml = include_str!("../routes.yaml");
    let engines = Engine::from_yaml(yaml, &custom_worker::registry()).await;
    engines.unwrap_or_else(|error| panic!("{error}")).remove(0)
}

fn status(topic: &str, payload: &'static str) -> Incoming {
    Incoming::new(topic, payload).user_property("token", "let-me-in")
}

#[tokio::test]
async fn a_low_battery_raises_an_alarm() {
    let engine = engine().await;
    let report = engine.dispatch(status("devices/north/7/status", r#"{"battery": 80}"#)).await;
    assert!(report.is_done() && report.published.is_empty());
    let report = engine.dispatch(status("devices/north/7/status", r#"{"battery": 5}"#)).await;
    assert!(report.is_done());
    assert_eq!(report.published[0].topic, "alarms/north/7");
    assert_eq!(report.published[0].payload, "battery at 5 %, message 2");
}

#[tokio::test]
async fn messages_without_the_token_are_rejected() {
    let report = engine().await.dispatch(("devices/north/7/status", r#"{"battery": 5}"#)).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Rejected("NoToken")));
}

#[tokio::test]
async fn what_cannot_be_handled_is_dead_lettered_with_its_class() {
    let engine = engine().await;
    for (payload, class) in [
        (r#"{"battery": 101}"#, class::HANDLER),
        (r#"{"battery": "full"}"#, class::PAYLOAD_FORMAT),
        ("hello", class::PAYLOAD_FORMAT),
    ] {
        let report = engine.dispatch(status("devices/north/7/status", payload)).await;
        assert_eq!(report.outcome, Some(FinalOutcome::DeadLettered(class)), "{payload}");
        assert_eq!(report.published[0].topic, "dead/status");
        assert_eq!(report.published[0].payload, payload);
    }
}

#[tokio::test]
async fn a_number_that_is_none_finds_no_route() {
    let report = engine().await.dispatch(status("devices/north/seven/status", "{}")).await;
    assert_eq!(report.route, None);
}
