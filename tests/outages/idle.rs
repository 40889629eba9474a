//! Where nothing changes, nothing is written.

use std::time::Duration;

use routemq_tests::{Request, ensure, eventually};

use crate::{
    bed::{Bed, OPERATOR, route},
    operated, turn,
};

const ROUTES: usize = 100;
/// Many pods and conditions, on a busy machine.
const SETTLED: Duration = Duration::from_mins(3);
const WATCHED: Duration = Duration::from_mins(2);

#[tokio::test]
async fn a_hundred_idle_routes_cost_no_write_but_the_elections_in_two_minutes() {
    let _turn = turn().await;
    let (bed, _operator) = operated().await;
    let all: Vec<_> = (0..ROUTES).map(|index| route(&format!("r{index}"), 1)).collect();
    bed.apply(&all.join("---\n"));
    eventually("all are rolled out", SETTLED, async || {
        let query = "jsonpath={range .items[*]}{.status.conditions[?(@.type==\"Progressing\")].reason}{\"\\n\"}{end}";
        let reasons = bed.kubectl(&["get", "mr", "--output", query])?;
        let done = reasons.lines().filter(|reason| *reason == "Complete").count();
        ensure(done == ROUTES, || format!("{done} of {ROUTES}"))
    })
    .await;
    quiet(&bed).await;
    let audit = bed.audit().from_now();
    // Not a wait for something: this is how long nothing may happen.
    tokio::time::sleep(WATCHED).await;
    let writes = audit.writes_of(OPERATOR);
    assert_eq!(of(&bed, &writes), Vec::<&Request>::new());
    let elections = writes.iter().filter(|request| request.name == "routemq-operator").count();
    assert!(elections >= 20, "{elections} renewals in {WATCHED:?}: it leads");
}

/// Waits for five seconds without a write: the last look at a route may still be under way when its status is there.
async fn quiet(bed: &Bed) {
    eventually("the operator rests", SETTLED, async || {
        let audit = bed.audit().from_now();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let writes = audit.writes_of(OPERATOR);
        ensure(of(bed, &writes).is_empty(), || format!("{writes:?}"))
    })
    .await;
}

fn of<'a>(bed: &Bed, writes: &'a [Request]) -> Vec<&'a Request> {
    writes.iter().filter(|request| request.namespace == bed.namespace).collect()
}
