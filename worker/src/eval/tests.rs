use serde_json::Value;

use super::*;
use crate::{
    Engine,
    dispatch::Incoming,
    testing::{admit, at, bed},
};

async fn engine() -> Engine {
    bed("devices/{site}/{number:int}/{load:float}/{rest...}").engine().await.0
}

fn message(engine: &Engine) -> Message {
    let payload = r#"{"command": "restart", "n": 3, "list": [1, 2, 3], "secret": "hunter2", "deep": {"x": 1.5}}"#;
    let incoming = Incoming::new("devices/north/-42/0.5/a/b", payload)
        .content_type("application/json")
        .user_property("trace", "abc")
        .response_topic("answers/1");
    admit(engine, incoming)
}

fn json(engine: &Engine, source: &str) -> Result<Value, Failure> {
    let text = Evaluator::new().bytes(&at(source), &message(engine))?;
    Ok(serde_json::from_slice(&text)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&text).into_owned())))
}

#[tokio::test]
async fn expressions_see_the_message() {
    let engine = engine().await;
    let table = [
        ("topic", "\"devices/north/-42/0.5/a/b\""),
        ("route", "\"route\""),
        ("params.site", "\"north\""),
        ("params.number + 1", "-41"),
        ("params.load * 2.0", "1.0"),
        ("params.rest", "\"a/b\""),
        ("params", r#"{"load":0.5,"number":-42,"rest":"a/b","site":"north"}"#),
        ("params['site']", "\"north\""),
        ("has(params.site)", "true"),
        ("payload.command in ['restart', 'shutdown']", "true"),
        ("payload.n == 3 && payload.n > 2.5", "true"),
        ("payload.list.map(x, x * 2)", "[2,4,6]"),
        ("payload.list.exists(x, x == params.number + 44)", "true"),
        ("has(payload.missing) ? payload.missing : 'none'", "\"none\""),
        ("has(payload.deep.x)", "true"),
        (
            "{'status': 'accepted', 'command': payload.command}",
            r#"{"command":"restart","status":"accepted"}"#,
        ),
        ("message.qos", "1"),
        ("message.retain || message.duplicate", "false"),
        ("message.contentType", "\"application/json\""),
        ("message.responseTopic", "\"answers/1\""),
        ("message.properties.trace", "\"abc\""),
        ("message.properties['trace']", "\"abc\""),
        ("has(message.properties.other)", "false"),
        ("message.receivedAt == timestamp('1970-01-01T00:00:00Z')", "true"),
        ("string(message.receivedAt)", "\"1970-01-01T00:00:00Z\""),
        ("size(results)", "0"),
        ("has(results.look)", "false"),
    ];
    for (source, wanted) in table {
        let wanted: Value = serde_json::from_str(wanted).unwrap();
        assert_eq!(json(&engine, source).map_err(|it| it.to_string()), Ok(wanted), "{source}");
    }
}

#[tokio::test]
async fn what_cannot_be_evaluated_is_permanent_and_named_but_not_quoted() {
    let engine = engine().await;
    let table = [
        ("payload.missing", "there is no \"missing\""),
        ("payload.secret.x", "`payload.secret.x`"),
        ("payload.secret + 1", "cannot add string and int"),
        ("payload.secret < 1", "`payload.secret < 1`"),
        ("payload[payload.secret]", "there is no such key"),
        ("1 / (payload.n - 3)", "division by zero"),
        ("9223372036854775807 + payload.n", "overflows"),
        ("payload.list[7]", "out of bounds"),
        ("int(payload.secret)", "int() failed"),
        ("timestamp(payload.secret)", "timestamp() failed"),
        ("results.look.rows", "`results.look.rows`"),
    ];
    for (source, wanted) in table {
        let failure = json(&engine, source).unwrap_err();
        let words = failure.describe(4096);
        assert_eq!(
            (failure.kind, failure.class),
            (crate::FailureKind::Permanent, class::EXPRESSION),
            "{source}"
        );
        assert!(words.contains(wanted), "{source}: {words}");
        assert!(!words.contains("hunter2"), "{source}: {words}");
    }
}

#[tokio::test]
async fn a_condition_is_true_or_false_and_nothing_else() {
    let engine = engine().await;
    let (evaluator, message) = (Evaluator::new(), message(&engine));
    assert!(evaluator.condition(&at("payload.n > 1"), &message).unwrap());
    for source in ["payload.n", "'true'", "null", "payload.missing"] {
        let failure = evaluator.condition(&at(source), &message).unwrap_err();
        assert_eq!(failure.class, class::EXPRESSION, "{source}");
    }
}

#[tokio::test]
async fn a_payload_is_decoded_only_for_those_who_ask() {
    let engine = engine().await;
    let message = admit(&engine, ("devices/a/1/1/x", &b"{\"a\": 1, \"a\": 2}"[..]));
    let evaluator = Evaluator::new();
    assert_eq!(evaluator.text(&at("topic"), &message).unwrap(), "devices/a/1/1/x");
    let failure = evaluator.text(&at("payload.a"), &message).unwrap_err();
    assert_eq!(failure.class, class::PAYLOAD_FORMAT);
}

#[tokio::test]
async fn the_longest_expressions_run_on_a_workers_stack() {
    let engine = engine().await;
    let sum = vec!["1"; 500].join("+");
    let not = format!("{}true", "!".repeat(900));
    let or = vec!["payload.n==1"; 80].join("||");
    for source in [sum, not, or] {
        let Ok(expression) =
            Expression::compile(&source, &routemq_crds::expression::Scope::default())
        else {
            continue;
        };
        let message = message(&engine);
        tokio::spawn(async move {
            Evaluator::new().text(&expression, &message).map(drop).unwrap();
        })
        .await
        .unwrap();
    }
}

#[test]
fn a_message_and_its_evaluation_may_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Evaluator>();
    crosses::<Message>();
}
