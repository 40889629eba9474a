use std::sync::{Arc, Mutex};

use routemq_crds::table::Action;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::{
    FinalOutcome, Message, Outcome, Recorder,
    testing::{Bed, bed, custom, handler},
};

/// A bed whose one handler is this.
fn with<A: 'static>(pattern: &str, function: impl crate::handler::Handler<A>) -> Bed {
    bed(pattern).handler(custom("it")).registry(|it| it.handler("it", function))
}

async fn outcome<A: 'static>(
    pattern: &str,
    message: (&'static str, &'static str),
    function: impl crate::handler::Handler<A>,
) -> FinalOutcome {
    let (engine, _) = with(pattern, function).engine().await;
    engine.dispatch(message).await.outcome.unwrap()
}

const REJECTED: FinalOutcome = FinalOutcome::Discarded(class::REJECTION);
const UNREADABLE: FinalOutcome = FinalOutcome::Discarded(class::PAYLOAD_FORMAT);

#[derive(Deserialize, Debug, PartialEq)]
struct Device {
    site: String,
    number: u32,
}

#[tokio::test]
async fn params_come_by_name_by_position_or_alone() {
    async fn named(Params(it): Params<Device>) {
        assert_eq!(it, Device { site: "north".to_owned(), number: 7 });
    }
    async fn placed(Params((site, number)): Params<(String, i64)>) {
        assert_eq!((site.as_str(), number), ("north", 7));
    }
    async fn listed(Params(all): Params<Vec<String>>) {
        assert_eq!(all, ["north", "7"]);
    }
    async fn mapped(Params(all): Params<std::collections::HashMap<String, String>>) {
        assert_eq!(all["site"], "north");
    }
    async fn alone(Params(load): Params<f32>) {
        assert!((load - 0.5).abs() < f32::EPSILON);
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        On,
        Off,
    }
    async fn chosen(Params(kind): Params<Option<Kind>>) {
        assert!(matches!(kind, Some(Kind::On)) && !matches!(kind, Some(Kind::Off)));
    }
    let two = ("{site}/{number}", ("north/7", ""));
    assert_eq!(outcome(two.0, two.1, named).await, FinalOutcome::Done);
    assert_eq!(outcome(two.0, two.1, placed).await, FinalOutcome::Done);
    assert_eq!(outcome(two.0, two.1, listed).await, FinalOutcome::Done);
    assert_eq!(outcome(two.0, two.1, mapped).await, FinalOutcome::Done);
    assert_eq!(outcome("{load}", ("0.5", ""), alone).await, FinalOutcome::Done);
    assert_eq!(outcome("{kind}", ("on", ""), chosen).await, FinalOutcome::Done);
    assert_eq!(outcome("{kind}", ("maybe", ""), chosen).await, REJECTED);
}

#[tokio::test]
async fn params_that_do_not_fit_are_rejected_for_good() {
    async fn named(_: Params<Device>) {}
    async fn pair(_: Params<(String, String)>) {}
    async fn alone(_: Params<u8>) {}
    let table = [
        ("a number too large", outcome("{site}/{number}", ("n/4294967296", ""), named).await),
        ("no number", outcome("{site}/{number}", ("n/x", ""), named).await),
        ("a param is missing", outcome("{site}", ("n", ""), named).await),
        ("three for two", outcome("{a}/{b}/{c}", ("1/2/3", ""), pair).await),
        ("two for one", outcome("{a}/{b}", ("1/2", ""), alone).await),
        ("none for one", outcome("a", ("a", ""), alone).await),
    ];
    for (name, outcome) in table {
        assert_eq!(outcome, REJECTED, "{name}");
    }
}

