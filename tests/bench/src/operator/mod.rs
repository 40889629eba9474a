//! The operator with thousands of `MqttRoute`s, on a real control plane (tests/cluster).

mod api;
mod process;

use std::{
    collections::VecDeque,
    thread,
    time::{Duration, Instant},
};

use routemq_tests::ControlPlane;
use serde_json::{Value, json};

use self::{api::Api, process::Operator};
use crate::{
    bars::Bar,
    error::BenchError,
    report::Row,
    statistics::{Spread, percentile},
};

const NAMESPACE: &str = "bench";
const PATIENCE: Duration = Duration::from_mins(10);
/// Clients that create objects at the same time.
const CLIENTS: usize = 4;
/// Changes whose way into the status is timed.
const CHANGES: usize = 100;
const PACE: Duration = Duration::from_millis(100);
/// Nothing may be written for so long after a restart.
const CALM: Duration = Duration::from_secs(5);

/// Measures with each number of objects, one after the other.
pub(crate) fn rows(counts: &[usize]) -> Result<Vec<Row>, BenchError> {
    let plane = ControlPlane::shared();
    let api = Api::start(plane)?;
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    api.post("/api/v1/namespaces", &namespace)?;
    let (mut rows, mut before) = (Vec::new(), 0);
    for &count in counts {
        let operator = Operator::start(plane)?;
        rows.extend(converge(&api, &operator, before..count)?);
        rows.push(change(&api, count)?);
        rows.push(memory(&operator, count));
        drop(operator);
        rows.extend(restart(plane, count)?);
        before = count;
    }
    Ok(rows)
}

fn converge(
    api: &Api,
    operator: &Operator,
    objects: std::ops::Range<usize>,
) -> Result<Vec<Row>, BenchError> {
    let (count, created, started) = (objects.end, objects.len(), Instant::now());
    let before = operator.done().writes;
    let numbers: Vec<usize> = objects.collect();
    thread::scope(|scope| {
        let clients = numbers.chunks(numbers.len().div_ceil(CLIENTS).max(1));
        let create = |numbers: &[usize]| {
            numbers.iter().try_for_each(|it| api.post(&path(""), &object(*it)).map(drop))
        };
        let clients: Vec<_> = clients.map(|own| scope.spawn(move || create(own))).collect();
        clients.into_iter().try_for_each(|it| it.join().unwrap_or_else(|_| Err(panicked())))
    })?;
    wait(|| Ok(seen(api)? >= count))?;
    let took = started.elapsed().as_secs_f64();
    let writes = operator.done().writes - before;
    #[expect(clippy::cast_precision_loss, reason = "a number of objects")]
    let each = writes / created.max(1) as f64;
    Ok(vec![
        Row::new(
            "operator",
            format!("{count} MqttRoutes: until the last has its status ({created} new)"),
            Spread::of(&[took]),
        )
        .unit(" s"),
        Row::new(
            "operator",
            format!("{count} MqttRoutes: writes for each new one"),
            Spread::of(&[each]),
        ),
    ])
}

/// From the answer to a change until the status speaks of it, ten changes a second.
fn change(api: &Api, count: usize) -> Result<Row, BenchError> {
    let (mut times, mut waiting) = (Vec::new(), VecDeque::new());
    let started = Instant::now();
    for change in 0..CHANGES {
        let number = change * count / CHANGES;
        let due = PACE * u32::try_from(change).unwrap_or(0);
        while started.elapsed() < due {
            look(api, &mut waiting, &mut times)?;
        }
        let seconds = 31 + change % 100;
        let answer = api.patch(
            &path(&name(number)),
            &json!({"spec": {"delivery": {"timeoutSeconds": seconds}}}),
        )?;
        waiting.push_back((number, generation(&parse(&answer)?), Instant::now()));
    }
    wait(|| {
        look(api, &mut waiting, &mut times)?;
        Ok(waiting.is_empty())
    })?;
    times.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
    let most = percentile(&times, 0.99) as f64 / 1000.0;
    let row = Row::new(
        "operator",
        format!("{count} MqttRoutes: apply → status p99 at 10/s"),
        Spread::of(&[most]),
    );
    let row = row.unit(" ms");
    Ok(if count > 1000 { row } else { row.bar(Bar::at_most(150.0, 1000.0)) })
}

