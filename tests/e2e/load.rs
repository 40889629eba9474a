//! A steady publisher, independent of the workers: one connection, each message counted when the broker has acknowledged it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use routemq_tests::{Client, ClientConfig};
use tokio::{runtime, time::interval};

use crate::bed::Bed;

/// Devices that report in turn.
const DEVICES: u64 = 50;
const TICK: Duration = Duration::from_millis(20);

/// Publishes until told to stop, on a thread of its own: a test waits for kubectl on the one that it has.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: JoinHandle<u64>,
}

impl Load {
    /// Readings with the numbers 0, 1, 2 … at QoS 1, so many a second.
    pub(crate) fn start(bed: &Bed, per_second: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (broker, namespace, stopped) =
            (bed.cluster.broker(), bed.namespace.clone(), Arc::clone(&stop));
        let sent = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let id = format!("load-{namespace}");
                let client = Client::connect(broker, ClientConfig::new(id)).await;
                publish(client, &namespace, per_second, &stopped).await
            })
        });
        Self { stop, sent }
    }

    /// How many the broker has acknowledged.
    pub(crate) fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.sent.join().expect("the publisher keeps its connection")
    }
}

async fn publish(mut client: Client, namespace: &str, per_second: u64, stop: &AtomicBool) -> u64 {
    let mut ticks = interval(TICK);
    let at_once = per_second / 50;
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let message =
            |number| (format!("{namespace}/d-{}/reading", number % DEVICES), payload(number));
        client.publish_all((next..next + at_once).map(message), 100).await;
        next += at_once;
    }
    next
}

/// What a device reports.
pub(crate) fn payload(number: u64) -> String {
    format!("{{\"id\": {number}}}")
}
