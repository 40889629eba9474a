use super::*;

fn listening() -> Barrier {
    let mut barrier = Barrier::new("routemq/barrier", "w", 7);
    barrier.asked(1);
    assert!(barrier.suback(1, 1));
    barrier
}

#[tokio::test(start_paused = true)]
async fn the_own_message_passes_it_and_no_other() {
    let mut barrier = listening();
    assert!(barrier.start(2, Instant::now()));
    let own = barrier.payload();
    let stranger = Barrier::new("routemq/barrier", "w", 8).payload();
    assert_eq!(barrier.heard(stranger.as_bytes()), None, "of an earlier run");
    assert_eq!(barrier.heard(own.as_bytes()), Some(Passed::Proven));
    assert_eq!(barrier.heard(own.as_bytes()), None, "twice");
    assert!(barrier.start(3, Instant::now()));
    assert_eq!(barrier.heard(own.as_bytes()), None, "of an earlier barrier");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_either_half_falls_back_to_quiet() {
    let start = Instant::now();
    for (suback, puback) in [(0x87, None), (0, None), (1, Some(0x87)), (1, Some(0x10))] {
        let mut barrier = Barrier::new("routemq/barrier", "w", 7);
        barrier.asked(1);
        barrier.suback(1, suback);
        let publishes = barrier.start(2, start);
        assert_eq!(publishes, puback.is_some(), "{suback:#x}");
        if let Some(code) = puback {
            assert!(barrier.puback(2, code, start));
        }
        assert!(barrier.is_refused());
        let almost = start + QUIET - Duration::from_millis(1);
        assert_eq!(barrier.tick(almost, Some(start)), None);
        assert_eq!(barrier.tick(start + QUIET, Some(start)), Some(Passed::Proven));
    }
}

#[tokio::test(start_paused = true)]
async fn quiet_starts_again_with_each_message_and_does_not_count_while_one_is_at_work() {
    let start = Instant::now();
    let mut barrier = Barrier::new("p", "w", 7);
    barrier.asked(1);
    barrier.suback(1, 0x87);
    barrier.start(2, start);
    let later = start + QUIET;
    assert_eq!(barrier.tick(later, Some(start + Duration::from_secs(1))), None);
    assert_eq!(barrier.tick(later, None), None);
    assert_eq!(barrier.deadline(None), Some(start + PATIENCE));
    assert_eq!(barrier.tick(start + PATIENCE, None), Some(Passed::GaveUp));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_never_comes_back_is_given_up_only_when_nothing_is_at_work() {
    let start = Instant::now();
    let mut barrier = listening();
    barrier.start(2, start);
    let late = start + 10 * SILENCE;
    assert_eq!(barrier.tick(late, None), None, "the window may be full");
    assert!(!barrier.is_refused());
    assert_eq!(barrier.tick(late, Some(start)), Some(Passed::Proven));
    assert!(barrier.is_refused());
}

#[test]
fn every_message_below_the_prefix_is_a_barrier() {
    let barrier = Barrier::new("routemq/barrier/", "w", 7);
    assert!(barrier.owns("routemq/barrier/w") && barrier.owns("routemq/barrier/other"));
    assert!(!barrier.owns("routemq/barriers") && !barrier.owns("routemq/barrier"));
}

#[test]
fn a_client_id_with_wildcards_makes_a_valid_topic() {
    assert_eq!(Barrier::new("p", "a+b#c", 7).topic(), "p/a_b_c");
}