/// Looks once at each that waits; notes in microseconds how long those took that have come.
fn look(
    api: &Api,
    waiting: &mut VecDeque<(usize, i64, Instant)>,
    times: &mut Vec<u64>,
) -> Result<(), BenchError> {
    for _ in 0..waiting.len() {
        let Some((number, wanted, since)) = waiting.pop_front() else { break };
        let object = parse(&api.get(&path(&name(number)))?)?;
        if observed(&object) >= wanted {
            times.push(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
        } else {
            waiting.push_back((number, wanted, since));
        }
    }
    thread::sleep(Duration::from_millis(2));
    Ok(())
}

fn memory(operator: &Operator, count: usize) -> Row {
    let row = Row::new(
        "operator",
        format!("{count} MqttRoutes: memory"),
        Spread::of(&[operator.memory()]),
    );
    let row = row.unit(" MB");
    if count > 1000 { row } else { row.bar(Bar::at_most(60.0, 150.0)) }
}

/// A new operator finds everything as it should be.
fn restart(plane: &ControlPlane, count: usize) -> Result<Vec<Row>, BenchError> {
    let (operator, started) = (Operator::start(plane)?, Instant::now());
    #[expect(clippy::cast_precision_loss, reason = "a number of objects")]
    wait(|| Ok(operator.done().reconciles >= count as f64))?;
    let took = started.elapsed().as_secs_f64();
    thread::sleep(CALM);
    let writes = operator.done().writes;
    Ok(vec![
        Row::new("operator", format!("{count} MqttRoutes: restart to synced"), Spread::of(&[took]))
            .unit(" s")
            .note("the election's Lease expires first"),
        Row::new(
            "operator",
            format!("{count} MqttRoutes: writes on a resync"),
            Spread::of(&[writes]),
        )
        .bar(Bar::at_most(0.0, 0.0)),
    ])
}

// === Objects ===

fn name(number: usize) -> String {
    format!("route-{number}")
}

fn path(name: &str) -> String {
    let all = format!("/apis/routemq.io/v1alpha1/namespaces/{NAMESPACE}/mqttroutes");
    if name.is_empty() { all } else { format!("{all}/{name}") }
}

fn object(number: usize) -> Value {
    json!({
        "apiVersion": "routemq.io/v1alpha1", "kind": "MqttRoute",
        "metadata": {"name": name(number), "namespace": NAMESPACE},
        "spec": {"routes": [{
            "name": "status", "topic": format!("devices/{number}/{{id}}/status"),
            "handlers": [{"log": {}}],
        }]},
    })
}

/// Objects whose status speaks of their present generation.
fn seen(api: &Api) -> Result<usize, BenchError> {
    let list = parse(&api.get(&format!("{}?resourceVersion=0", path("")))?)?;
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(items.iter().filter(|it| observed(it) >= generation(it)).count())
}

fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap_or(i64::MAX)
}

fn observed(object: &Value) -> i64 {
    object["status"]["observedGeneration"].as_i64().unwrap_or(0)
}

fn parse(text: &str) -> Result<Value, BenchError> {
    serde_json::from_str(text).map_err(|error| BenchError::Wrong(format!("no JSON: {error}")))
}

fn wait(mut done: impl FnMut() -> Result<bool, BenchError>) -> Result<(), BenchError> {
    let started = Instant::now();
    while !done()? {
        if started.elapsed() > PATIENCE {
            return Err(BenchError::Wrong(format!("not within {} s", PATIENCE.as_secs())));
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn panicked() -> BenchError {
    BenchError::Wrong("a client panicked".to_owned())
}
