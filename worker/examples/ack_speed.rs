//! Prints what a message costs from the socket to its acknowledgement, as processor time of this whole process, a
//! stand-in for the broker included: `cargo run --release -p routemq-worker --example ack_speed`.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use routemq_crds::document::Documents;
use routemq_worker::{
    Registry, Secrets,
    run::{Loaded, RunSettings, Running},
};

const ROUTES: usize = 200;
const WINDOW: u64 = 1000;
const ROUNDS: usize = 8;
const ROUND: Duration = Duration::from_secs(3);

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let broker = format!("mqtt://{}", listener.local_addr()?);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&acknowledged);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counter = Arc::clone(&counter);
            thread::spawn(move || serve(stream, &counter));
        }
    });
    let running = Running::start(loaded()?, settings(&broker)?).await?;
    running.settled().await;
    for _ in 0..ROUNDS {
        let (before, cpu, started) = (acknowledged.load(Relaxed), cpu()?, Instant::now());
        tokio::time::sleep(ROUND).await;
        let messages = acknowledged.load(Relaxed) - before;
        let spent = cpu_since(cpu)? / u128::from(messages.max(1));
        let rate = u128::from(messages) * 1000 / started.elapsed().as_millis();
        println!("{spent} ns of processor time a message, {rate} messages a second");
    }
    Ok(())
}

fn loaded() -> Result<Vec<Loaded>, Failure> {
    let mut yaml = "apiVersion: routemq.io/v1alpha1\nkind: MqttRoute\nmetadata: {name: speed}\nspec:\n  routes:\n".to_owned();
    for route in 0..ROUTES {
        let _ = writeln!(
            yaml,
            "    - {{name: r{route}, topic: \"site/{route}/{{id}}\", handlers: [{{custom: {{name: nothing}}}}]}}"
        );
    }
    let told = |problems: Vec<routemq_crds::document::DocumentProblem>| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let documents = Documents::parse("speed.yaml", yaml).map_err(told)?;
    let tables = documents.compile().map_err(told)?.into_iter();
    let pairs = tables.zip(&documents.routes);
    let loaded = pairs.map(|(table, route)| Loaded {
        object: route.object.clone(),
        table: table.object,
        secrets: Secrets::default(),
    });
    Ok(loaded.collect())
}

fn settings(broker: &str) -> Result<RunSettings, Failure> {
    Ok(RunSettings {
        drain: Duration::ZERO,
        registry: Registry::new().handler("nothing", || async {}),
        ..RunSettings::new(broker.parse()?)
    })
}

/// Just enough of a broker: accepts, grants, and sends a window of messages whenever the last is acknowledged.
fn serve(mut stream: TcpStream, acknowledged: &AtomicU64) -> Option<()> {
    let (mut buffer, mut chunk) = (Vec::new(), vec![0; 65536]);
    let (mut granted, mut outstanding, mut id) = (0, 0_u64, 0_u16);
    loop {
        let mut at = 0;
        while let Some((kind, body, end)) = packet(&buffer, at) {
            at = end;
            match kind >> 4 {
                1 => stream.write_all(&[0x20, 3, 0, 0, 0]).ok()?,
                4 => {
                    outstanding -= 1;
                    acknowledged.fetch_add(1, Relaxed);
                }
                3 => stream.write_all(&echo(body)).ok()?,
                8 => {
                    granted += 1;
                    stream.write_all(&[0x90, 4, body[0], body[1], 0, 1]).ok()?;
                }
                12 => stream.write_all(&[0xD0, 0]).ok()?,
                _ => {}
            }
        }
        buffer.drain(..at);
        if granted > ROUTES && outstanding < WINDOW / 2 {
            stream.write_all(&window(WINDOW - outstanding, &mut id)).ok()?;
            outstanding = WINDOW;
        }
        let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
        buffer.extend_from_slice(&chunk[..read]);
    }
}

/// The whole packet at `start`: its first byte, its body, its end.
fn packet(buffer: &[u8], start: usize) -> Option<(u8, &[u8], usize)> {
    let (mut length, mut at, mut shift) = (0, start + 1, 0);
    loop {
        let byte = *buffer.get(at)?;
        length |= usize::from(byte & 0x7F) << shift;
        (at, shift) = (at + 1, shift + 7);
        if byte < 0x80 {
            return Some((buffer[start], buffer.get(at..at + length)?, at + length));
        }
    }
}

/// The barrier: confirmed, and sent back at QoS 0.
fn echo(body: &[u8]) -> Vec<u8> {
    let topic = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    let mut out = vec![0x40, 2, body[topic], body[topic + 1]];
    let rest = &body[topic + 2..];
    out.extend([0x30, u8::try_from(topic + rest.len()).unwrap_or(127)]);
    out.extend_from_slice(&body[..topic]);
    out.extend_from_slice(rest);
    out
}

fn window(messages: u64, id: &mut u16) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..messages {
        *id = id.checked_add(1).unwrap_or(1);
        let topic = format!("site/{}/d{}", usize::from(*id) % ROUTES, *id % 64);
        let payload = br#"{"temperature": 21.5, "humidity": 40}"#;
        let length = u8::try_from(2 + topic.len() + 2 + 1 + payload.len()).unwrap_or(127);
        out.extend([0x32, length, 0, u8::try_from(topic.len()).unwrap_or(0)]);
        out.extend_from_slice(topic.as_bytes());
        out.extend_from_slice(&id.to_be_bytes());
        out.push(0);
        out.extend_from_slice(payload);
    }
    out
}

/// Processor time of all threads, in nanoseconds.
fn cpu() -> Result<u128, Failure> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")?.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat"))?;
        sum += text.split_whitespace().next().unwrap_or("0").parse::<u128>()?;
    }
    Ok(sum)
}

fn cpu_since(before: u128) -> Result<u128, Failure> {
    Ok(cpu()? - before)
}
