//! The operator with thousands of `MqttRoute`s, on a real control plane (tests/cluster).

mod api;
mod process;
mod statuses;

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::{Duration, Instant},
};

use routemq_tests::{Audit, ControlPlane};
use serde_json::{Value, json};

use self::{
    api::Api,
    process::{Done, Operator},
    statuses::Statuses,
};
use crate::{
    bars::Bar,
    error::BenchError,
    report::Row,
    statistics::{Spread, percentile},
};

const NAMESPACE: &str = "bench";
const OPERATOR: &str = "system:serviceaccount:routemq:routemq-operator";
const PATIENCE: Duration = Duration::from_mins(10);
/// Clients that create objects at the same time.
const CLIENTS: usize = 4;
/// Changes whose way into the status is timed.
const CHANGES: usize = 100;
const PACE: Duration = Duration::from_millis(100);
/// An operator that has reconciled nothing for so long has nothing left to do.
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
        rows.extend(converge(&api, plane, &operator, before..count)?);
        let row = change(&api, count, "apply", topic)?;
        rows.push(barred(row, count, Bar::at_most(150.0, 1000.0)));
        calm(&operator)?;
        rows.push(change(&api, count, "apply that replaces the pods", grace)?);
        rows.push(memory(&operator, count));
        calm(&operator)?;
        drop(operator);
        rows.extend(restart(plane, count)?);
        before = count;
    }
    Ok(rows)
}

fn converge(
    api: &Api,
    plane: &ControlPlane,
    operator: &Operator,
    objects: std::ops::Range<usize>,
) -> Result<Vec<Row>, BenchError> {
    let (count, created, started) = (objects.end, objects.len(), Instant::now());
    let (before, audit) = (operator.done().writes, plane.audit().map(Audit::from_now));
    let statuses = Statuses::watch(api)?;
    create(api, objects)?;
    let mut seen = HashSet::new();
    while seen.len() < created {
        let told = statuses.next(PATIENCE)?;
        if told.observed > 0 {
            seen.insert(told.name);
        }
    }
    let took = started.elapsed().as_secs_f64();
    let calm = calm(operator)?;
    #[expect(clippy::cast_precision_loss, reason = "a number of objects")]
    let each = |number: f64| number / created.max(1) as f64;
    let row = |what: &str, figure: f64| {
        let what = format!("{count} MqttRoutes: {what}");
        Row::new("operator", what, Spread::of(&[figure]))
    };
    let mut rows = vec![
        row(&format!("until the last has its status ({created} new)"), took).unit(" s"),
        row("until all is calm", started.elapsed().saturating_sub(CALM).as_secs_f64()).unit(" s"),
        row("writes for each new one", each(calm.writes - before)),
    ];
    #[expect(clippy::cast_precision_loss, reason = "a number of requests")]
    let asked = audit.map(|audit| audit.requests_of(OPERATOR).len() as f64);
    rows.extend(asked.map(|asked| row("requests for each new one", each(asked))));
    Ok(rows)
}

fn create(api: &Api, objects: std::ops::Range<usize>) -> Result<(), BenchError> {
    let numbers: Vec<usize> = objects.collect();
    thread::scope(|scope| {
        let clients = numbers.chunks(numbers.len().div_ceil(CLIENTS).max(1));
        let create = |numbers: &[usize]| {
            numbers.iter().try_for_each(|it| api.post(&path(""), &object(*it)).map(drop))
        };
        let clients: Vec<_> = clients.map(|own| scope.spawn(move || create(own))).collect();
        clients.into_iter().try_for_each(|it| it.join().unwrap_or_else(|_| Err(panicked())))
    })
}

/// Waits until the operator has nothing left to do; what it had done by then.
fn calm(operator: &Operator) -> Result<Done, BenchError> {
    let (mut last, mut since) = (operator.done(), Instant::now());
    wait(|| {
        let now = operator.done();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        Ok(since.elapsed() >= CALM)
    })?;
    Ok(last)
}

/// A topic more or less, as most changes are: workers take the new table up while they run.
fn topic(number: usize, round: usize) -> Value {
    json!({"spec": {"routes": [route(number, &format!("status-{round}"))]}})
}

/// A longer grace of pods: Kubernetes replaces them all.
fn grace(_: usize, round: usize) -> Value {
    json!({"spec": {"delivery": {"timeoutSeconds": 31 + round}}})
}

/// From a change, before it is sent, until the status speaks of it; ten changes a second, of all objects in turn.
fn change(
    api: &Api,
    count: usize,
    what: &str,
    change: fn(usize, usize) -> Value,
) -> Result<Row, BenchError> {
    let statuses = Statuses::watch(api)?;
    let (mut changed, started) = (HashMap::new(), Instant::now());
    for round in 0..CHANGES {
        let number = round * count / CHANGES;
        let due = PACE * u32::try_from(round).unwrap_or(0);
        thread::sleep(due.saturating_sub(started.elapsed()));
        let since = Instant::now();
        let answer = api.patch(&path(&name(number)), &change(number, round))?;
        changed.insert(name(number), (generation(&parse(&answer)?), since));
    }
    let mut times = Vec::new();
    while !changed.is_empty() {
        let told = statuses.next(PATIENCE)?;
        if let Some((wanted, since)) = changed.get(&told.name).copied()
            && told.observed >= wanted
        {
            changed.remove(&told.name);
            let took = told.at.saturating_duration_since(since);
            times.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
    }
    times.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
    let [half, most] = [0.5, 0.99].map(|part| percentile(&times, part) as f64 / 1000.0);
    let what = format!("{count} MqttRoutes: {what} → status p99 at 10/s");
    let row = Row::new("operator", what, Spread::of(&[most])).unit(" ms");
    Ok(row.note(format!("half of them within {half:.0} ms")))
}

fn memory(operator: &Operator, count: usize) -> Row {
    let row = Row::new(
        "operator",
        format!("{count} MqttRoutes: memory"),
        Spread::of(&[operator.memory()]),
    );
    barred(row.unit(" MB"), count, Bar::at_most(60.0, 150.0))
}

/// What is promised is promised of a thousand.
fn barred(row: Row, count: usize, bar: Bar) -> Row {
    if count > 1000 { row } else { row.bar(bar) }
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
        "spec": {"routes": [route(number, "status")]},
    })
}

fn route(number: usize, what: &str) -> Value {
    json!({
        "name": "status", "topic": format!("devices/{number}/{{id}}/{what}"),
        "handlers": [{"log": {}}],
    })
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
