//! OpenMetrics text, read by a parser that knows nothing of the worker.

use std::collections::{BTreeMap, BTreeSet};

/// One scrape.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    samples: Vec<Sample>,
    /// By family: counter, gauge, histogram.
    pub(crate) types: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with("# EOF\n"), "OpenMetrics ends with # EOF: {text}");
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(sample);
        Self {
            samples: samples.collect(),
            types: types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect(),
        }
    }

    /// The sum over all samples of this name that have these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &Sample| {
            labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|it| it == value))
        };
        let mut found =
            self.samples.iter().filter(|sample| sample.name == name && has(sample)).peekable();
        assert!(found.peek().is_some(), "no {name} {labels:?} in {:?}", self.samples);
        found.map(|sample| sample.value).sum()
    }

    /// The same, where it counts something.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counted by a test"
    )]
    pub(crate) fn count(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.sum(name, labels) as usize
    }

    /// The labels that samples of a family have, whatever their values; `le` belongs to the format.
    pub(crate) fn labels(&self, family: &str) -> BTreeSet<String> {
        let of_family = |sample: &&Sample| {
            let rest = sample.name.strip_prefix(family);
            rest.is_some_and(|rest| ["", "_total", "_bucket", "_sum", "_count"].contains(&rest))
        };
        let labels = self.samples.iter().filter(of_family).flat_map(|sample| sample.labels.keys());
        labels.filter(|label| *label != "le").cloned().collect()
    }
}

/// `name{key="value",…} 1.5`; values of the tests hold neither quotes nor commas.
fn sample(line: &str) -> Sample {
    let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
    let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
    let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
    let labels = labels.map(|label| {
        let (key, value) = label.split_once('=').unwrap_or_else(|| panic!("no label: {line}"));
        (key.to_owned(), value.trim_matches('"').to_owned())
    });
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    Sample { name: name.to_owned(), labels: labels.collect(), value }
}
