use std::{sync::Arc, time::Duration};

use routemq_crds::{
    table::{KeySource, Middleware, SchemaSource},
    v1alpha1::{DedupStore, KeyRef, LogLevel, RateLimitAction, RateLimitScope},
};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    Engine, Failure, FinalOutcome, Message, Next, Outcome, Registry, Secrets, class,
    dispatch::Incoming,
    middleware::from_fn,
    testing::{Bed, around, at, bed, custom},
};

fn keys() -> KeyRef {
    KeyRef { name: "device-keys".to_owned(), key: "keys".to_owned() }
}

fn guarded(source: KeySource) -> Bed {
    let middleware = Middleware::ApiKey { keys: keys(), source };
    let secrets = Secrets::default().with_value("device-keys", "keys", " first \r\nsecond\n\n");
    Bed { secrets, ..bed("t").middleware(middleware).publish("out", "payload") }
}

#[tokio::test]
async fn an_api_key_lets_pass_and_is_gone_afterwards() {
    let field = KeySource::Field(vec!["auth".to_owned(), "api_key".to_owned()]);
    let (engine, _) = guarded(field).engine().await;
    let rejected = Some(FinalOutcome::Rejected(class::UNAUTHORIZED));
    let table = [
        (
            "the first key",
            r#"{"auth": {"api_key": "first"}, "n": 1}"#,
            Some(r#"{"auth":{},"n":1}"#),
        ),
        (
            "the second key",
            r#"{"auth": {"api_key": "second", "x": 2}}"#,
            Some(r#"{"auth":{"x":2}}"#),
        ),
        ("an unknown key", r#"{"auth": {"api_key": "third"}}"#, None),
        ("the start of a key", r#"{"auth": {"api_key": "firs"}}"#, None),
        ("an empty key", r#"{"auth": {"api_key": ""}}"#, None),
        ("no key", r#"{"auth": {}}"#, None),
        ("a number", r#"{"auth": {"api_key": 1}}"#, None),
        ("no map", "first", None),
        ("a payload that cannot be read", r#"{"a": 1, "a": 2}"#, None),
        ("nothing", "", None),
    ];
    for (name, payload, passes) in table {
        let report = engine.dispatch(("t", payload)).await;
        match passes {
            Some(rest) => assert_eq!(report.published[0].payload, rest.as_bytes(), "{name}"),
            None => assert_eq!(report.outcome, rejected, "{name}"),
        }
    }
}

#[tokio::test]
async fn a_key_in_a_user_property_is_gone_afterwards() {
    let bed = guarded(KeySource::UserProperty("api-key".to_owned()));
    let (engine, _) = bed.publish("properties", "message.properties").engine().await;
    let message = |key: &str| {
        Incoming::new("t", "x").user_property("api-key", key).user_property("other", "1")
    };
    let report = engine.dispatch(message("second")).await;
    assert_eq!(report.published[1].payload, br#"{"other":"1"}"#[..]);
    let rejected = Some(FinalOutcome::Rejected(class::UNAUTHORIZED));
    assert_eq!(engine.dispatch(message("nope")).await.outcome, rejected);
    assert_eq!(engine.dispatch(("t", "x")).await.outcome, rejected);
}

fn limited(action: RateLimitAction) -> Bed {
    bed("devices/{id}")
        .middleware(Middleware::RateLimit {
            limit: 2,
            per: Duration::from_secs(10),
            burst: 2,
            key: Some(at("params.id")),
            action,
            scope: RateLimitScope::Worker,
        })
        .dead_letter("dead")
        .publish("out", "'x'")
}

#[tokio::test(start_paused = true)]
async fn beyond_the_rate_limit_a_message_ends_as_the_action_says() {
    let table = [
        (RateLimitAction::Drop, FinalOutcome::Dropped(class::RATE_LIMITED)),
        (RateLimitAction::Reject, FinalOutcome::Rejected(class::RATE_LIMITED)),
        (RateLimitAction::DeadLetter, FinalOutcome::DeadLettered(class::RATE_LIMITED)),
    ];
    for (action, wanted) in table {
        let (engine, _) = limited(action).engine().await;
        assert!(engine.dispatch(("devices/1", "")).await.is_done());
        assert!(engine.dispatch(("devices/1", "")).await.is_done());
        assert_eq!(engine.dispatch(("devices/1", "")).await.outcome, Some(wanted));
        assert!(engine.dispatch(("devices/2", "")).await.is_done(), "another key");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(engine.dispatch(("devices/1", "")).await.is_done(), "one token is back");
        assert_eq!(engine.dispatch(("devices/1", "")).await.outcome, Some(wanted));
    }
}

#[tokio::test(start_paused = true)]
async fn each_worker_of_a_process_has_the_whole_limit_of_its_own() {
    let (first, _) = limited(RateLimitAction::Drop).engine().await;
    let second = first.for_another_worker();
    for engine in [first, second] {
        assert!(engine.dispatch(("devices/1", "")).await.is_done());
        assert!(engine.dispatch(("devices/1", "")).await.is_done());
        let third = engine.dispatch(("devices/1", "")).await.outcome;
        assert_eq!(third, Some(FinalOutcome::Dropped(class::RATE_LIMITED)));
    }
}

/// Two routes of a group with this limit.
async fn grouped(limit: &str) -> Engine {
    let yaml = format!(
        "apiVersion: routemq.io/v1alpha1\nkind: MqttRoute\nmetadata: {{name: t, namespace: fleet}}\nspec:\n  \
         groups: [{{name: g, middleware: [{{rateLimit: {{limit: 1, perSeconds: 60, action: Drop{limit}}}}}]}}]\n  \
         routes:\n  - {{name: a, group: g, topic: 'a/{{id}}', handlers: [{{log: {{}}}}]}}\n  \
         - {{name: b, group: g, topic: 'b/{{id}}', handlers: [{{log: {{}}}}]}}\n"
    );
    Engine::from_yaml(&yaml, &Registry::new()).await.unwrap().swap_remove(0)
}

#[tokio::test(start_paused = true)]
async fn routes_of_a_group_share_a_limit_by_topic_and_count_apart_what_a_key_gives() {
    for (limit, chains) in [("", 1), (", key: params.id", 2)] {
        let engine = grouped(limit).await;
        assert_eq!(engine.inner.chains.len(), chains, "{limit:?}");
        for (topic, passes) in [("a/1", true), ("b/1", true), ("a/1", false), ("b/1", false)] {
            assert_eq!(engine.dispatch((topic, "")).await.is_done(), passes, "{limit:?} {topic}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_message_waits_its_turn() {
    let (engine, _) = limited(RateLimitAction::Delay).engine().await;
    let start = Instant::now();
    for wanted in [0, 0, 5, 10] {
        assert!(engine.dispatch(("devices/1", "")).await.is_done());
        assert_eq!(start.elapsed().as_secs(), wanted);
    }
}

#[tokio::test]
async fn filter_drops_what_is_false_and_fails_on_what_is_missing() {
    let filter = Middleware::Filter(at("payload.n > 1"));
    let (engine, _) = bed("t").middleware(filter).publish("out", "payload").engine().await;
    assert!(engine.dispatch(("t", r#"{"n": 2}"#)).await.is_done());
    let table = [
        (r#"{"n": 1}"#, FinalOutcome::Dropped(class::FILTERED)),
        ("{}", FinalOutcome::Discarded(class::EXPRESSION)),
        (r#"{"n": 1, "n": 1}"#, FinalOutcome::Discarded(class::PAYLOAD_FORMAT)),
    ];
    for (payload, wanted) in table {
        assert_eq!(engine.dispatch(("t", payload)).await.outcome, Some(wanted), "{payload}");
    }
}

#[tokio::test]
async fn transform_sets_from_the_payload_as_it_was_then_removes() {
    let transform = Middleware::Transform {
        set: vec![
            ("a".to_owned(), at("payload.b")),
            ("b".to_owned(), at("payload.a")),
            ("deep.er".to_owned(), at("topic")),
        ],
        remove: vec!["c".to_owned(), "no.such".to_owned()],
    };
    let (engine, _) = bed("t").middleware(transform).publish("out", "payload").engine().await;
    let report = engine.dispatch(("t", r#"{"a": 1, "b": 2, "c": 3}"#)).await;
    assert_eq!(report.published[0].payload, br#"{"a":2,"b":1,"deep":{"er":"t"}}"#[..]);
    let report = engine.dispatch(("t", "{}")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Discarded(class::EXPRESSION)));
}

#[tokio::test]
async fn a_text_payload_becomes_a_map_when_a_field_is_set() {
    let set = vec![("value".to_owned(), at("double(payload)"))];
    let transform = Middleware::Transform { set, remove: Vec::new() };
    let (engine, _) = bed("t").middleware(transform).publish("out", "payload").engine().await;
    let report = engine.dispatch(("t", "21.5")).await;
    assert_eq!(report.published[0].payload, br#"{"value":21.5}"#[..]);
}

#[tokio::test]
async fn validate_rejects_what_breaks_the_schema() {
    let schema = json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 1}}});
    let at = KeyRef { name: "schemas".to_owned(), key: "n.json".to_owned() };
    let secrets = Secrets::default().with_value("schemas", "n.json", schema.to_string());
    for source in [SchemaSource::Inline(schema), SchemaSource::ConfigMap(at)] {
        let bed = bed("t").middleware(Middleware::Validate(source)).publish("out", "payload");
        let (engine, _) = Bed { secrets: secrets.clone(), ..bed }.engine().await;
        assert!(engine.dispatch(("t", r#"{"n": 1}"#)).await.is_done());
        for payload in [r#"{"n": 0}"#, r#"{"n": "1"}"#, "{}", "text", ""] {
            let report = engine.dispatch(("t", payload)).await;
            assert_eq!(report.outcome, Some(FinalOutcome::Rejected(class::INVALID)), "{payload}");
        }
    }
}

fn dedup() -> Middleware {
    let window = Duration::from_mins(1);
    Middleware::Dedup { key: at("payload.id"), window, store: DedupStore::Memory }
}

#[tokio::test(start_paused = true)]
async fn dedup_drops_a_key_within_its_window() {
    let (engine, _) = bed("t").middleware(dedup()).publish("out", "payload").engine().await;
    let one = ("t", r#"{"id": 1}"#);
    let dropped = Some(FinalOutcome::Dropped(class::DUPLICATE));
    assert!(engine.dispatch(one).await.is_done());
    assert_eq!(engine.dispatch(one).await.outcome, dropped);
    assert!(engine.dispatch(("t", r#"{"id": 2}"#)).await.is_done());
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(engine.dispatch(one).await.outcome, dropped);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(engine.dispatch(one).await.is_done());
    assert_eq!(engine.dispatch(one).await.outcome, dropped, "the window began anew");
}

#[tokio::test(start_paused = true)]
async fn dedup_forgets_what_failed_and_makes_a_twin_wait_for_its_end() {
    let outcomes = Arc::new(std::sync::Mutex::new(vec![true, true, false]));
    let handler = move || {
        let ok = outcomes.lock().unwrap().pop().unwrap();
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if ok { Outcome::Done } else { Failure::permanent("Test", "no").into() }
        }
    };
    let (engine, _) = bed("t")
        .middleware(dedup())
        .handler(custom("it"))
        .registry(|it| it.handler("it", handler))
        .engine()
        .await;
    let one = || engine.dispatch(("t", r#"{"id": 1}"#));
    let (first, second, third) = tokio::join!(one(), one(), one());
    assert_eq!(first.outcome, Some(FinalOutcome::Discarded("Test")));
    let twins = [second.outcome, third.outcome];
    assert!(twins.contains(&Some(FinalOutcome::Done)), "{twins:?}");
    assert!(twins.contains(&Some(FinalOutcome::Dropped(class::DUPLICATE))), "{twins:?}");
}

#[tokio::test]
async fn middleware_runs_outer_to_inner_and_may_change_the_payload() {
    async fn outer(mut message: Message, next: Next) -> Outcome {
        let text = message.payload().bytes().unwrap();
        message.payload_mut().set_bytes([&text[..], b" outer"].concat());
        next.run(message).await
    }
    async fn inner(mut message: Message, next: Next) -> Outcome {
        let text = message.payload().bytes().unwrap();
        message.payload_mut().set_bytes([&text[..], b" inner"].concat());
        next.run(message).await
    }
    let log = Middleware::Log { level: LogLevel::Info, payload: true };
    let (engine, _) = bed("t")
        .middleware(log.clone())
        .middleware(around("outer"))
        .middleware(log)
        .middleware(around("inner"))
        .registry(|it| it.middleware("outer", from_fn(outer)).middleware("inner", from_fn(inner)))
        .publish("out", "payload")
        .engine()
        .await;
    let report = engine.dispatch(("t", "original")).await;
    assert_eq!(report.published[0].payload, b"original outer inner"[..]);
}

#[tokio::test]
async fn a_middleware_that_does_not_go_on_ends_the_message() {
    async fn stop(_: Message, _: Next) -> Outcome {
        Outcome::Dropped("Stopped")
    }
    let (engine, _) = bed("t")
        .middleware(around("stop"))
        .registry(|it| it.middleware("stop", from_fn(stop)))
        .publish("out", "payload")
        .engine()
        .await;
    let report = engine.dispatch(("t", "")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Dropped("Stopped")));
    assert!(report.published.is_empty());
}
