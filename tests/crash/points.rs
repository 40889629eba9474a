//! Killed before and after each request, the operator ends in the same state.

use std::time::Duration;

use kube::client::ClientBuilder;

use crate::{
    fault::{Cut, Fault},
    world::World,
};

/// Enough for every request that a first reconcile makes, and the next ones.
const SOON: Duration = Duration::from_mins(2);

/// The outcome of a route that is made, and then changed and scaled, by a controller that was cut off once meanwhile; and how many requests that took.
async fn story(cut: Cut) -> (serde_json::Value, usize) {
    let world = World::new();
    world.apply(2, "devices/{id}/status");
    let fault = Fault::new(cut);
    let end = async {
        tokio::select! {
            () = fault.death() => {}
            () = async {
                world.settled(SOON).await;
                world.apply(3, "devices/{id}/state");
                world.settled(SOON).await;
            } => {}
        }
    };
    let client = ClientBuilder::try_from(world.config().await).unwrap().with_layer(&fault).build();
    world.control(client, end).await;
    world.apply(3, "devices/{id}/state");
    (world.outcome().await, fault.count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_request_the_operator_ends_in_the_same_state() {
    let (expected, requests) = story(Cut::Never).await;
    assert!(requests >= 20, "{requests} requests: each child is read and written");
    // Beyond the requests of making a route, the change of one is as good as another.
    let mut cuts: Vec<_> = (0..requests).flat_map(|n| [Cut::Before(n), Cut::After(n)]).collect();
    cuts.truncate(60);
    for pair in cuts.chunks(4) {
        let stories = pair.iter().map(|cut| story(*cut));
        for (cut, (outcome, _)) in pair.iter().zip(futures::future::join_all(stories).await) {
            assert_eq!(outcome, expected, "{cut:?} of {requests}");
        }
    }
}
