//! Logs: as text, as JSON, or in a pattern of Python's `logging`.

mod pattern;

pub use pattern::{Pattern, PatternError};

use tracing::Level;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, registry, util::SubscriberInitExt};

use crate::config::{LogFormat, LogSettings};

/// Starts logging to standard error, so that standard output stays a command's own. A second call does nothing.
pub fn start(settings: &LogSettings) {
    start_as(settings.level(), &settings.format());
}

/// The same with the level and format given.
pub fn start_as(level: Level, format: &LogFormat) {
    let registry = registry().with(filter(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => registry.with(lines.with_ansi(colour())).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
        LogFormat::Pattern(pattern) => {
            registry.with(lines.event_format(pattern.clone()).with_ansi(false)).try_init()
        }
    };
    // An embedding program may have its own subscriber: then that one stays.
    drop(started);
}

/// For `dev`, which shows each message itself: warnings, and what specs ask to be logged; no time and no target.
pub fn start_plain() {
    let filter = "warn,routemq_worker::handler::log=info,routemq_worker::middleware::log=info";
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .with_ansi(colour());
    // As above: a subscriber that is there stays.
    drop(registry().with(EnvFilter::new(filter)).with(lines).try_init());
}

fn colour() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The level is for us; a library below us speaks from `warn` on, unless tracing is asked for.
fn filter(level: Level) -> EnvFilter {
    let others = if level == Level::TRACE { "debug" } else { "warn" };
    let ours = level.as_str().to_lowercase();
    EnvFilter::new(format!("{others},routemq={ours},routemq_worker={ours},routemq_mqtt={ours}"))
}
