//! A worker as a user builds one in Rust: a table of many routes, a registry, metrics on.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use routemq_crds::{
    compile::{Limits, compile_within},
    table::Table,
    v1alpha1::MqttRoute,
};
use routemq_worker::{
    Message, Next, Outcome, Registry, Secrets,
    extract::{Json, State},
    http::Probes,
    middleware::from_fn,
    run::{Loaded, RunSettings, Running},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Order, Tally, Work, say_ready};
use crate::{
    error::{BenchError, Context as _, sentence},
    frames::FIRST_SEQUENCE,
};

/// What a device says; all of it is read.
#[derive(Debug, Deserialize)]
struct Reading {
    sequence: u64,
    key: usize,
    temperature: f64,
    humidity: f64,
    battery: u8,
    status: Status,
}

/// Text that is looked at and not kept.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Failed,
}

/// Routes of the table that is exchanged under load.
const SWAPPED_ROUTES: usize = 50_000;
/// What one route alone takes: the topics of all.
const ALL: &str = "{route}";
const SLOW: Duration = Duration::from_secs(5);

pub(super) fn run(order: &Order, tally: &Arc<Tally>) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("no runtime")?.block_on(serve(order, tally))
}

async fn serve(order: &Order, tally: &Arc<Tally>) -> Result<(), BenchError> {
    let settings = settings(order, tally)?;
    let monitor = settings.monitor.clone();
    let probes = Probes::start(SocketAddr::from(([127, 0, 0, 1], 0)), monitor).await;
    let probes = probes.context("no port for metrics")?;
    let first = load(order, 0)?;
    let started = Running::start(vec![first], settings).await;
    let mut running = started.map_err(|error| BenchError::Wrong(sentence(&error)))?;
    running.settled().await;
    say_ready(Some(probes.address().port()));
    let mut generation = 0;
    loop {
        if order.work != Work::Swap {
            std::future::pending::<()>().await;
        }
        generation += 1;
        let next = load(order, generation)?;
        running.apply(vec![next]).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn settings(order: &Order, tally: &Arc<Tally>) -> Result<RunSettings, BenchError> {
    let url = format!("mqtt://127.0.0.1:{}", order.port);
    let broker = url.parse().map_err(|_| BenchError::Wrong(format!("{url} is no URL")))?;
    let registry = Registry::new()
        .state(Counted(Arc::clone(tally)))
        .middleware("pass", from_fn(pass))
        .handler("take", take)
        .handler("take-slowly", take_slowly);
    Ok(RunSettings { registry, database: order.database.clone(), ..RunSettings::new(broker) })
}

/// A `State` of the program's own.
#[derive(Debug)]
struct Counted(Arc<Tally>);

/// A step of one's own, as one that looks at who sends would be.
async fn pass(message: Message, next: Next) -> Outcome {
    if message.topic().is_empty() {
        return Outcome::Dropped("Empty");
    }
    next.run(message).await
}

async fn take(Json(reading): Json<Reading>, State(counted): State<Counted>) {
    note(&reading, &counted);
}

/// One message in a thousand, each of another key: what stands behind it waits, and nothing else does.
pub(crate) fn is_slow(index: u64) -> bool {
    index.is_multiple_of(1001)
}

async fn take_slowly(Json(reading): Json<Reading>, State(counted): State<Counted>) {
    if is_slow(reading.sequence - FIRST_SEQUENCE) {
        tokio::time::sleep(SLOW).await;
    }
    note(&reading, &counted);
}

fn note(reading: &Reading, counted: &Counted) {
    let plausible = reading.temperature.is_finite()
        && reading.humidity.is_finite()
        && reading.battery <= 100
        && matches!(reading.status, Status::Ok);
    if plausible {
        counted.0.note(reading.key, reading.sequence);
    }
}

/// How long it takes to compile so many routes.
pub(super) fn compiled(routes: usize) -> Result<Duration, BenchError> {
    let mut object = object(Work::Json, routes, 1000, 0)?;
    let topic = Some("dead/{route}".to_owned());
    let delivery = object.spec.delivery.get_or_insert_default();
    delivery.dead_letter = serde_json::from_value(json!({"topic": topic})).ok();
    let started = Instant::now();
    compile(&object)?;
    Ok(started.elapsed())
}

fn compile(object: &MqttRoute) -> Result<Table, BenchError> {
    let limits = Limits { routes: usize::MAX, ..Limits::default() };
    compile_within(object, limits).map_err(|problems| {
        BenchError::Wrong(problems.first().map(ToString::to_string).unwrap_or_default())
    })
}

/// The table, as an object that was compiled.
fn load(order: &Order, generation: i64) -> Result<Loaded, BenchError> {
    let routes = if order.work == Work::Swap { SWAPPED_ROUTES } else { order.routes };
    let object = object(order.work, routes, order.window, generation)?;
    let table = compile(&object)?;
    Ok(Loaded { written: (&object).into(), table, secrets: Secrets::default() })
}

fn object(
    work: Work,
    routes: usize,
    window: u16,
    generation: i64,
) -> Result<MqttRoute, BenchError> {
    let first_level = |index: usize| if routes == 1 { ALL.to_owned() } else { index.to_string() };
    let routes: Vec<Value> =
        (0..routes).map(|index| route(work, index, &first_level(index))).collect();
    let concurrency = match work {
        Work::Json | Work::Swap => 64,
        Work::Slow | Work::Brisk => 256,
        Work::Rows => 4096,
    };
    let object = json!({
        "apiVersion": "routemq.io/v1alpha1", "kind": "MqttRoute",
        "metadata": {"name": "bench", "namespace": "bench", "generation": generation},
        "spec": {
            "groups": [{"name": "site", "prefix": "site", "middleware": middleware(generation)}],
            "routes": routes,
            "delivery": {"receiveMaximum": window, "concurrency": concurrency},
        },
    });
    serde_json::from_value(object).map_err(|error| BenchError::Wrong(error.to_string()))
}

/// Three steps, as a fleet would have them; the log's level is off, as it is where messages come by the thousand.
fn middleware(generation: i64) -> Value {
    let limit = 1_000_000 - generation % 2;
    json!([
        {"log": {"level": "debug"}},
        {"rateLimit": {"limit": limit, "perSeconds": 1}},
        {"custom": {"name": "pass"}},
    ])
}

fn route(work: Work, index: usize, first_level: &str) -> Value {
    let handlers = match work {
        Work::Rows => json!([{"sql": {
            "table": "readings",
            "columns": {
                "device": "params.device", "sequence": "payload.sequence",
                "temperature": "payload.temperature", "status": "payload.status",
            },
        }}, {"custom": {"name": "take"}}]),
        Work::Slow => json!([{"custom": {"name": "take-slowly"}}]),
        Work::Json | Work::Swap | Work::Brisk => json!([{"custom": {"name": "take"}}]),
    };
    json!({"name": format!("r{index}"), "group": "site", "topic": format!("{first_level}/{{device}}"), "handlers": handlers})
}
