//! Publishes at a steady rate and journals what the broker says. It shares nothing with the workers but the codec.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    time::Duration,
};

use routemq_tests::{ClientConfig, Feeder};
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use crate::journal::{Journal, value};

const TICK: Duration = Duration::from_millis(10);
/// What is not sent within this time is not made up for.
const MADE_UP: Duration = Duration::from_millis(500);
/// Without an answer at a time, at most.
const WINDOW: usize = 2000;
/// The last answers, and what nobody got, may take so long.
const LAST: Duration = Duration::from_mins(1);

/// A running publisher.
#[derive(Debug)]
pub(crate) struct Publisher {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

struct Load {
    address: SocketAddr,
    rate: u64,
    paid: Instant,
    journal: Journal,
    stopped: watch::Receiver<bool>,
    /// Nobody got them: to be sent again.
    again: VecDeque<u64>,
}

impl Publisher {
    /// `rate` messages a second, from now on.
    pub(crate) fn start(address: SocketAddr, journal: Journal, rate: u64) -> Self {
        let stop = watch::Sender::new(false);
        let load = Load {
            address,
            rate,
            paid: Instant::now(),
            journal,
            stopped: stop.subscribe(),
            again: VecDeque::new(),
        };
        Self { task: tokio::spawn(load.run()), stop }
    }

    /// Sends nothing new, and returns when every message has its answer or none to hope for.
    pub(crate) async fn finish(mut self) {
        self.stop.send_replace(true);
        if timeout(LAST, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Load {
    async fn run(mut self) {
        loop {
            let client = ClientConfig::new("soak-publisher");
            let Ok(feeder) = Feeder::connect(self.address, client).await else {
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let mut open = HashMap::new();
            let ended = self.feed(feeder, &mut open).await;
            for id in open.into_values() {
                self.journal.unknown(id);
            }
            if ended.is_ok() {
                return;
            }
        }
    }

    /// Until everything is answered after a stop (`Ok`), or the connection breaks.
    async fn feed(&mut self, mut feeder: Feeder, open: &mut HashMap<u16, u64>) -> io::Result<()> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        self.paid = Instant::now();
        while !(*self.stopped.borrow() && open.is_empty() && self.again.is_empty()) {
            tokio::select! {
                _ = tick.tick() => {
                    self.publish(&mut feeder, open);
                    feeder.flush().await?;
                }
                answer = feeder.answer() => self.take(answer?, open),
            }
        }
        Ok(())
    }

    fn publish(&mut self, feeder: &mut Feeder, open: &mut HashMap<u16, u64>) {
        for _ in 0..self.due() {
            if open.len() >= WINDOW {
                return;
            }
            let id = match self.again.pop_front() {
                Some(id) => {
                    self.journal.again(id);
                    id
                }
                None if *self.stopped.borrow() => return,
                None => self.journal.next(),
            };
            let payload = format!("{{\"value\": {}}}", value(id));
            open.insert(feeder.publish(&self.journal.topic(id), payload), id);
        }
    }

    /// How many messages the rate asks for now.
    fn due(&mut self) -> u64 {
        let now = Instant::now();
        self.paid = self.paid.max(now.checked_sub(MADE_UP).unwrap_or(now));
        let due = (now - self.paid).as_micros() * u128::from(self.rate) / 1_000_000;
        let due = u64::try_from(due).expect("half a second at 20,000 a second");
        self.paid += Duration::from_micros(due * 1_000_000 / self.rate);
        due
    }

    fn take(&mut self, (packet, reason): (u16, PubAckReason), open: &mut HashMap<u16, u64>) {
        let Some(id) = open.remove(&packet) else { return };
        match reason {
            PubAckReason::Success => self.journal.answered(id, true),
            PubAckReason::NoMatchingSubscribers => {
                self.journal.answered(id, false);
                self.again.push_back(id);
            }
            refused => panic!("the broker refuses a message of the publisher: {refused:?}"),
        }
    }
}
