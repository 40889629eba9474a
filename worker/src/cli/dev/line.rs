//! A line a message: printed by one thread, so that no worker ever waits for a terminal.

use std::{
    collections::HashMap,
    io::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread::JoinHandle,
    time::Duration,
};

use chrono::{DateTime, Local};
use routemq_crds::table::{Action, Route};
use routemq_worker::{
    FinalOutcome, Received,
    broker::Broker,
    worker::{Observer, Record},
};

use super::load::Load;
use crate::cli::style::{Paint, pad};

/// Lines that may wait to be printed; what comes when it is full is counted instead.
const WAITING: usize = 10_000;

/// Turns each finished message into lines.
pub(super) struct Lines {
    out: SyncSender<String>,
    skipped: Arc<AtomicU64>,
    layout: Layout,
    /// By `<namespace>.<name>`, as the routes were at the start; a reload prints effects of what it knows.
    tables: Arc<std::sync::RwLock<Tables>>,
    answers: Answers,
    /// The widest params so far: outcomes line up behind them.
    params: AtomicUsize,
}

/// How large the last answer on a topic was, as the broker saw it; forgotten when it is shown.
type Answers = Arc<Mutex<HashMap<String, usize>>>;

/// Answers that are remembered at most.
const ANSWERS: usize = 1_000;

type Tables = HashMap<String, Vec<Arc<Route>>>;

#[derive(Clone, Copy)]
struct Layout {
    paint: Paint,
    route: usize,
    topic: usize,
}

/// Prints what it is told, in order.
pub(super) struct Printer {
    out: SyncSender<String>,
    tables: Arc<std::sync::RwLock<Tables>>,
    thread: JoinHandle<()>,
    paint: Paint,
}

pub(super) fn start(load: &Load, broker: &Broker, paint: Paint) -> (Lines, Printer) {
    let answers = Answers::default();
    listen(broker, Arc::clone(&answers));
    let (out, lines) = mpsc::sync_channel(WAITING);
    let skipped = Arc::new(AtomicU64::new(0));
    let tables = Arc::new(std::sync::RwLock::new(tables(load)));
    let count = Arc::clone(&skipped);
    let thread = std::thread::spawn(move || write_lines(&lines, &count));
    let observer = Lines {
        out: out.clone(),
        skipped,
        layout: layout(load, paint),
        tables: Arc::clone(&tables),
        answers,
        params: AtomicUsize::new(0),
    };
    (observer, Printer { out, tables, thread, paint })
}

/// Notes what the workers publish; devices and the simulation are not ours to note.
fn listen(broker: &Broker, answers: Answers) {
    broker.on_publish(move |client, topic, size| {
        if client.starts_with("dev-") && client.contains("-pub-") {
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            if answers.len() < ANSWERS {
                answers.insert(topic.to_owned(), size);
            }
        }
    });
}

fn tables(load: &Load) -> Tables {
    let name = |table: &routemq_crds::table::Table| format!("{}.{}", table.namespace, table.name);
    load.routes.iter().map(|it| (name(&it.table), it.table.routes.clone())).collect()
}

fn layout(load: &Load, paint: Paint) -> Layout {
    let routes = || load.routes.iter().flat_map(|it| &it.table.routes);
    let width = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0).min(44);
    Layout {
        paint,
        route: width(&mut routes().map(|route| route.name.chars().count())),
        topic: width(&mut routes().map(|route| route.pattern.source().chars().count())),
    }
}

/// The printer's thread: it ends when every sender is gone, or standard output is.
fn write_lines(lines: &Receiver<String>, skipped: &AtomicU64) {
    while let Ok(line) = lines.recv() {
        let missed = skipped.swap(0, Ordering::Relaxed);
        let note =
            if missed > 0 { format!("… {missed} messages not shown\n") } else { String::new() };
        let mut out = std::io::stdout().lock();
        let written = writeln!(out, "{note}{line}").and_then(|()| out.flush());
        if written.is_err() {
            return;
        }
    }
}

impl Printer {
    /// Prints a line of ours among those of messages.
    pub(super) fn say(&self, line: &str) {
        // The reader of standard output may be gone; the program goes on.
        let _ = self.out.send(line.to_owned());
    }

    pub(super) fn paint(&self) -> Paint {
        self.paint
    }

    /// From now on the effects of these routes are known.
    pub(super) fn learn(&self, load: &Load) {
        let mut known = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        *known = tables(load);
    }

