//! `%(asctime)s - %(name)s - %(levelname)s - %(message)s`, rendered as Python's `logging` would.

use std::fmt::{self, Write};

use chrono::{DateTime, Local};
use tracing::{Event, Level, Subscriber, field::Visit};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field { field: Field, left: bool, zero: bool, width: usize, precision: Option<usize> },
}

/// What Python calls LogRecord attributes, as far as they mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Asctime,
    Created,
    Msecs,
    Name,
    LevelName,
    LevelNumber,
    Message,
    Process,
    ThreadName,
    Module,
    FileName,
    LineNumber,
}

const FIELDS: [(&str, Field); 12] = [
    ("asctime", Field::Asctime),
    ("created", Field::Created),
    ("msecs", Field::Msecs),
    ("name", Field::Name),
    ("levelname", Field::LevelName),
    ("levelno", Field::LevelNumber),
    ("message", Field::Message),
    ("process", Field::Process),
    ("threadName", Field::ThreadName),
    ("module", Field::Module),
    ("filename", Field::FileName),
    ("lineno", Field::LineNumber),
];

/// Why a pattern is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// No `%(…)` in it: probably a misspelt `text` or `json`.
    #[error("write text, json, or a pattern such as %(asctime)s - %(levelname)s - %(message)s")]
    NoField,
    /// A field that is not known here.
    #[error("there is no field {name:?}; there are {}", names())]
    UnknownField {
        /// As written.
        name: String,
    },
    /// A `%` that begins nothing.
    #[error(
        "after % comes (name) and s, d or f, with a width between if need be: %(levelname)-8s; a plain per cent sign is %%"
    )]
    Malformed,
}

fn names() -> String {
    FIELDS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// See [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            parts.push(Part::Literal(rest[..at].to_owned()));
            let (part, after) = directive(&rest[at + 1..])?;
            parts.push(part);
            rest = after;
        }
        parts.push(Part::Literal(rest.to_owned()));
        parts.retain(|part| !matches!(part, Part::Literal(text) if text.is_empty()));
        let named = parts.iter().any(|part| matches!(part, Part::Field { .. }));
        if named { Ok(Self { parts }) } else { Err(PatternError::NoField) }
    }

    /// What the Python framework uses where `LOG_FORMAT` is not set.
    #[must_use]
    pub fn python_default() -> Self {
        let field =
            |field| Part::Field { field, left: false, zero: false, width: 0, precision: None };
        let dash = || Part::Literal(" - ".to_owned());
        let (time, name) = (field(Field::Asctime), field(Field::Name));
        let (level, message) = (field(Field::LevelName), field(Field::Message));
        Self { parts: vec![time, dash(), name, dash(), level, dash(), message] }
    }

    fn render(&self, record: &Record<'_>) -> String {
        let mut line = String::with_capacity(128);
        for part in &self.parts {
            match part {
                Part::Literal(text) => line.push_str(text),
                Part::Field { field, left, zero, width, precision } => {
                    let value = record.value(*field);
                    let value = match precision {
                        Some(most) if !value.starts_with(|c: char| c.is_ascii_digit()) => {
                            value.chars().take(*most).collect()
                        }
                        _ => value,
                    };
                    pad(&mut line, &value, *left, *zero, *width);
                }
            }
        }
        line
    }
}

fn pad(line: &mut String, value: &str, left: bool, zero: bool, width: usize) {
    let missing = width.saturating_sub(value.chars().count());
    let filling = if zero && !left { '0' } else { ' ' };
    if left {
        line.push_str(value);
    }
    line.extend(std::iter::repeat_n(filling, missing));
    if !left {
        line.push_str(value);
    }
}

/// Reads what follows a `%`: another `%`, or `(name)[flags][width][.precision]type`.
fn directive(text: &str) -> Result<(Part, &str), PatternError> {
    if let Some(after) = text.strip_prefix('%') {
        return Ok((Part::Literal("%".to_owned()), after));
    }
    let (name, rest) = text
        .strip_prefix('(')
        .and_then(|text| text.split_once(')'))
        .ok_or(PatternError::Malformed)?;
    let field = FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field);
    let field = field.ok_or_else(|| PatternError::UnknownField { name: name.to_owned() })?;
    let (flags, rest) = take_while(rest, |c| "-0 +#".contains(c));
    let (width, rest) = take_while(rest, |c| c.is_ascii_digit());
    let (precision, rest) = match rest.strip_prefix('.') {
        Some(rest) => take_while(rest, |c| c.is_ascii_digit()),
        None => ("", rest),
    };
    let rest = rest.strip_prefix(['s', 'd', 'f', 'r', 'i']).ok_or(PatternError::Malformed)?;
    let part = Part::Field {
        field,
        left: flags.contains('-'),
        zero: flags.contains('0'),
        width: width.parse().unwrap_or(0).min(200),
        precision: precision.parse().ok(),
    };
    Ok((part, rest))
}

