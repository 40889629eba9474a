use std::time::Duration;

use routemq_mqtt::{Outgoing, QoS};

use crate::{
    Failure, FinalOutcome, Outcome, class,
    dispatch::Incoming,
    journal::Journal,
    testing::{Bed, admit, bed, custom},
};

fn failing(pattern: &str) -> Bed {
    async fn fails() -> Outcome {
        let cause = std::io::Error::other("the cause");
        Outcome::Failed(Failure::permanent("Test", "no good").with_source(cause))
    }
    bed(pattern).handler(custom("it")).registry(|it| it.handler("it", fails))
}

fn property<'a>(letter: &'a Outgoing, name: &str) -> Vec<&'a str> {
    let pairs = &letter.properties.as_ref().unwrap().user;
    pairs.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str()).collect()
}

#[tokio::test]
async fn a_dead_letter_is_the_original_and_its_story() {
    let (engine, _) = failing("devices/{id}").dead_letter("dead/{route}/{id}").engine().await;
    let incoming = Incoming::new("devices/7", &b"\xff\0payload"[..])
        .content_type("text/plain")
        .response_topic("answers/7")
        .correlation_data("12")
        .user_property("own", "1")
        .user_property("own", "2");
    let report = engine.dispatch(incoming).await;
    assert_eq!(report.outcome, Some(FinalOutcome::DeadLettered("Test")));
    let letter = &report.published[0];
    let properties = letter.properties.as_ref().unwrap();
    assert_eq!(letter.topic, "dead/route/7");
    assert_eq!(letter.payload, b"\xff\0payload"[..]);
    assert_eq!((letter.qos, letter.retain), (QoS::AtLeastOnce, false));
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(properties.response_topic.as_deref(), Some("answers/7"));
    assert_eq!(properties.correlation_data.as_deref(), Some(&b"12"[..]));
    for (name, wanted) in [
        ("own", &["1", "2"][..]),
        ("routemq-topic", &["devices/7"]),
        ("routemq-route", &["route"]),
        ("routemq-class", &["Test"]),
        ("routemq-error", &["no good: the cause"]),
        ("routemq-attempts", &["1"]),
        ("routemq-worker", &["worker"]),
    ] {
        assert_eq!(property(letter, name), wanted, "{name}");
    }
    for name in ["routemq-first-received", "routemq-dead-lettered-at"] {
        let time = chrono::DateTime::parse_from_rfc3339(property(letter, name)[0]);
        assert!(time.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn a_dead_letter_has_somewhere_to_go_whatever_the_params_hold() {
    let (engine, _) = failing("a/{rest...}").dead_letter("dead/{rest}").engine().await;
    for (topic, wanted) in [("a/b/c", "dead/b_c"), ("a/b", "dead/b"), ("a", "dead/")] {
        let report = engine.dispatch((topic, "")).await;
        assert_eq!(report.published[0].topic, wanted, "{topic}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_dead_letter_holds_the_message_until_the_broker_takes_it() {
    let (engine, recorder) = failing("t").dead_letter("dead").engine().await;
    recorder.refuse("dead", 0x87);
    let mut causes = engine.health().watch();
    let busy = tokio::spawn({
        let engine = engine.clone();
        async move { engine.dispatch(("t", "x")).await }
    });
    causes.changed().await.unwrap();
    assert!(causes.borrow_and_update().contains_key(class::DEAD_LETTER_REFUSED));
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(!busy.is_finished());
    recorder.accept_all();
    let report = busy.await.unwrap();
    assert_eq!(report.outcome, Some(FinalOutcome::DeadLettered("Test")));
    assert_eq!(report.published.len(), 1);
    assert!(causes.borrow_and_update().is_empty());
}

/// A worker that crashed handles suspects alone. One that is no longer handled keeps nobody waiting, whatever holds its dead letter.
#[tokio::test(start_paused = true)]
async fn a_refused_dead_letter_of_what_killed_the_worker_holds_up_no_other_message() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _) = bed("t").engine().await;
    let killer = admit(&engine, ("t", "killer"));
    for _ in 0..3 {
        let journal = Journal::open(folder.path()).unwrap();
        if let Some(journal) = journal.watching() {
            std::mem::forget(journal.handling(killer.received()).await);
        }
    }
    let journal = Journal::open(folder.path()).unwrap();
    let bed = Bed { journal, ..bed("t").dead_letter("dead").publish("out", "payload") };
    let (engine, recorder) = bed.engine().await;
    recorder.refuse("dead", 0x87);
    let mut causes = engine.health().watch();
    let accused = tokio::spawn({
        let engine = engine.clone();
        async move { engine.dispatch(("t", "killer")).await }
    });
    causes.changed().await.unwrap();
    let other = tokio::time::timeout(Duration::from_secs(1), engine.dispatch(("t", "other")));
    assert!(other.await.expect("it waits for the dead letter").is_done());
    recorder.accept_all();
    assert_eq!(accused.await.unwrap().outcome, Some(FinalOutcome::DeadLettered(class::CRASH)));
}

#[tokio::test]
async fn payloads_that_no_handler_could_read_are_dead_lettered_whole_and_the_next_passes() {
    let deep = "[".repeat(10_000);
    let large = "x".repeat(1024 * 1024 + 1);
    let (engine, _) = bed("t").dead_letter("dead").publish("out", "payload").engine().await;
    for (name, payload) in [("deep", deep), ("large", large), ("twice", r#"{"a":1,"a":2}"#.into())]
    {
        let report = engine.dispatch(("t", payload.clone())).await;
        assert_eq!(
            report.outcome,
            Some(FinalOutcome::DeadLettered(class::PAYLOAD_FORMAT)),
            "{name}"
        );
        assert_eq!(report.published[0].payload, payload.as_bytes(), "{name}");
    }
    for payload in ["", "hello", "x".repeat(1024 * 1024).as_str()] {
        let report = engine.dispatch(("t", payload.to_owned())).await;
        assert!(report.is_done());
        assert_eq!(report.published[0].payload, payload.as_bytes());
    }
}

#[tokio::test]
async fn an_error_text_is_bounded() {
    async fn fails() -> Outcome {
        Outcome::Failed(Failure::permanent("Test", "ä".repeat(10_000)))
    }
    let bed = bed("t").handler(custom("it")).registry(|it| it.handler("it", fails));
    let (engine, _) = bed.dead_letter("dead").engine().await;
    let report = engine.dispatch(("t", "")).await;
    assert!(property(&report.published[0], "routemq-error")[0].len() <= 512);
}