    /// Returns when everything is printed.
    pub(super) async fn finish(self) {
        let Self { out, thread, .. } = self;
        drop(out);
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}

impl Observer for Lines {
    fn finished(&self, record: &Record<'_>) {
        let mut text = self.layout.line(record, Local::now(), &self.params);
        for effect in self.effects(record) {
            text.push_str("\n              ");
            text.push_str(&self.layout.paint.dim(&effect));
        }
        if let Err(TrySendError::Full(_)) = self.out.try_send(text) {
            self.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Lines {
    /// What the handlers did that can be seen: answers published, rows written.
    fn effects(&self, record: &Record<'_>) -> Vec<String> {
        let known = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let message = record.message;
        let routes = known.get(&*record.worker.mqtt_route);
        let route = routes.and_then(|routes| routes.get(message.route_index()));
        let Some(route) = route.filter(|route| route.name == *message.route()) else {
            return Vec::new();
        };
        let acted = message.acted().filter_map(|at| route.handlers.get(at));
        acted
            .filter_map(|handler| effect(&handler.action, message))
            .map(|it| self.told(it))
            .collect()
    }

    fn told(&self, effect: Effect) -> String {
        match effect {
            Effect::Row(words) => format!("+1 {words}"),
            Effect::Answer(topic) => {
                let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
                let size = answers.remove(&topic).map(|size| format!("  {size} B"));
                format!("→ {topic}{}", size.unwrap_or_default())
            }
        }
    }
}

/// What can be seen of a handler's work.
enum Effect {
    Answer(String),
    Row(String),
}

fn effect(action: &Action, message: &Received) -> Option<Effect> {
    let values: Vec<&str> = message.params().map(|(_, value)| value).collect();
    let param = |at: usize| values.get(at).copied().unwrap_or_default();
    match action {
        Action::Publish(publish) => Some(Effect::Answer(publish.topic.render(param).ok()?)),
        Action::Reply { fallback_topic, .. } => {
            let asked =
                message.properties().and_then(|properties| properties.response_topic.clone());
            let fallback = || fallback_topic.as_ref()?.render(param).ok();
            Some(Effect::Answer(asked.or_else(fallback)?))
        }
        Action::Insert(insert) => Some(Effect::Row(insert.table.clone())),
        Action::Statement(_) => Some(Effect::Row("statement".to_owned())),
        _ => None,
    }
}

impl Layout {
    fn line(self, record: &Record<'_>, now: DateTime<Local>, widest: &AtomicUsize) -> String {
        let paint = self.paint;
        let message = record.message;
        let params: Vec<_> =
            message.params().map(|(name, value)| format!("{name}={value}")).collect();
        let params = params.join(" ");
        let length = params.chars().count().min(48);
        let width = widest.fetch_max(length, Ordering::Relaxed).max(length);
        let worker = format!("w{}", record.worker.slot);
        let parts = [
            paint.dim(&now.format("%H:%M:%S%.3f").to_string()),
            paint.cyan(&pad(message.route(), self.route)),
            pad(&worker, 3),
            pad(message.topic(), self.topic),
            pad(&params, width),
            self.outcome(record),
            paint.dim(&milliseconds(record.duration)),
        ];
        parts.join("  ")
    }

    fn outcome(self, record: &Record<'_>) -> String {
        let outcome = record.ended.outcome;
        let class = outcome.class().map(|class| format!(" ({class})")).unwrap_or_default();
        let tries = record.ended.attempts;
        let tries = if tries > 1 { format!(" after {tries} attempts") } else { String::new() };
        let word = format!("{}{class}{tries}", outcome.label().replace('_', "-"));
        match outcome {
            FinalOutcome::Done => self.paint.green(&word),
            FinalOutcome::Dropped(_) | FinalOutcome::Rejected(_) => self.paint.yellow(&word),
            FinalOutcome::DeadLettered(_) | FinalOutcome::Discarded(_) => self.paint.red(&word),
        }
    }
}

/// `0.42 ms`, `12.3 ms`, `1204 ms`.
fn milliseconds(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    match ms {
        ..10.0 => format!("{ms:.2} ms"),
        ..100.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_or_so() {
        let rows = [(420, "0.42 ms"), (12_300, "12.3 ms"), (1_204_000, "1204 ms")];
        for (micros, want) in rows {
            assert_eq!(milliseconds(Duration::from_micros(micros)), want);
        }
    }
}
