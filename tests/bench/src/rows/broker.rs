//! Through mosquitto, which is the limit: a worker must not add to it.

use std::{
    thread,
    time::{Duration, Instant},
};

use routemq_tests::{Mosquitto, MosquittoConfig, ensure, eventually};
use tokio::runtime::Runtime;

use super::contestant::{DEVICES, ROUTES, Sample, Setting, order, runtime};
use crate::{
    bars::Bar,
    error::BenchError,
    feeder::Feeder,
    frames::Traffic,
    options::Table,
    report::Row,
    rounds,
    subjects::{Kind, Order, process::Subject},
};

const WARM_UP: Duration = Duration::from_millis(200);
const SPAN: Duration = Duration::from_millis(500);
/// Plenty for imports and one subscription.
const PYTHON_START: Duration = Duration::from_mins(1);

/// A broker, what publishes to it, and who subscribes.
pub(super) struct Chain {
    _broker: Mosquitto,
    pub(super) subject: Subject,
    feeder: Feeder,
}

pub(super) fn all(table: &Table) -> Result<Vec<Row>, BenchError> {
    let runtime = runtime()?;
    (0..=2).map(|qos| one(table, &runtime, qos)).collect()
}

fn one(table: &Table, runtime: &Runtime, qos: u8) -> Result<Row, BenchError> {
    let kinds = [Kind::Worker, Kind::Raw];
    let setting = Setting::of(qos, table.window);
    let chain = |kind| Chain::start(kind, setting, None, runtime);
    let mut chains = kinds.into_iter().map(chain).collect::<Result<Vec<_>, _>>()?;
    let span = if table.quick { SPAN } else { 3 * SPAN };
    let once = || rounds::run(table.rounds(), &mut chains, |chain| chain.measure(span));
    let (rounds, noise) =
        rounds::steadily(once, |rounds| rounds.ratio(0, 1, |it: &Sample| it.rate))?;
    let ratio = rounds.ratio(0, 1, |it| it.rate);
    let mut row =
        Row::new("broker", format!("QoS {qos}: worker ÷ raw socket, through mosquitto"), ratio)
            .bar(Bar::at_least(0.97, 0.85));
    for (index, kind) in kinds.into_iter().enumerate() {
        row = row.note(super::firehose::figures(kind, index, &rounds));
    }
    row.notes.extend(noise);
    Ok(row)
}

impl Chain {
    pub(super) fn start(
        kind: Kind,
        setting: Setting,
        database: Option<String>,
        runtime: &Runtime,
    ) -> Result<Self, BenchError> {
        let extra = "log_type subscribe\n".to_owned();
        let config = MosquittoConfig { persistence: false, extra, ..MosquittoConfig::default() };
        let broker = runtime.block_on(Mosquitto::start(config));
        let order = Order { database, ..order(kind, broker.port(), setting) };
        let subject = Subject::start(&order)?;
        if kind == Kind::Python {
            runtime.block_on(subscribed(&broker));
        }
        let traffic = Traffic { routes: ROUTES, devices: DEVICES, qos: setting.qos };
        let feeder = Feeder::start(broker.port(), traffic, &order.progress)?;
        Ok(Self { _broker: broker, subject, feeder })
    }

    pub(super) fn measure(&self, span: Duration) -> Result<Sample, BenchError> {
        self.feeder.open();
        thread::sleep(WARM_UP);
        let handled = || self.subject.progress().handled;
        let (time, before, started) = (self.subject.time(), handled(), Instant::now());
        thread::sleep(span);
        let (took, messages) = (started.elapsed(), handled() - before);
        let time = self.subject.time() - time;
        self.feeder.close(handled)?;
        if self.subject.progress().disorder > 0 {
            return Err(BenchError::Wrong("messages of a key out of order".to_owned()));
        }
        Ok(Sample::of(messages, time, took))
    }
}

/// Waits until the broker has logged a subscription (`<client> <QoS> <filter>`) of the Python framework's filter.
async fn subscribed(broker: &Mosquitto) {
    eventually("the Python framework subscribes", PYTHON_START, async || {
        ensure(broker.log().contains(" site/+/+"), || "no subscription".to_owned())
    })
    .await;
}
