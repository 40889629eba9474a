//! The API server is away, hangs, or has nothing behind it.

use std::time::{Duration, Instant};

use routemq_tests::Signal;

use crate::{CONVERGED, answers, bed::route, carried_out, gauge, operated, rolled_out, turn};

/// The trust in the own leadership (10 s), and a little for the machine.
const STEPPED_DOWN: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_api_server_that_is_killed_and_restarted_is_followed_within_half_a_minute() {
    let _turn = turn().await;
    let (bed, operator) = operated().await;
    bed.apply(&route("devices", 1));
    rolled_out(&bed, "devices").await;
    bed.plane.component("kill", "kube-apiserver");
    bed.plane.component("start", "kube-apiserver");
    answers(&bed).await;
    bed.apply(&route("sensors", 1));
    bed.kubectl(&["scale", "mqttroute/devices", "--replicas=3"]).unwrap();
    carried_out(&bed, "sensors", 1).await;
    carried_out(&bed, "devices", 3).await;
    drop(operator);
}

#[tokio::test]
async fn an_api_server_away_for_a_minute_costs_the_lead_and_nothing_else() {
    let _turn = turn().await;
    let (bed, operator) = operated().await;
    bed.apply(&route("devices", 1));
    rolled_out(&bed, "devices").await;
    bed.plane.component("stop", "kube-apiserver");
    let away = Instant::now();
    gauge(&operator, 0.0, STEPPED_DOWN).await;
    tokio::time::sleep(Duration::from_mins(1).saturating_sub(away.elapsed())).await;
    assert_eq!(operator.get("/livez").await.unwrap().status, 200, "a restart would mend nothing");
    bed.plane.component("start", "kube-apiserver");
    answers(&bed).await;
    bed.kubectl(&["scale", "mqttroute/devices", "--replicas=2"]).unwrap();
    carried_out(&bed, "devices", 2).await;
    gauge(&operator, 1.0, CONVERGED).await;
}

#[tokio::test]
async fn an_etcd_that_hangs_costs_the_lead_until_it_answers_again() {
    let _turn = turn().await;
    let (bed, operator) = operated().await;
    bed.plane.component("pause", "etcd");
    gauge(&operator, 0.0, STEPPED_DOWN).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(operator.get("/livez").await.unwrap().status, 200);
    bed.plane.component("resume", "etcd");
    answers(&bed).await;
    bed.apply(&route("devices", 1));
    carried_out(&bed, "devices", 1).await;
    gauge(&operator, 1.0, CONVERGED).await;
}

#[tokio::test]
async fn an_api_server_that_hangs_for_half_a_minute_is_followed_again() {
    let _turn = turn().await;
    let (bed, operator) = operated().await;
    bed.apply(&route("devices", 1));
    rolled_out(&bed, "devices").await;
    bed.plane.component("pause", "kube-apiserver");
    gauge(&operator, 0.0, STEPPED_DOWN).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    bed.plane.component("resume", "kube-apiserver");
    answers(&bed).await;
    bed.kubectl(&["scale", "mqttroute/devices", "--replicas=2"]).unwrap();
    carried_out(&bed, "devices", 2).await;
    gauge(&operator, 1.0, CONVERGED).await;
}

#[tokio::test]
async fn an_operator_that_is_stopped_while_the_api_server_hangs_ends_within_its_grace_period() {
    let _turn = turn().await;
    let (bed, mut operator) = operated().await;
    bed.plane.component("pause", "kube-apiserver");
    operator.process.signal(Signal::TERM);
    let exit = operator.process.exit(Duration::from_secs(30)).await;
    bed.plane.component("resume", "kube-apiserver");
    assert!(exit.success(), "{exit}: {}", operator.process.output());
}
