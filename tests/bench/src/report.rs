//! The table, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{bars::Bar, statistics::Spread};

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Its short name, for `--only`.
    pub(crate) name: &'static str,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) spread: Spread,
    pub(crate) bar: Option<Bar>,
    /// What it was made of.
    pub(crate) notes: Vec<String>,
}

impl Row {
    pub(crate) fn new(name: &'static str, what: impl Into<String>, spread: Spread) -> Self {
        Self { name, what: what.into(), unit: "", spread, bar: None, notes: Vec::new() }
    }

    pub(crate) fn bar(self, bar: Bar) -> Self {
        Self { bar: Some(bar), ..self }
    }

    pub(crate) fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub(crate) fn reaches_floor(&self) -> bool {
        self.bar.is_none_or(|bar| bar.reaches_floor(self.spread.median))
    }

    fn verdict(&self) -> &'static str {
        match self.bar {
            None => "",
            Some(bar) if bar.reaches_goal(self.spread.median) => "goal",
            Some(bar) if bar.reaches_floor(self.spread.median) => "floor",
            Some(_) => "BELOW",
        }
    }

    pub(crate) fn text(&self) -> String {
        let Spread { median, least, most } = self.spread;
        let unit = self.unit;
        let mut text = format!("{:<62} {:>9}{unit}", self.what, short(median));
        if most > least {
            let _ = write!(text, "  ({} – {})", short(least), short(most));
        }
        if let Some(bar) = self.bar {
            let sign = if bar.at_most { '≤' } else { '≥' };
            let (goal, floor) = (short(bar.goal), short(bar.floor));
            let _ = write!(text, "  {}: goal {sign} {goal}, floor {floor}", self.verdict());
        }
        for note in &self.notes {
            let _ = write!(text, "\n    {note}");
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let Spread { median, least, most } = self.spread;
        json!({
            "row": self.name, "what": self.what, "unit": self.unit.trim(), "median": median,
            "least": least, "most": most, "goal": self.bar.map(|it| it.goal),
            "floor": self.bar.map(|it| it.floor), "verdict": self.verdict(), "notes": self.notes,
        })
    }
}

/// Three figures that count.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        small if small < 10.0 => format!("{value:.3}"),
        middle if middle < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
