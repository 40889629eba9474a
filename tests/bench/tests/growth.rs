//! What a message costs in allocations, from the socket to its acknowledgement: the same on every machine, so that
//! what grows with the table or with the lanes is found where a clock would only waver.
//!
//! A program of its own (no harness): the allocator counts everything that happens in it.

#![allow(clippy::disallowed_methods, reason = "it looks now and then, on a thread of its own")]

#[allow(dead_code, unused_imports, reason = "the growth test needs less of it")]
#[path = "../src/cpu.rs"]
mod cpu;
#[allow(dead_code, unused_imports, reason = "the growth test needs less of it")]
#[path = "../src/error.rs"]
mod error;
#[allow(dead_code, unused_imports, reason = "the growth test needs less of it")]
#[path = "../src/firehose/mod.rs"]
mod firehose;
#[allow(dead_code, unused_imports, reason = "the growth test needs less of it")]
#[path = "../src/frames.rs"]
mod frames;

use std::{
    alloc::System,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use routemq_crds::{
    compile::{Limits, compile_within},
    v1alpha1::MqttRoute,
};
use routemq_worker::{
    Secrets,
    run::{Loaded, RunSettings, Running},
};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use self::{
    firehose::{Firehose, Pressure},
    frames::Traffic,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NAME: &str = "a_message_allocates_little_and_no_more_with_more_routes_or_lanes";
/// Of a message that is logged or published.
const MOST: f64 = 3.0;
/// What batches of another size may make of it.
const SLACK: f64 = 0.5;
const WINDOW: u64 = 2000;
const WARM_UP: u64 = 50_000;
const MEASURED: u64 = 50_000;
/// What happens once (the filters that a session holds are remembered with the broker, for one) falls into one of them:
/// the least counts.
const STRETCHES: usize = 3;
const PATIENCE: Duration = Duration::from_mins(2);

type Failure = Box<dyn std::error::Error>;

/// What is measured.
#[derive(Clone, Copy, Debug)]
struct Case {
    routes: usize,
    concurrency: usize,
    handler: Handler,
}

#[derive(Clone, Copy, Debug)]
enum Handler {
    Log,
    Publish,
}

fn main() -> ExitCode {
    let filter = std::env::args().skip(1).find(|it| !it.starts_with('-'));
    if filter.is_some_and(|filter| !NAME.contains(&filter))
        || std::env::args().any(|it| it == "--list")
    {
        return ExitCode::SUCCESS;
    }
    match grow() {
        Ok(()) => {
            println!("test {NAME} ... ok");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("test {NAME} ... FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn grow() -> Result<(), Failure> {
    let log =
        |routes, concurrency| per_message(Case { routes, concurrency, handler: Handler::Log });
    let least = log(1, 64)?;
    for (what, allocations) in [
        ("1,000 routes", log(1000, 64)?),
        ("100,000 routes", log(100_000, 64)?),
        ("one lane", log(1000, 1)?),
    ] {
        if allocations > least + SLACK {
            return Err(format!(
                "{allocations:.2} allocations a message at {what}, {least:.2} at one route"
            )
            .into());
        }
    }
    per_message(Case { routes: 1000, concurrency: 64, handler: Handler::Publish })?;
    Ok(())
}

/// Allocations for each message, once everything has its size; an error where they are too many.
fn per_message(case: Case) -> Result<f64, Failure> {
    let traffic = Traffic { routes: case.routes.min(1000), devices: 10, qos: 1 };
    let (pace, processor) = (None, None);
    let firehose = Firehose::start(Pressure { traffic, window: WINDOW, pace, processor })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let url = format!("mqtt://127.0.0.1:{}", firehose.port());
    let running = runtime.block_on(async {
        let settings = RunSettings { drain: Duration::ZERO, ..RunSettings::new(url.parse()?) };
        let running = Running::start(vec![load(case)?], settings).await?;
        running.settled().await;
        Ok::<_, Failure>(running)
    })?;
    firehose.open();
    reach(&firehose, WARM_UP)?;
    let mut each = f64::INFINITY;
    for _ in 0..STRETCHES {
        each = each.min(stretch(&firehose)?);
    }
    firehose.close()?;
    runtime.block_on(running.stop());
    println!("{case:?}: {each:.2} allocations a message");
    if each > MOST {
        return Err(format!("{each:.2} allocations a message, more than {MOST}: {case:?}").into());
    }
    Ok(each)
}

/// Allocations for each of the next messages.
fn stretch(firehose: &Firehose) -> Result<f64, Failure> {
    let (region, before) = (Region::new(ALLOCATOR), firehose.acknowledged());
    reach(firehose, before + MEASURED)?;
    let (change, after) = (region.change(), firehose.acknowledged());
    #[expect(clippy::cast_precision_loss, reason = "counts of a measurement")]
    let each = change.allocations as f64 / (after - before) as f64;
    Ok(each)
}

fn reach(firehose: &Firehose, messages: u64) -> Result<(), Failure> {
    let started = Instant::now();
    while firehose.acknowledged() < messages {
        firehose.check()?;
        if started.elapsed() > PATIENCE {
            return Err(format!("{} of {messages} acknowledged", firehose.acknowledged()).into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn load(case: Case) -> Result<Loaded, Failure> {
    let handler = match case.handler {
        Handler::Log => json!({"log": {"level": "debug"}}),
        Handler::Publish => json!({"publish": {"topic": "out/{device}", "payload": "'seen'"}}),
    };
    let route = |index: usize| -> Value {
        json!({"name": format!("r{index}"), "topic": format!("site/{index}/{{device}}"), "handlers": [&handler]})
    };
    let routes: Vec<Value> = (0..case.routes).map(route).collect();
    let object: MqttRoute = serde_json::from_value(json!({
        "apiVersion": "routemq.io/v1alpha1", "kind": "MqttRoute",
        "metadata": {"name": "growth", "namespace": "bench"},
        "spec": {
            "routes": routes,
            "delivery": {"receiveMaximum": WINDOW, "concurrency": case.concurrency},
        },
    }))?;
    let limits = Limits { routes: usize::MAX, ..Limits::default() };
    let table = compile_within(&object, limits).map_err(|problems| problems[0].to_string())?;
    Ok(Loaded { written: (&object).into(), table, secrets: Secrets::default() })
}
