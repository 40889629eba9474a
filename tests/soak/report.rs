//! The verdict in words, and for programs.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde_json::{Value, json};

use crate::{
    evidence::timeline,
    facts::Facts,
    journal::State,
    options::{Options, Output},
    schedule::Kind,
    verdict::{Counterexample, Judgement, Promise},
};

/// Timelines of so many counterexamples of each promise are shown.
const SHOWN: usize = 3;
/// So many are listed for programs.
const LISTED: usize = 100;

/// A finished run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) options: Options,
    pub(crate) facts: Facts,
    pub(crate) judgement: Judgement,
    /// The time from the first message to the last.
    pub(crate) loaded: Duration,
    /// Faults that found their target taken.
    pub(crate) skipped: usize,
    /// The most memory of a worker, bytes.
    pub(crate) peak_memory: u64,
    pub(crate) versions: Vec<String>,
}

/// Messages by what became of them.
struct Numbers {
    published: usize,
    accepted: usize,
    unknown: usize,
    nobody: usize,
    per_second: f64,
}

/// Recovery times of one kind.
#[derive(Clone, Debug, Default)]
struct Times {
    all: Vec<Duration>,
    never: usize,
}

impl Report {
    /// Whether every promise held.
    pub(crate) fn holds(&self) -> bool {
        self.judgement.counterexamples.is_empty()
    }

    /// As asked for on the command line.
    pub(crate) fn render(&self, output: Output) -> String {
        match output {
            Output::Text => self.text(),
            Output::Json => self.json().to_string(),
        }
    }

    fn numbers(&self) -> Numbers {
        let count = |wanted: fn(&State) -> bool| {
            self.facts.entries.iter().filter(|entry| wanted(&entry.state)).count()
        };
        let accepted = count(|state| matches!(state, State::Accepted(_)));
        #[expect(clippy::cast_precision_loss, reason = "a report")]
        let per_second = accepted as f64 / self.loaded.as_secs_f64().max(0.001);
        Numbers {
            published: self.facts.entries.len(),
            accepted,
            unknown: count(|state| *state == State::Unknown),
            nobody: self.facts.nobody,
            per_second,
        }
    }

    fn times(&self) -> BTreeMap<Kind, Times> {
        let mut kinds: BTreeMap<Kind, Times> = BTreeMap::new();
        for incident in self.facts.incidents.iter().filter(|it| !it.recovered.is_empty()) {
            let times = kinds.entry(incident.kind).or_default();
            match incident.took() {
                Some(took) => times.all.push(took),
                None => times.never += 1,
            }
        }
        kinds
    }

    // === For people ===

    fn text(&self) -> String {
        let mut text = String::new();
        self.write_head(&mut text);
        for promise in Promise::ALL {
            let _ = writeln!(text, "{:>8} {}", self.judgement.broken(promise), promise.words());
        }
        text.push_str(&self.stories());
        let (verdict, seed) = (if self.holds() { "holds" } else { "BROKEN" }, self.options.seed);
        let _ = write!(text, "verdict: {verdict} (seed {seed})");
        text
    }

    fn write_head(&self, text: &mut String) {
        let it = self.numbers();
        let _ = writeln!(text, "{}", self.versions.join(", "));
        let _ = writeln!(
            text,
            "{} published, {} accepted ({:.0}/s), {} unknown, {} sent again because nobody subscribed",
            it.published, it.accepted, it.per_second, it.unknown, it.nobody
        );
        let repeats = &self.judgement.repeats;
        let _ = writeln!(
            text,
            "{} rows, {} repeats (at most {}: {} breaks × {}), {} acknowledgements checked, {} pairs in order",
            self.facts.effects.len(),
            repeats.count,
            repeats.allowed,
            repeats.breaks,
            self.facts.receive_maximum,
            self.facts.checked.asked,
            self.judgement.order_checked
        );
        let _ = writeln!(
            text,
            "{} sessions on the broker for {} slots; a worker takes {} MiB at most",
            self.facts.leftovers.sessions,
            self.facts.leftovers.slots,
            self.peak_memory >> 20
        );
        let reused = self.facts.seen.reused;
        if reused > 0 {
            let _ = writeln!(
                text,
                "the broker used {reused} packet ids again before they were acknowledged"
            );
        }
        let _ = writeln!(
            text,
            "{} faults, {} skipped (target taken); acknowledging again after:",
            self.facts.incidents.len(),
            self.skipped
        );
        for (kind, times) in self.times() {
            let _ = writeln!(text, "{:>18}  {}", kind.name(), times.words(kind));
        }
    }

