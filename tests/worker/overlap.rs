//! Copies of one message by several filters.

use crate::bed::{Bed, yaml};
use routemq_worker::run::totals;

const ROUTES: &[(&str, &str, u32)] =
    &[("exact", "d/1", 0), ("one", "d/{id}", 0), ("all", "d/{rest...}", 0)];

#[tokio::test(flavor = "multi_thread")]
async fn settled_workers_handle_a_message_of_three_filters_once_by_the_most_specific_route() {
    let bed = Bed::start().await;
    let running = bed.run(&yaml(3, "", ROUTES)).await;
    bed.publish("d", 0..1000).await;
    bed.publish("d/deep", 1000..1100).await;
    bed.tally.reaches(1100).await;
    let totals = totals(&running.stop().await);

    bed.tally.each_once(1100);
    for seen in bed.tally.all() {
        let expected = match seen.topic.as_str() {
            "d/1" => "exact",
            deep if deep.starts_with("d/deep/") => "all",
            _ => "one",
        };
        assert_eq!(seen.route, expected, "{seen:?}");
    }
    // d/1 has two copies too many, the other nine topics one.
    assert_eq!(totals.overlap, 100 * 2 + 900);
    assert_eq!(totals.unmatched, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_queued_before_the_barrier_is_handled_twice_rather_than_never() {
    let bed = Bed::start().await;
    // A first life holds only the wide filter; what it leaves in the session has one copy each.
    let wide = yaml(1, "", &ROUTES[2..]);
    bed.run(&wide).await.stop().await;
    bed.publish("d", 0..100).await;
    let running = bed.run(&yaml(1, "", &ROUTES[1..])).await;
    bed.tally.reaches(100).await;
    running.stop().await;
    assert!(bed.tally.all().iter().all(|seen| seen.route == "one"));
    bed.tally.each_once(100);
}