#[tokio::test]
async fn payloads_come_as_json_text_or_bytes() {
    async fn typed(Json(it): Json<Device>) {
        assert_eq!(it.number, 7);
    }
    async fn text(Text(text): Text) {
        assert_eq!(text, "héllo");
    }
    async fn raw(Raw(one): Raw, other: bytes::Bytes) {
        assert_eq!((&one[..], &other[..]), (&b"x"[..], &b"x"[..]));
    }
    let good = r#"{"site": "n", "number": 7}"#;
    assert_eq!(outcome("t", ("t", good), typed).await, FinalOutcome::Done);
    for bad in
        ["", "hello", "{}", r#"{"site": "n", "number": -1}"#, r#"{"site": "n", "site": "n"}"#]
    {
        assert_eq!(outcome("t", ("t", bad), typed).await, UNREADABLE, "{bad}");
    }
    assert_eq!(outcome("t", ("t", "héllo"), text).await, FinalOutcome::Done);
    assert_eq!(outcome("t", ("t", "x"), raw).await, FinalOutcome::Done);
    let (engine, _) = with("t", text).engine().await;
    let report = engine.dispatch(("t", &b"\xff"[..])).await;
    assert_eq!(report.outcome, Some(UNREADABLE));
}

#[tokio::test]
async fn a_rejection_does_not_quote_the_payload() {
    async fn typed(_: Json<Device>) {}
    let (engine, recorder) = with("t", typed).dead_letter("dead").engine().await;
    engine
        .handle(crate::testing::admit(
            &engine,
            ("t", r#"{"site": "hunter2", "number": "hunter2"}"#),
        ))
        .await;
    let letters = recorder.take();
    let story = format!("{:?}", letters[0].properties.as_ref().unwrap().user);
    assert!(story.contains("line 1") && !story.contains("hunter2"), "{story}");
}

#[tokio::test]
async fn state_config_topic_message_publisher_and_results_are_arguments() {
    #[derive(Deserialize)]
    struct Limit {
        most: u32,
    }
    type Log = Mutex<Vec<String>>;
    #[expect(clippy::too_many_arguments, reason = "eight is what the API promises")]
    async fn all(
        State(log): State<Log>,
        Config(limit): Config<Limit>,
        topic: Topic,
        message: Message,
        publisher: Publisher,
        results: Results,
        Params(id): Params<String>,
        Text(text): Text,
    ) -> Result<(), routemq_mqtt::PublishError> {
        assert!(results.get("look").is_none());
        let line = format!("{} {} {} {id} {text}", limit.most, &*topic, message.route());
        log.lock().unwrap().push(line);
        let echo = routemq_mqtt::Outgoing { topic: "echo".into(), ..Default::default() };
        publisher.publish(echo).await.map(drop)
    }
    let action =
        Action::Custom { name: "it".to_owned(), config: [("most".to_owned(), json!(3))].into() };
    let (engine, recorder) = bed("t/{id}")
        .handler(handler(action))
        .registry(|it| it.state(Log::default()).handler("it", all))
        .engine()
        .await;
    let message = crate::testing::admit(&engine, ("t/1", "x"));
    assert_eq!(engine.handle(message).await.outcome, FinalOutcome::Done);
    assert_eq!(recorder.take()[0].topic, "echo");
}

#[tokio::test]
async fn a_config_of_another_type_is_a_rejection() {
    async fn wants(_: Config<u32>) {}
    assert_eq!(outcome("t", ("t", ""), wants).await, REJECTED);
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_returns_becomes_an_outcome() {
    #[derive(Debug, thiserror::Error)]
    #[error("no good")]
    struct NoGood;
    async fn unit() {}
    async fn ok() -> Result<(), NoGood> {
        Ok(())
    }
    async fn error() -> Result<(), NoGood> {
        Err(NoGood)
    }
    async fn permanent() -> Result<(), Permanent<NoGood>> {
        Err(NoGood)?
    }
    async fn said_transient() -> Result<Outcome, Transient<NoGood>> {
        Err(Transient(NoGood))
    }
    async fn failure() -> Result<(), Failure> {
        Err(Failure::permanent("Own", "own class"))
    }
    async fn dropped() -> Result<Outcome, NoGood> {
        Ok(Outcome::Dropped("Own"))
    }
    let given_up = FinalOutcome::Discarded(class::HANDLER);
    let run = async |bed: Bed| {
        let (engine, _) = bed.engine().await;
        let report = engine.dispatch(("t", "")).await;
        (report.outcome.unwrap(), report.attempts)
    };
    assert_eq!(run(with("t", unit)).await, (FinalOutcome::Done, 1));
    assert_eq!(run(with("t", ok)).await, (FinalOutcome::Done, 1));
    assert_eq!(run(with("t", error)).await, (given_up, 3));
    assert_eq!(run(with("t", permanent)).await, (given_up, 1));
    assert_eq!(run(with("t", said_transient)).await, (given_up, 3));
    assert_eq!(run(with("t", failure)).await, (FinalOutcome::Discarded("Own"), 1));
    assert_eq!(run(with("t", dropped)).await, (FinalOutcome::Dropped("Own"), 1));
}

#[tokio::test]
async fn state_that_nobody_registered_is_found_when_the_engine_is_built() {
    async fn wants(_: State<Arc<u8>>, _: State<u16>) {}
    let problems = with("t", wants).try_engine(&Recorder::default()).await.unwrap_err();
    let words = problems[0].to_string();
    assert!(words.contains("Arc<u8>, u16") && words.contains(".state("), "{words}");
}
