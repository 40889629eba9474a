use std::cmp::Ordering;

use super::{Level, ParamKind, Pattern};

impl Pattern {
    /// `Less`: `self` is the more specific, and wins where both match.
    ///
    /// Level by level from the left: the end of the pattern, literal, `int`, `uuid`, `float`, param
    /// or `+`, tail or `#`. Patterns of equal rank are told apart by their text, so that the order
    /// is total; of those, only literals that differ can stand in one table.
    #[must_use]
    pub fn compare_specificity(&self, other: &Self) -> Ordering {
        let ranks = |pattern: &Self| pattern.levels.iter().map(rank).collect::<Vec<_>>();
        ranks(self).cmp(&ranks(other)).then_with(|| self.source.cmp(&other.source))
    }
}

/// Lower is more specific. A pattern that ends sorts before one that goes on, as a prefix does.
fn rank(level: &Level) -> u8 {
    match level {
        Level::Literal(_) => 0,
        Level::Param { kind: ParamKind::Int, .. } => 1,
        Level::Param { kind: ParamKind::Uuid, .. } => 2,
        Level::Param { kind: ParamKind::Float, .. } => 3,
        Level::Param { kind: ParamKind::Text, .. } | Level::Any => 4,
        Level::Tail { .. } | Level::Rest => 5,
    }
}
