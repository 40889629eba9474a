//! QoS 2: the worker is killed, or its connection, at each step of a message's way.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use routemq_tests::{
    Broker, Client, Database, Direction, Frame, PATIENCE, Proxy, TABLE, Verdict, WorkerConfig,
    WorkerProcess, ensure, eventually,
};
use rumqttc::v5::mqttbytes::QoS;

use crate::{ADD_KEY, keyed};

/// Where the connection breaks.
#[derive(Debug)]
struct Step {
    name: &'static str,
    direction: Direction,
    kind: u8,
    verdict: Verdict,
}

const fn step(name: &'static str, direction: Direction, kind: u8, verdict: Verdict) -> Step {
    Step { name, direction, kind, verdict }
}

static STEPS: [Step; 6] = [
    step("after PUBLISH", Direction::ToClient, Frame::PUBLISH, Verdict::CutAfter),
    step("after the commit", Direction::ToBroker, Frame::PUBREC, Verdict::CutBefore),
    step("after PUBREC", Direction::ToBroker, Frame::PUBREC, Verdict::CutAfter),
    step("before PUBREL", Direction::ToClient, Frame::PUBREL, Verdict::CutBefore),
    step("after PUBREL", Direction::ToClient, Frame::PUBREL, Verdict::CutAfter),
    step("before PUBCOMP", Direction::ToBroker, Frame::PUBCOMP, Verdict::CutBefore),
];

/// What the proxy saw, and what it does next.
#[derive(Debug, Default)]
struct Seen {
    /// Where the connection breaks the next time.
    trap: Mutex<Option<&'static Step>>,
    /// PUBCOMPs on their way to the broker.
    completed: AtomicUsize,
    /// Packets of QoS 2, both ways.
    packets: AtomicUsize,
}

impl Seen {
    fn judge(&self, direction: Direction, frame: &Frame) -> Verdict {
        if !(is_reading(frame) || (5..=7).contains(&frame.kind())) {
            return Verdict::Pass;
        }
        self.packets.fetch_add(1, SeqCst);
        let at = (direction, frame.kind());
        let trap = self.trap.lock().unwrap().take_if(|step| (step.direction, step.kind) == at);
        if let Some(step) = trap {
            return step.verdict;
        }
        if at == (Direction::ToBroker, Frame::PUBCOMP) {
            self.completed.fetch_add(1, SeqCst);
        }
        Verdict::Pass
    }

    fn completed(&self) -> usize {
        self.completed.load(SeqCst)
    }
}

fn is_reading(frame: &Frame) -> bool {
    frame.topic().is_some_and(|topic| topic.starts_with(b"readings/"))
}

/// A broker behind a proxy that breaks the connection when a message comes to a step, a worker and its database.
struct Bed {
    publisher: Client,
    seen: Arc<Seen>,
    database: Database,
    worker: WorkerProcess,
    _broker: (Broker, Proxy),
}

impl Bed {
    async fn start(broker: Broker) -> Self {
        let database = Database::mariadb().await;
        database.rows().execute(TABLE).await;
        database.rows().execute(ADD_KEY).await;
        let seen = Arc::new(Seen::default());
        let own = Arc::clone(&seen);
        let judge = move |_, direction, frame: &Frame| own.judge(direction, frame);
        let proxy = Proxy::tapped(broker.address(), judge).await;
        let worker = WorkerProcess::run(&WorkerConfig {
            routes: keyed("").replace("topic: \"readings", "qos: 2\n      topic: \"readings"),
            broker: Some(proxy.url()),
            database: Some(database.url()),
            ..WorkerConfig::default()
        });
        told_subscribed(&worker).await;
        let publisher = broker.client("publisher").await;
        Self { publisher, seen, database, worker, _broker: (broker, proxy) }
    }

    async fn publish(&mut self, id: usize) {
        let topic = format!("readings/d/{id}");
        self.publisher.publish(&topic, "{\"value\": 1}", QoS::ExactlyOnce).await;
    }

    /// Waits until the message has its row, and all messages so far are through.
    async fn is_through(&self, name: &str, id: usize, completed: usize) {
        let own = format!("SELECT COUNT(*) FROM readings WHERE id = {id}");
        eventually(name, PATIENCE, async || {
            let seen = (self.database.rows().count(&own).await, self.seen.completed());
            ensure(seen == (1, completed), || {
                format!("(rows, completed) is {seen:?}\n{}", self.worker.output())
            })
        })
        .await;
    }

    /// A message on whose way the connection breaks, and with it (or not) the worker; then one without.
    async fn break_at(&mut self, step: &'static Step, id: usize, kills: bool) {
        let (completed, packets) = (self.seen.completed(), self.seen.packets.load(SeqCst));
        *self.seen.trap.lock().unwrap() = Some(step);
        self.publish(id).await;
        eventually(step.name, PATIENCE, async || {
            let waits = self.seen.trap.lock().unwrap().is_some();
            ensure(!waits, || "the step was not reached".to_owned())
        })
        .await;
        if kills {
            self.worker.restart();
        }
        self.is_through(step.name, id, completed + 1).await;
        let packets = self.seen.packets.load(SeqCst) - packets;
        assert!(packets <= 10, "{}: {packets} packets for one message", step.name);
        self.publish(id + 1).await;
        self.is_through(step.name, id + 1, completed + 2).await;
    }
}

async fn told_subscribed(worker: &WorkerProcess) {
    eventually("the worker subscribes", PATIENCE, async || {
        let output = worker.output();
        ensure(output.contains("subscribed"), || output)
    })
    .await;
}

async fn at_each_step(broker: Broker, kills: bool) {
    let mut bed = Bed::start(broker).await;
    for (i, step) in STEPS.iter().enumerate() {
        bed.break_at(step, 10 * i, kills).await;
    }
    let rows = bed.database.rows().count("SELECT COUNT(*) FROM readings").await;
    assert_eq!(rows, 2 * i64::try_from(STEPS.len()).unwrap());
}

#[tokio::test]
async fn qos_2_cut_at_each_step_is_one_row_and_goes_on() {
    at_each_step(Broker::mosquitto().await, false).await;
}

#[tokio::test]
async fn qos_2_cut_at_each_step_is_one_row_and_goes_on_on_rmqtt() {
    at_each_step(Broker::rmqtt().await, false).await;
}

#[tokio::test]
async fn qos_2_with_the_worker_killed_at_each_step_is_one_row_and_goes_on() {
    at_each_step(Broker::mosquitto().await, true).await;
}

#[tokio::test]
async fn qos_2_with_the_worker_killed_at_each_step_is_one_row_and_goes_on_on_rmqtt() {
    at_each_step(Broker::rmqtt().await, true).await;
}
