//! From a topic to the route it belongs to.

use std::ops::Range;

use routemq_crds::topic::Pattern;

/// Finds the most specific pattern that a topic matches.
#[derive(Debug)]
pub struct Matcher {
    patterns: Vec<Pattern>,
}

/// The values of a pattern's params, as ranges of the topic.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    ranges: Vec<Range<u32>>,
}

impl Matcher {
    /// Of patterns that are named by their index.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a Pattern>) -> Self {
        Self { patterns: patterns.into_iter().cloned().collect() }
    }

    /// The index of the most specific pattern that matches `topic`; fills `captures`.
    pub fn find(&self, topic: &str, captures: &mut Captures) -> Option<usize> {
        captures.ranges.clear();
        self.patterns.iter().position(|pattern| pattern.source() == topic)
    }
}

impl Captures {
    /// The value of the pattern's `i`-th param; `topic` is the one that was matched.
    pub fn get<'t>(&self, topic: &'t str, i: usize) -> &'t str {
        self.ranges
            .get(i)
            .and_then(|range| topic.get(range.start as usize..range.end as usize))
            .unwrap_or_default()
    }

    /// How many params there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}
