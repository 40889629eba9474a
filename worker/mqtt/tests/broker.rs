//! The session and the publisher against a real mosquitto.

mod support;

use routemq_mqtt::{End, FilterState, QoS};
use support::{Listener, SOON, config, filter, mosquitto::Mosquitto};

#[tokio::test]
async fn a_shared_filter_is_granted_and_settled_by_the_barrier() {
    let broker = Mosquitto::start().await;
    let worker = Listener::eager(config(broker.port, "worker"));
    worker.handle.subscribe_to(vec![filter("$share/g/a/+", QoS::AtLeastOnce, 7)]).await;
    let status = worker
        .status("settled", |status| {
            let granted = FilterState::Granted { qos: QoS::AtLeastOnce, settled: true };
            status.filters.get("$share/g/a/+") == Some(&granted)
        })
        .await;
    assert!(!status.no_barrier);
    let sender = Listener::eager(config(broker.port, "sender"));
    drop(sender);
    worker.handle.barrier().await;
    assert_eq!(worker.payloads(), [""; 0], "a barrier message was handed over");
    worker.handle.stop(End::Keep, SOON).await;
}
