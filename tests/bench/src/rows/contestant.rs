//! A subject and what feeds it, ready to be measured any number of times.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;

use crate::{
    error::{BenchError, Context as _},
    firehose::{Firehose, Pressure},
    frames::Traffic,
    subjects::{Kind, Order, Work, process::Subject},
};

/// Before the clock starts.
const WARM_UP: Duration = Duration::from_millis(300);

pub(super) const ROUTES: usize = 1000;
pub(super) const DEVICES: usize = 10;

/// What was measured.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// Messages a second.
    pub(super) rate: f64,
    /// Processor time of the subject for each, in nanoseconds.
    pub(super) nanos: f64,
}

impl Sample {
    /// So many messages, at so many nanoseconds of processor time in all.
    #[expect(clippy::cast_precision_loss, reason = "figures of a measurement")]
    pub(super) fn of(messages: u64, time: u64, took: Duration) -> Self {
        let (messages, time) = (messages as f64, time as f64);
        Self { rate: messages / took.as_secs_f64(), nanos: time / messages.max(1.0) }
    }
}

/// For what the test beds do in the background.
pub(super) fn runtime() -> Result<Runtime, BenchError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("no runtime")
}

/// A subject at a firehose.
#[derive(Debug)]
pub(super) struct Contestant {
    pub(super) subject: Subject,
    pub(super) firehose: Firehose,
    qos: u8,
}

/// What a contestant differs in from the usual.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) qos: u8,
    pub(super) window: u16,
    pub(super) pace: Option<Duration>,
    pub(super) processor: Option<usize>,
    pub(super) work: Work,
    pub(super) routes: usize,
}

impl Setting {
    pub(super) fn of(qos: u8, window: u16) -> Self {
        Self { qos, window, pace: None, processor: None, work: Work::Json, routes: ROUTES }
    }
}

pub(super) fn order(kind: Kind, port: u16, setting: Setting) -> Order {
    Order {
        kind,
        port,
        window: setting.window,
        qos: setting.qos,
        routes: setting.routes,
        keys: ROUTES * DEVICES,
        progress: progress_file(),
        processor: setting.processor,
        work: setting.work,
        database: None,
    }
}

/// A file of its own, in memory where the machine has such a folder.
fn progress_file() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("routemq-bench-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed)))
}

impl Contestant {
    pub(super) fn start(kind: Kind, setting: Setting) -> Result<Self, BenchError> {
        Self::start_as(kind, setting, None)
    }

    pub(super) fn start_with_database(
        kind: Kind,
        setting: Setting,
        database: String,
    ) -> Result<Self, BenchError> {
        Self::start_as(kind, setting, Some(database))
    }

    fn start_as(
        kind: Kind,
        setting: Setting,
        database: Option<String>,
    ) -> Result<Self, BenchError> {
        let traffic = Traffic { routes: ROUTES, devices: DEVICES, qos: setting.qos };
        let firehose = Firehose::start(Pressure {
            traffic,
            window: setting.window.into(),
            pace: setting.pace,
            processor: setting.processor,
        })?;
        let order = Order { database, ..order(kind, firehose.port(), setting) };
        Ok(Self { subject: Subject::start(&order)?, firehose, qos: setting.qos })
    }

    /// Messages a second over `span`, and what each cost. Afterwards everything is acknowledged.
    pub(super) fn measure(&self, span: Duration) -> Result<Sample, BenchError> {
        self.firehose.open();
        thread::sleep(WARM_UP);
        let (time, messages, started) = (self.subject.time(), self.count(), Instant::now());
        self.wait(span);
        let took = started.elapsed();
        let (time, messages) = (self.subject.time() - time, self.count() - messages);
        self.firehose.close()?;
        self.check()?;
        Ok(Sample::of(messages, time, took))
    }

    /// Somebody reads the metrics each second, as Prometheus would, if more often.
    fn wait(&self, span: Duration) {
        let deadline = Instant::now() + span;
        while Instant::now() < deadline {
            let _ = self.subject.scrape();
            let left = deadline.saturating_duration_since(Instant::now());
            thread::sleep(left.min(Duration::from_secs(1)));
        }
    }

    /// At QoS 0 what was handled counts, not what was written.
    fn count(&self) -> u64 {
        if self.qos == 0 { self.subject.progress().handled } else { self.firehose.acknowledged() }
    }

    /// Each message was handled once, those of a key in order. At QoS 0 a worker may drop.
    fn check(&self) -> Result<(), BenchError> {
        let sent = self.firehose.sent();
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut progress = self.subject.progress();
        while progress.handled < sent && self.qos > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
            progress = self.subject.progress();
        }
        let (handled, disorder) = (progress.handled, progress.disorder);
        let label = self.subject.kind.label();
        if disorder > 0 {
            return Err(BenchError::Wrong(format!("{label}: {disorder} messages out of order")));
        }
        if handled > sent || (self.qos > 0 && handled < sent) {
            return Err(BenchError::Wrong(format!("{label}: {handled} handled of {sent} sent")));
        }
        Ok(())
    }
}