    /// The counterexamples with their timelines.
    pub(crate) fn stories(&self) -> String {
        let mut text = String::new();
        for promise in Promise::ALL {
            let examples: Vec<&Counterexample> =
                self.judgement.counterexamples.iter().filter(|it| it.promise == promise).collect();
            for example in examples.iter().take(SHOWN) {
                let _ =
                    writeln!(text, "\n{}: {}", promise.words().to_uppercase(), example.headline());
                for line in timeline(&self.facts, example) {
                    let _ = writeln!(text, "    {line}");
                }
            }
            if examples.len() > SHOWN {
                let _ = writeln!(text, "    … and {} more", examples.len() - SHOWN);
            }
        }
        text
    }

    // === For programs ===

    fn json(&self) -> Value {
        let it = self.numbers();
        let broken: BTreeMap<&str, usize> = Promise::ALL
            .iter()
            .map(|promise| (promise.words(), self.judgement.broken(*promise)))
            .collect();
        let recovery: BTreeMap<String, Value> =
            self.times().into_iter().map(|(kind, times)| (kind.name(), times.json(kind))).collect();
        let examples: Vec<String> = self
            .judgement
            .counterexamples
            .iter()
            .take(LISTED)
            .map(|example| format!("{}: {}", example.promise.words(), example.headline()))
            .collect();
        json!({
            "holds": self.holds(),
            "seed": self.options.seed,
            "seconds": self.options.duration().as_secs(),
            "published": it.published,
            "accepted": it.accepted,
            "acceptedPerSecond": it.per_second,
            "unknown": it.unknown,
            "nobody": it.nobody,
            "rows": self.facts.effects.len(),
            "repeats": self.judgement.repeats.count,
            "repeatsAllowed": self.judgement.repeats.allowed,
            "acknowledgementsChecked": self.facts.checked.asked,
            "pairsInOrder": self.judgement.order_checked,
            "sessions": self.facts.leftovers.sessions,
            "slots": self.facts.leftovers.slots,
            "faults": self.facts.incidents.len(),
            "skipped": self.skipped,
            "packetIdsReused": self.facts.seen.reused,
            "peakMemoryBytes": self.peak_memory,
            "versions": self.versions,
            "broken": broken,
            "recovery": recovery,
            "counterexamples": examples,
        })
    }
}

impl Counterexample {
    fn headline(&self) -> String {
        match self.id {
            Some(id) => format!("message {id}: {}", self.what),
            None => self.what.clone(),
        }
    }
}

impl Times {
    fn slowest(&self) -> Duration {
        self.all.iter().max().copied().unwrap_or_default()
    }

    fn words(&self, kind: Kind) -> String {
        let limit = kind.habits().recovers.as_secs();
        let never = if self.never > 0 { format!(", {} never", self.never) } else { String::new() };
        let slowest = self.slowest().as_secs_f64();
        format!("{slowest:>6.2} s at most of {} (promised {limit} s){never}", self.all.len())
    }

    fn json(&self, kind: Kind) -> Value {
        json!({
            "times": self.all.len(),
            "slowestSeconds": self.slowest().as_secs_f64(),
            "promisedSeconds": kind.habits().recovers.as_secs(),
            "never": self.never,
        })
    }
}
