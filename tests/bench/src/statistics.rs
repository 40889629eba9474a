//! Medians, and how far rounds lie apart.

/// One figure of several rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of at least one value; zeros of none.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else {
            return Self { median: 0.0, least: 0.0, most: 0.0 };
        };
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Self { median, least: *least, most: *most }
    }

    /// Whether rounds differ by so much that a median says little: more than three quarters of it.
    pub(crate) fn is_noisy(&self) -> bool {
        self.most - self.least > 0.75 * self.median
    }
}

/// The value below which `share` (0 to 1) of them lie.
pub(crate) fn percentile(sorted: &[u64], share: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_two_in_the_middle() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(
            Spread::of(&[4.0, 1.0, 2.0, 3.0]),
            Spread { median: 2.5, least: 1.0, most: 4.0 }
        );
        assert!(Spread::of(&[1.0, 2.0, 1.1]).is_noisy());
        assert!(!Spread::of(&[1.0, 1.2, 1.1]).is_noisy());
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<u64> = (0..1000).collect();
        assert_eq!((percentile(&values, 0.5), percentile(&values, 0.99)), (500, 990));
        assert_eq!(percentile(&[], 0.5), 0);
    }
}
