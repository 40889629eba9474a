use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use routemq_crds::table::{Handler, Middleware};
use tokio::time::Instant;

use crate::{
    Failure, FailureKind, FinalOutcome, Message, Next, Outcome, class,
    engine::Local,
    metrics::RouteCells,
    middleware::from_fn,
    testing::{admit, around, at, bed, custom},
};

/// Fails as told for the first `times` calls, and counts them all.
fn flaky(
    calls: &Arc<AtomicU32>,
    times: u32,
    kind: FailureKind,
) -> impl Fn() -> std::future::Ready<Outcome> + Send + Sync + 'static {
    let calls = Arc::clone(calls);
    move || {
        let before = calls.fetch_add(1, Ordering::SeqCst);
        std::future::ready(if before < times {
            Outcome::Failed(Failure::new(kind, "Test", "not yet"))
        } else {
            Outcome::Done
        })
    }
}

fn counter() -> Arc<AtomicU32> {
    Arc::default()
}

fn read(counter: &AtomicU32) -> u32 {
    counter.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_tried_again_and_earlier_handlers_are_not() {
    let (first, second, third) = (counter(), counter(), counter());
    let (engine, _) = bed("t")
        .handler(custom("first"))
        .handler(custom("second"))
        .handler(custom("third"))
        .registry(|it| {
            it.handler("first", flaky(&first, 0, FailureKind::Transient))
                .handler("second", flaky(&second, 2, FailureKind::Transient))
                .handler("third", flaky(&third, 0, FailureKind::Transient))
        })
        .engine()
        .await;
    let report = engine.dispatch(("t", "")).await;
    assert_eq!((report.outcome, report.attempts), (Some(FinalOutcome::Done), 3));
    assert_eq!((read(&first), read(&second), read(&third)), (1, 3, 1));
    assert_eq!(engine.counters(0).unwrap().retries(), 2);
}

#[tokio::test(start_paused = true)]
async fn every_attempt_is_counted_with_its_time_and_a_skipped_handler_is_not() {
    let (tries, never) = (counter(), counter());
    let skipped = Handler { when: Some(at("false")), ..custom("never") };
    let fail = flaky(&tries, 2, FailureKind::Transient);
    let slow = move || {
        let outcome = fail();
        async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            outcome.await
        }
    };
    let (engine, _) = bed("t")
        .handler(skipped)
        .handler(custom("slow"))
        .registry(|it| {
            it.handler("never", flaky(&never, 9, FailureKind::Transient)).handler("slow", slow)
        })
        .engine()
        .await;
    let cells = RouteCells::new(&["never".into(), "slow".into()]);
    let local = Local::new(engine.clone(), cells);
    Arc::clone(&local).handle(admit(&engine, ("t", ""))).await;
    let totals = local.cells(0).totals();
    assert_eq!((totals.retries, read(&never)), (2, 0));
    assert_eq!((totals.handlers["slow"].count(), totals.handlers["never"].count()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn attempts_end_at_the_maximum_and_later_handlers_do_not_run() {
    let (first, second) = (counter(), counter());
    let (engine, recorder) = bed("t")
        .handler(custom("first"))
        .handler(custom("second"))
        .dead_letter("dead")
        .registry(|it| {
            it.handler("first", flaky(&first, 99, FailureKind::Transient))
                .handler("second", flaky(&second, 0, FailureKind::Transient))
        })
        .engine()
        .await;
    let report = engine.dispatch(("t", "")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::DeadLettered("Test")));
    assert_eq!((report.attempts, read(&first), read(&second)), (3, 3, 0));
    assert_eq!(report.published.len() + recorder.take().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_not_tried_again() {
    let calls = counter();
    let (engine, _) = bed("t")
        .handler(custom("it"))
        .registry(|it| it.handler("it", flaky(&calls, 99, FailureKind::Permanent)))
        .engine()
        .await;
    let report = engine.dispatch(("t", "")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Discarded("Test")));
    assert_eq!((report.attempts, read(&calls)), (1, 1));
    assert_eq!(engine.counters(0).unwrap().discarded(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_away_holds_the_message_for_as_long_as_it_takes() {
    for kind in [FailureKind::Unavailable, FailureKind::Systemic] {
        let calls = counter();
        let (engine, _) = bed("t")
            .handler(custom("it"))
            .dead_letter("dead")
            .registry(|it| it.handler("it", flaky(&calls, 500, kind)))
            .engine()
            .await;
        let mut causes = engine.health().watch();
        let busy = tokio::spawn({
            let engine = engine.clone();
            async move { engine.dispatch(("t", "")).await }
        });
        causes.changed().await.unwrap();
        let cause = causes.borrow_and_update().get("Test").cloned().unwrap();
        assert_eq!((cause.kind, cause.message.as_str(), cause.held), (kind, "not yet", 1));
        let report = busy.await.unwrap();
        assert_eq!((report.outcome, report.attempts), (Some(FinalOutcome::Done), 1));
        assert_eq!(read(&calls), 501);
        assert!(causes.borrow_and_update().is_empty(), "nothing is held any more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_held_and_dropped_is_no_longer_held() {
    let calls = counter();
    let (engine, _) = bed("t")
        .handler(custom("it"))
        .registry(|it| it.handler("it", flaky(&calls, u32::MAX, FailureKind::Unavailable)))
        .engine()
        .await;
    let held = tokio::time::timeout(Duration::from_mins(1), engine.dispatch(("t", ""))).await;
    assert!(held.is_err());
    assert!(engine.health().watch().borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_attempt() {
    async fn panics() {
        panic!("on purpose");
    }
    let (engine, _) =
        bed("t").handler(custom("it")).registry(|it| it.handler("it", panics)).engine().await;
    let report = engine.dispatch(("t", "")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Discarded(class::PANIC)));
    assert_eq!(report.attempts, 3);
    assert!(engine.dispatch(("t", "")).await.outcome.is_some(), "the next message passes");
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_the_future_is_made_is_an_attempt_too() {
    fn panics() -> std::future::Ready<()> {
        panic!("on purpose");
    }
    let (engine, _) =
        bed("t").handler(custom("it")).registry(|it| it.handler("it", panics)).engine().await;
    let report = engine.dispatch(("t", "")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Discarded(class::PANIC)));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_bounded_in_time() {
    let calls = counter();
    let slow = {
        let calls = Arc::clone(&calls);
        move || {
            calls.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>()
        }
    };
    let (engine, _) =
        bed("t").handler(custom("it")).registry(|it| it.handler("it", slow)).engine().await;
    let start = Instant::now();
    let report = engine.dispatch(("t", "")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Discarded(class::TIMEOUT)));
    assert_eq!(read(&calls), 3);
    assert!(start.elapsed() >= Duration::from_secs(90));
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_middleware_is_tried_again_without_running_finished_handlers() {
    let (entered, handled) = (counter(), counter());
    let fails_after = {
        let entered = Arc::clone(&entered);
        move |message: Message, next: Next| {
            let before = entered.fetch_add(1, Ordering::SeqCst);
            async move {
                let outcome = next.run(message).await;
                if before == 0 {
                    return Outcome::Failed(Failure::transient("Test", "after the handlers"));
                }
                outcome
            }
        }
    };
    let (engine, _) = bed("t")
        .middleware(around("it"))
        .handler(custom("it"))
        .registry(|it| {
            it.middleware("it", from_fn(fails_after))
                .handler("it", flaky(&handled, 0, FailureKind::Transient))
        })
        .engine()
        .await;
    let report = engine.dispatch(("t", "")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Done));
    assert_eq!((read(&entered), read(&handled)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn used_up_attempts_are_not_multiplied_by_the_middleware() {
    async fn pass(message: Message, next: Next) -> Outcome {
        next.run(message).await
    }
    let calls = counter();
    let (engine, _) = bed("t")
        .middleware(around("it"))
        .handler(custom("it"))
        .registry(|it| {
            it.middleware("it", from_fn(pass))
                .handler("it", flaky(&calls, 99, FailureKind::Transient))
        })
        .engine()
        .await;
    assert_eq!(engine.dispatch(("t", "")).await.attempts, 3);
    assert_eq!(read(&calls), 3);
}

#[tokio::test(start_paused = true)]
async fn a_middleware_that_panics_or_takes_too_long_fails_the_message_alone() {
    async fn panics(_: Message, _: Next) -> Outcome {
        panic!("on purpose");
    }
    let (engine, _) = bed("t")
        .middleware(around("it"))
        .registry(|it| it.middleware("it", from_fn(panics)))
        .engine()
        .await;
    let report = engine.dispatch(("t", "")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Discarded(class::PANIC)));

    let calls = counter();
    let slow = {
        let calls = Arc::clone(&calls);
        move || {
            calls.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(20))
        }
    };
    let (engine, _) = bed("t")
        .middleware(Middleware::Timeout(Duration::from_secs(5)))
        .handler(custom("it"))
        .registry(|it| it.handler("it", slow))
        .engine()
        .await;
    let report = engine.dispatch(("t", "")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Discarded(class::TIMEOUT)));
    assert_eq!(read(&calls), 3);
}

#[test]
fn handling_may_cross_threads() {
    fn crosses<T: Send>(_: T) {}
    let _ = |engine: crate::Engine, message: Message| {
        crosses(async move { engine.handle(message).await });
    };
}
