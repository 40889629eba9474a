use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use routemq_mqtt::{Properties, Publish, QoS, SubscriptionIds};

use crate::{
    Failure, FinalOutcome, Outcome, class,
    engine::Engine,
    testing::{bed, custom},
};

/// Counts its calls; what it needs is always away.
async fn away() -> (Engine, Arc<AtomicU32>) {
    let calls = Arc::<AtomicU32>::default();
    let counted = Arc::clone(&calls);
    let handler = move || {
        counted.fetch_add(1, SeqCst);
        std::future::ready(Outcome::Failed(Failure::unavailable("Test", "away")))
    };
    let bed = bed("t").handler(custom("it")).dead_letter("dead");
    let (engine, _) = bed.registry(|it| it.handler("it", handler)).engine().await;
    (engine, calls)
}

/// Handles a message that came so long ago, to be forgotten after so many seconds.
async fn handle(engine: &Engine, waited: Duration, expiry: Option<u32>) -> FinalOutcome {
    let properties = Properties { message_expiry: expiry, ..Properties::default() };
    let publish = Publish {
        topic: "t".into(),
        payload: "x".into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        duplicate: false,
        subscriptions: SubscriptionIds::default(),
        properties: Some(Box::new(properties)),
    };
    let message = engine.admit(publish, SystemTime::now().checked_sub(waited).unwrap()).unwrap();
    engine.handle(message).await.outcome
}

#[tokio::test]
async fn a_message_that_has_expired_is_dropped_unhandled() {
    let (engine, calls) = away().await;
    let outcome = handle(&engine, Duration::from_secs(61), Some(60)).await;
    assert_eq!((outcome, calls.load(SeqCst)), (FinalOutcome::Dropped(class::EXPIRED), 0));
}

#[tokio::test]
async fn a_message_that_expires_while_it_is_held_is_not_tried_again() {
    let (engine, calls) = away().await;
    let outcome = handle(&engine, Duration::from_millis(900), Some(1)).await;
    assert_eq!(outcome, FinalOutcome::Dropped(class::EXPIRED));
    assert!(calls.load(SeqCst) >= 1, "never tried");
}

#[tokio::test(start_paused = true)]
async fn a_message_without_an_expiry_is_held_for_ever() {
    let (engine, calls) = away().await;
    let held = handle(&engine, Duration::from_hours(1), None);
    assert!(tokio::time::timeout(Duration::from_hours(1), held).await.is_err());
    assert!(calls.load(SeqCst) > 100);
}
