//! `LOG_LEVEL` and `LOG_FORMAT`, with Python's names.

use tracing::Level;

use super::{BadSetting, Environment};
use crate::logging::Pattern;

/// How much is logged, and in what form.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// `None`: the variable is not set.
    pub level: Option<Level>,
    /// `None`: the variable is not set.
    pub format: Option<LogFormat>,
}

/// The form of a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Time, level, target, fields, message: for people.
    Text,
    /// One JSON object a line: for machines.
    Json,
    /// Python's `%(asctime)s - %(message)s`.
    Pattern(Pattern),
}

impl LogSettings {
    pub(super) fn read(environment: &Environment) -> (Self, Vec<BadSetting>) {
        let (level, bad_level) = split(environment.get("LOG_LEVEL").map(level));
        let (format, bad_format) = split(environment.get("LOG_FORMAT").map(format));
        (Self { level, format }, bad_level.into_iter().chain(bad_format).collect())
    }

    /// The level, `INFO` unless the variable says otherwise.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level.unwrap_or(Level::INFO)
    }

    /// The format, Python's pattern unless the variable says otherwise.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        self.format.clone().unwrap_or_else(|| LogFormat::Pattern(Pattern::python_default()))
    }
}

fn split<T>(read: Option<Result<T, BadSetting>>) -> (Option<T>, Option<BadSetting>) {
    match read {
        None => (None, None),
        Some(Ok(value)) => (Some(value), None),
        Some(Err(bad)) => (None, Some(bad)),
    }
}

fn level(value: &str) -> Result<Level, BadSetting> {
    match value.to_ascii_uppercase().as_str() {
        "TRACE" | "NOTSET" => Ok(Level::TRACE),
        "DEBUG" => Ok(Level::DEBUG),
        "INFO" => Ok(Level::INFO),
        "WARN" | "WARNING" => Ok(Level::WARN),
        "ERROR" | "CRITICAL" | "FATAL" => Ok(Level::ERROR),
        _ => Err(BadSetting::new(
            "LOG_LEVEL",
            value,
            "write TRACE, DEBUG, INFO, WARNING, ERROR or CRITICAL",
        )),
    }
}

fn format(value: &str) -> Result<LogFormat, BadSetting> {
    match value.to_ascii_lowercase().as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Pattern::parse(value)
            .map(LogFormat::Pattern)
            .map_err(|error| BadSetting::new("LOG_FORMAT", value, error.to_string())),
    }
}
