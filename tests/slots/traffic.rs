//! What goes in, and what comes out, counted by clients of their own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use routemq_tests::{Client, ClientConfig, Mosquitto, ensure, eventually};
use rumqttc::v5::mqttbytes::QoS;
use tokio::{sync::watch, task::JoinHandle};

/// Publishes numbers to `devices/<0 to 9>/status`, at a rate, and collects them from `done/#`.
pub(crate) struct Traffic {
    stop: watch::Sender<bool>,
    publisher: JoinHandle<usize>,
    collector: JoinHandle<()>,
    seen: Arc<Mutex<BTreeMap<usize, usize>>>,
}

impl Traffic {
    /// `per_second` is met as well as the broker takes it.
    pub(crate) async fn start(broker: &Mosquitto, per_second: usize) -> Self {
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let mut client = broker.client("collector").await;
        client.subscribe("done/#", QoS::AtLeastOnce).await;
        let collector = tokio::spawn(collect(client, Arc::clone(&seen)));
        let stop = watch::Sender::new(false);
        let client = broker.client("load").await;
        let publisher = tokio::spawn(publish(client, per_second, stop.subscribe()));
        Self { stop, publisher, collector, seen }
    }

    /// How many different ones have come.
    pub(crate) fn arrived(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Waits until so many more have come.
    pub(crate) async fn flows(&self, more: usize, patience: Duration) {
        let target = self.arrived() + more;
        eventually("messages flow", patience, async || {
            let arrived = self.arrived();
            ensure(arrived >= target, || format!("{arrived} of {target}"))
        })
        .await;
    }

    /// Stops publishing, waits until all of it has come: how many were published, and how many came again.
    pub(crate) async fn finish(self, patience: Duration) -> (usize, usize) {
        self.stop.send_replace(true);
        let published = self.publisher.await.unwrap();
        eventually("everything arrives", patience, async || {
            let arrived = self.seen.lock().unwrap().len();
            ensure(arrived == published, || format!("{arrived} of {published}"))
        })
        .await;
        self.collector.abort();
        let _ = self.collector.await;
        let times: usize = self.seen.lock().unwrap().values().sum();
        (published, times - published)
    }
}

async fn publish(mut client: Client, per_second: usize, stop: watch::Receiver<bool>) -> usize {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let (mut published, batch) = (0, per_second.div_ceil(50));
    while !*stop.borrow() {
        tick.tick().await;
        let messages = published..published + batch;
        let topics = messages.map(|n| (format!("devices/{}/status", n % 10), n.to_string()));
        client.publish_all(topics, 100).await;
        published += batch;
    }
    client.disconnect().await;
    published
}

async fn collect(mut client: Client, seen: Arc<Mutex<BTreeMap<usize, usize>>>) {
    loop {
        if let Some(received) = client.receive(Duration::from_secs(1)).await {
            let number = received.text().parse().expect("a number comes back as it was");
            *seen.lock().unwrap().entry(number).or_default() += 1;
        }
    }
}

/// How many sessions the broker has, once that is as many as wanted: every client but the one that asks.
pub(crate) async fn sessions(broker: &Mosquitto, wanted: usize, patience: Duration) {
    let mut asking = Client::connect(broker.address(), ClientConfig::new("asking")).await;
    asking.subscribe("$SYS/broker/clients/total", QoS::AtMostOnce).await;
    let mut last = None;
    let counted = tokio::time::timeout(patience, async {
        while last != Some(wanted) {
            if let Some(total) = asking.receive(Duration::from_secs(5)).await {
                last = Some(total.text().parse::<usize>().expect("a number").saturating_sub(1));
            }
        }
    });
    let counted = counted.await;
    assert!(counted.is_ok(), "{last:?} sessions, not {wanted}:\n{}", broker.log());
    asking.disconnect().await;
}
