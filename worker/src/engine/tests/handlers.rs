use std::{collections::HashSet, time::Duration};

use routemq_crds::{
    table::{Action, Handler, Publish},
    v1alpha1::LogLevel,
};
use routemq_mqtt::QoS;

use crate::{
    FinalOutcome, Outcome, class,
    dispatch::Incoming,
    testing::{at, bed, custom, handler},
};

#[tokio::test]
async fn publish_fills_its_topic_and_evaluates_its_payload() {
    let bed = bed("devices/control/{device_id}");
    let topic = bed.template("devices/control/{device_id}/response");
    let publish = Publish {
        topic,
        payload: at("{'status': 'accepted', 'command': payload.command}"),
        qos: 2,
        retain: true,
        expiry: Some(Duration::from_mins(1)),
        user_properties: vec![("device".to_owned(), at("params.device_id"))],
    };
    let (engine, _) = bed.handler(handler(Action::Publish(Box::new(publish)))).engine().await;
    let report = engine.dispatch(("devices/control/7", r#"{"command": "restart"}"#)).await;
    assert!(report.is_done());
    let sent = &report.published[0];
    let properties = sent.properties.as_ref().unwrap();
    assert_eq!(sent.topic, "devices/control/7/response");
    assert_eq!(sent.payload, br#"{"command":"restart","status":"accepted"}"#[..]);
    assert_eq!((sent.qos, sent.retain), (QoS::ExactlyOnce, true));
    assert_eq!(properties.message_expiry, Some(60));
    assert_eq!(properties.user, [("device".to_owned(), "7".to_owned())]);
}

#[tokio::test]
async fn a_params_value_that_may_not_stand_in_a_topic_is_never_published() {
    let (engine, _) = bed("a/{rest...}").publish("b/{rest}", "'x'").engine().await;
    assert!(engine.dispatch(("a/x", "")).await.is_done());
    let report = engine.dispatch(("a/x/y", "")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Discarded(class::TEMPLATE)));
    assert!(report.published.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_refuses_is_held_retried_or_given_up_by_its_code() {
    let table = [
        ("quota exceeded may pass", 0x97, Some(FinalOutcome::Discarded(class::PUBLISH_REFUSED)), 3),
        (
            "a topic name is invalid for ever",
            0x90,
            Some(FinalOutcome::Discarded(class::PUBLISH_REFUSED)),
            1,
        ),
        ("not authorized holds", 0x87, None, 0),
    ];
    for (name, code, wanted, attempts) in table {
        let (engine, recorder) = bed("t").publish("out", "'x'").engine().await;
        recorder.refuse("out", code);
        let ended = tokio::time::timeout(Duration::from_mins(10), engine.dispatch(("t", ""))).await;
        assert_eq!(ended.as_ref().ok().and_then(|it| it.outcome), wanted, "{name}");
        assert_eq!(ended.map_or(0, |it| it.attempts), attempts, "{name}");
    }
}

#[tokio::test]
async fn reply_answers_where_the_message_says() {
    let bed = bed("ask/{id}");
    let fallback = bed.template("answers/{id}");
    let reply = |fallback_topic| {
        handler(Action::Reply { payload: at("'yes'"), fallback_topic, user_properties: Vec::new() })
    };
    let (engine, _) = bed.handler(reply(Some(fallback))).engine().await;
    let asked = Incoming::new("ask/1", "").response_topic("back/1").correlation_data("42");
    let report = engine.dispatch(asked).await;
    let answer = &report.published[0];
    assert_eq!((&*answer.topic, &answer.payload[..]), ("back/1", &b"yes"[..]));
    assert_eq!(answer.properties.as_ref().unwrap().correlation_data.as_deref(), Some(&b"42"[..]));

    let report = engine.dispatch(("ask/2", "")).await;
    assert_eq!(report.published[0].topic, "answers/2");
    let wild = Incoming::new("ask/3", "").response_topic("back/#");
    assert_eq!(engine.dispatch(wild).await.published[0].topic, "answers/3");

    let (engine, _) =
        super::super::super::testing::bed("ask/{id}").handler(reply(None)).engine().await;
    let report = engine.dispatch(("ask/4", "")).await;
    assert!(report.is_done() && report.published.is_empty());
    assert_eq!(engine.counters(0).unwrap().unanswered(), 1);
}

#[tokio::test]
async fn when_skips_a_handler_and_a_missing_field_in_it_is_an_error() {
    let when = |source: &str, topic: &str| Handler {
        when: Some(at(source)),
        ..handler(Action::Publish(Box::new(Publish {
            topic: bed("t").template(topic),
            payload: at("'x'"),
            qos: 1,
            retain: false,
            expiry: None,
            user_properties: Vec::new(),
        })))
    };
    let (engine, _) = bed("t")
        .handler(when("payload.n > 1", "large"))
        .handler(when("payload.n <= 1", "small"))
        .engine()
        .await;
    let topics = |report: crate::dispatch::Report| -> Vec<String> {
        report.published.into_iter().map(|it| it.topic.to_string()).collect()
    };
    assert_eq!(topics(engine.dispatch(("t", r#"{"n": 2}"#)).await), ["large"]);
    assert_eq!(topics(engine.dispatch(("t", r#"{"n": 1}"#)).await), ["small"]);
    assert_eq!(engine.counters(0).unwrap().skipped(), 2);
    let report = engine.dispatch(("t", "{}")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Discarded(class::EXPRESSION)));
}

#[tokio::test]
async fn log_needs_nothing_and_fails_where_its_expression_does() {
    let log = |message| handler(Action::Log { level: LogLevel::Debug, message });
    let (engine, _) =
        bed("t").handler(log(None)).handler(log(Some(at("payload.a")))).engine().await;
    assert!(engine.dispatch(("t", r#"{"a": 1}"#)).await.is_done());
    assert!(!engine.dispatch(("t", "{}")).await.is_done());
}

#[tokio::test]
async fn a_custom_handler_may_drop_or_reject_and_ends_the_message_so() {
    async fn rejects() -> Outcome {
        Outcome::Rejected("NotOurs")
    }
    let (engine, _) = bed("t")
        .handler(custom("rejects"))
        .publish("out", "'x'")
        .registry(|it| it.handler("rejects", rejects))
        .engine()
        .await;
    let report = engine.dispatch(("t", "")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Rejected("NotOurs")));
    assert!(report.published.is_empty());
}

#[tokio::test]
async fn order_keys_are_equal_for_equal_keys_and_fall_back_to_the_topic() {
    let (engine, _) = bed("{a}/{b}").engine().await;
    let key = |topic: &str| {
        let message = crate::testing::admit(&engine, (topic.to_owned(), ""));
        engine.order_key(&message)
    };
    assert_eq!(key("x/y"), key("x/y"));
    assert_ne!(key("x/y"), key("x/z"));
}

/// Whether two topics of this pattern are ordered as one by `orderBy`.
async fn ordered_as_one(pattern: &str, order_by: &str, topics: [&str; 2]) -> bool {
    let mut bed = bed(pattern);
    bed.order_by = Some(at(order_by));
    let (engine, _) = bed.engine().await;
    let [one, other] = topics
        .map(|topic| engine.order_key(&crate::testing::admit(&engine, (topic.to_owned(), ""))));
    one == other
}

#[tokio::test]
async fn order_by_a_param_looks_at_its_value_alone() {
    for (pattern, order_by, topics, one) in [
        ("{a}/{b}", "params.a", ["x/y", "x/z"], true),
        ("{a}/{b}", "params.b", ["x/y", "x/z"], false),
        ("{a}/{b}", "params.a + 'q'", ["x/y", "x/z"], true),
        ("{a:int}/{b}", "params.a", ["7/y", "007/z"], true),
        ("{a:int}/{b}", "params.a", ["7/y", "8/z"], false),
        ("{a}/{b}", "params.missing", ["x/y", "x/z"], false),
    ] {
        let found = ordered_as_one(pattern, order_by, topics).await;
        assert_eq!(found, one, "{order_by} of {pattern}: {topics:?}");
    }
}

#[tokio::test]
async fn a_field_orders_as_the_expression_that_gives_it() {
    let engine = async |order_by: &str| {
        let mut bed = bed("{a}");
        bed.order_by = Some(at(order_by));
        bed.engine().await.0
    };
    let (named, evaluated) = (engine("payload.id").await, engine("[payload.id][0]").await);
    let mut keys = HashSet::new();
    for payload in [
        r#"{"id": "x"}"#,
        r#"{"id": 7, "more": {"id": 8}}"#,
        r#"{"id": -7}"#,
        r#"{"id": 7.5}"#,
        r#"{"id": true}"#,
        r#"{"id": ["x"]}"#,
        "not JSON",
    ] {
        let message = |engine| crate::testing::admit(engine, ("t", payload));
        let key = named.order_key(&message(&named));
        assert_eq!(key, evaluated.order_key(&message(&evaluated)), "{payload}");
        assert!(keys.insert(key), "{payload}");
    }
}

#[tokio::test]
async fn a_payload_that_names_no_variable_is_the_same_for_every_message() {
    let (engine, _) = bed("{a}").publish("out/{a}", "{'seen': 1 + 1}").engine().await;
    for topic in ["x", "y"] {
        let report = engine.dispatch((topic, "not JSON")).await;
        assert!(report.is_done());
        assert_eq!(report.published[0].payload, br#"{"seen":2}"#[..], "{topic}");
    }
    let (engine, _) = bed("{a}").publish("out/{a}", "[1][2]").engine().await;
    assert!(!engine.dispatch(("x", "")).await.is_done(), "what fails, fails for each message");
}
