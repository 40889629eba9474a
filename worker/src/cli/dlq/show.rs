//! `routemq dlq ls` and `show`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};

use super::{
    fetch::{Source, failed},
    letter::{Entry, Letter},
    selection::Selection,
};
use crate::cli::{Ended, Output, failure::Failure, print, style, subscribe::hex};

/// Characters of an error in a list.
const ERROR: usize = 72;

/// Lists dead letters: fetches what is new, then shows what was not replayed yet.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    routemq dlq ls\n  \
    routemq dlq ls --class PayloadFormat --newer-than 1h --output json\n\n\
    Exit codes: 0 done, 1 a filter is wrong, 3 no broker.")]
pub(super) struct Ls {
    #[command(flatten)]
    selection: Selection,
    /// How it is printed; JSON is an object a line
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    source: Source,
}

/// Shows dead letters whole.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: routemq dlq show 12\n\nExit codes: 0 done, 1 there is none of that number, 3 no broker."
)]
pub(super) struct Show {
    /// Which, by the numbers that `ls` shows
    #[arg(value_name = "ID", required = true)]
    ids: Vec<i64>,
    /// How it is printed; JSON is an object a line
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    source: Source,
}

impl Ls {
    pub(super) async fn execute(self) -> Ended {
        let mut store = self.source.fetched().await?;
        let entries = store.list(&self.selection).await.map_err(failed)?;
        print(&match self.output {
            Output::Text => table(&entries),
            Output::Json => lines(entries.iter().map(|entry| json!(entry).to_string())),
        })
    }
}

impl Show {
    pub(super) async fn execute(self) -> Ended {
        let mut store = self.source.fetched().await?;
        let wanted = Selection {
            ids: self.ids.clone(),
            whether_replayed_or_not: true,
            ..Selection::default()
        };
        let found = store.list(&wanted).await.map_err(failed)?;
        if let Some(id) = self.ids.iter().find(|id| found.iter().all(|entry| entry.id != **id)) {
            return Err(Failure::input(format!(
                "there is no dead letter {id}: see routemq dlq ls, with and without --replayed"
            )));
        }
        for entry in found {
            let letter = store.load(entry).await.map_err(failed)?;
            print(&match self.output {
                Output::Text => page(&letter),
                Output::Json => format!("{}\n", object(&letter)),
            })?;
        }
        Ok(std::process::ExitCode::SUCCESS)
    }
}

fn table(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let head = ["ID", "AGE", "ROUTE", "CLASS", "ATTEMPTS", "REPLAYS", "TOPIC", "ERROR"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(entries.iter().map(row));
    lines(style::columns(&rows).into_iter().chain([totals(entries)]))
}

fn lines(all: impl Iterator<Item = String>) -> String {
    all.flat_map(|line| [line, "\n".to_owned()]).collect()
}

fn row(entry: &Entry) -> Vec<String> {
    let error: String = entry.error.chars().take(ERROR).collect();
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    vec![
        entry.id.to_string(),
        age(&entry.dead_lettered_at),
        or_dash(&entry.route),
        or_dash(&entry.class),
        entry.attempts.to_string(),
        entry.replays.to_string(),
        or_dash(entry.topic.as_deref().unwrap_or_default()),
        or_dash(&error),
    ]
}

/// `3 dead letters: 2 PayloadFormat, 1 Row`
fn totals(entries: &[Entry]) -> String {
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in entries {
        let class = if entry.class.is_empty() { "unknown" } else { &entry.class };
        *classes.entry(class).or_default() += 1;
    }
    let listed: Vec<_> = classes.iter().map(|(class, count)| format!("{count} {class}")).collect();
    format!("{}: {}", style::count(entries.len(), "dead letter"), listed.join(", "))
}

/// `42s`, `7m`, `3h`, `12d`; nothing that can be read: `-`.
fn age(since: &str) -> String {
    let Ok(since) = DateTime::parse_from_rfc3339(since) else { return "-".to_owned() };
    let seconds = (Utc::now() - since.to_utc()).num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A line a field, then the payload.
fn page(letter: &Letter) -> String {
    let entry = &letter.entry;
    let rows: Vec<(&str, String)> = vec![
        ("topic", entry.topic.clone().unwrap_or_default()),
        ("route", entry.route.clone()),
        ("class", entry.class.clone()),
        ("error", entry.error.clone()),
        ("attempts", entry.attempts.to_string()),
        ("first received", entry.first_received.clone()),
        ("dead-lettered", entry.dead_lettered_at.clone()),
        ("found at", entry.found_at.clone()),
        ("came back", format!("{} times", entry.replays)),
        ("replayed", entry.replayed_at.clone().unwrap_or_default()),
        ("content type", letter.carried.content_type.clone().unwrap_or_default()),
        ("response topic", letter.carried.response_topic.clone().unwrap_or_default()),
    ];
    let user = letter.carried.user_properties.iter();
    let user = user.map(|(name, value)| ("user property", format!("{name}={value}")));
    let shown = rows.into_iter().chain(user).filter(|(_, value)| !value.is_empty());
    let lines =
        shown.map(|(name, value)| vec![format!("{name}:"), value.escape_debug().to_string()]);
    let mut all = vec![format!("dead letter {}", entry.id)];
    all.extend(style::columns(&lines.collect::<Vec<_>>()));
    all.extend([String::new(), payload(&letter.payload), String::new()]);
    all.join("\n")
}

fn payload(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).ok();
    let plain = |text: &&str| !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    match text.filter(plain) {
        Some(text) => format!("{text}\n"),
        None => format!("<{} bytes: {}>\n", bytes.len(), hex(bytes)),
    }
}

fn object(letter: &Letter) -> Value {
    let mut object = json!(letter.entry);
    object["properties"] = json!(letter.carried);
    let (name, value) = match std::str::from_utf8(&letter.payload) {
        Ok(text) => ("payload", serde_json::from_str(text).unwrap_or_else(|_| json!(text))),
        Err(_) => ("payloadBytes", json!(letter.payload)),
    };
    object[name] = value;
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_by_class() {
        let entry = |class: &str| Entry { class: class.into(), ..Entry::default() };
        let entries = [entry("Row"), entry("PayloadFormat"), entry("Row"), entry("")];
        assert_eq!(totals(&entries), "4 dead letters: 1 PayloadFormat, 2 Row, 1 unknown");
        assert_eq!(table(&[]), "no dead letters\n");
    }

    #[test]
    fn a_payload_that_is_no_text_is_shown_as_bytes() {
        assert_eq!(payload(b"{\"a\":1}"), "{\"a\":1}\n");
        assert_eq!(payload(&[0, 255]), "<2 bytes: 00ff>\n");
        assert_eq!(payload(b"\x1b[31m"), "<5 bytes: 1b5b33316d>\n");
    }
}