fn take_while(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !wanted(c)).unwrap_or(text.len()))
}

// === one event ===

struct Record<'a> {
    at: DateTime<Local>,
    level: Level,
    target: &'a str,
    file: Option<&'a str>,
    line: Option<u32>,
    message: String,
}

impl Record<'_> {
    fn value(&self, field: Field) -> String {
        match field {
            Field::Asctime => self.at.format("%Y-%m-%d %H:%M:%S,%3f").to_string(),
            Field::Created => self.at.format("%s.%6f").to_string(),
            Field::Msecs => self.at.timestamp_subsec_millis().to_string(),
            Field::Name => self.target.to_owned(),
            Field::LevelName => level_name(self.level).to_owned(),
            Field::LevelNumber => level_number(self.level).to_string(),
            Field::Message => self.message.clone(),
            Field::Process => std::process::id().to_string(),
            Field::ThreadName => std::thread::current().name().unwrap_or("main").to_owned(),
            Field::Module => last(self.target, "::").to_owned(),
            Field::FileName => last(self.file.unwrap_or_default(), "/").to_owned(),
            Field::LineNumber => self.line.unwrap_or_default().to_string(),
        }
    }
}

fn last<'a>(text: &'a str, separator: &str) -> &'a str {
    text.rsplit(separator).next().unwrap_or(text)
}

fn level_name(level: Level) -> &'static str {
    if level == Level::WARN { "WARNING" } else { level.as_str() }
}

fn level_number(level: Level) -> u32 {
    match level {
        Level::TRACE => 5,
        Level::DEBUG => 10,
        Level::INFO => 20,
        Level::WARN => 30,
        _ => 40,
    }
}

/// The message, then the fields as `name=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

impl<S, N> FormatEvent<S, N> for Pattern
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = Text::default();
        event.record(&mut text);
        let meta = event.metadata();
        let record = Record {
            at: Local::now(),
            level: *meta.level(),
            target: meta.target(),
            file: meta.file(),
            line: meta.line(),
            message: text.message + &text.fields,
        };
        writeln!(writer, "{}", self.render(&record))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn rendered(pattern: &str) -> String {
        let record = Record {
            at: Local.with_ymd_and_hms(2026, 11, 23, 22, 46, 31).unwrap(),
            level: Level::WARN,
            target: "routemq_worker::engine",
            file: Some("worker/src/engine.rs"),
            line: Some(17),
            message: "connected slot=2".to_owned(),
        };
        Pattern::parse(pattern).unwrap().render(&record)
    }

    #[test]
    fn fields_render_as_python_renders_them() {
        let rows = [
            ("%(asctime)s|%(message)s", "2026-11-23 22:46:31,000|connected slot=2"),
            ("%(levelname)s", "WARNING"),
            ("%(levelname)-9s|", "WARNING  |"),
            ("%(levelname)9s|", "  WARNING|"),
            ("%(levelname).4s", "WARN"),
            ("%(levelno)d", "30"),
            ("%(levelno)05d", "00030"),
            ("%(name)s", "routemq_worker::engine"),
            ("%(module)s %(filename)s:%(lineno)d", "engine engine.rs:17"),
            ("100%% %(message)s", "100% connected slot=2"),
            ("[%(msecs)03d]", "[000]"),
        ];
        for (pattern, want) in rows {
            assert_eq!(rendered(pattern), want, "{pattern}");
        }
    }

    #[test]
    fn process_and_thread_are_this_ones() {
        assert_eq!(rendered("%(process)d"), std::process::id().to_string());
        assert!(!rendered("%(threadName)s").is_empty());
    }

    #[test]
    fn the_default_is_the_one_of_the_python_framework() {
        let written = "%(asctime)s - %(name)s - %(levelname)s - %(message)s";
        assert_eq!(Pattern::parse(written).unwrap(), Pattern::python_default());
    }

    #[test]
    fn a_field_that_is_not_known_is_refused_with_the_list() {
        let error = Pattern::parse("%(hostname)s").unwrap_err().to_string();
        assert!(error.contains("\"hostname\"") && error.contains("threadName"), "{error}");
    }

    #[test]
    fn a_stray_per_cent_sign_is_refused() {
        for pattern in ["100% %(message)s", "%(message)", "%(message", "%"] {
            assert_eq!(Pattern::parse(pattern), Err(PatternError::Malformed), "{pattern}");
        }
    }

    #[test]
    fn a_text_without_a_field_is_refused() {
        assert_eq!(Pattern::parse("plain"), Err(PatternError::NoField));
    }
}
