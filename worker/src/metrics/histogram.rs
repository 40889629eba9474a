//! How values are distributed: fixed buckets, counted with atomics, summed when somebody asks.

use std::{
    ops::AddAssign,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Buckets with an upper bound; one more takes what is beyond the last.
const BOUNDS: usize = 16;

/// What a histogram's values are. The bounds ascend and are inclusive; `per_unit` of what is counted make one of what
/// is told.
#[derive(Debug)]
pub(crate) struct Scale {
    bounds: [u64; BOUNDS],
    per_unit: f64,
}

/// 100 µs to 30 s: counted in nanoseconds, told in seconds.
pub(crate) static SECONDS: Scale = Scale {
    bounds: [
        100_000,
        250_000,
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        25_000_000,
        50_000_000,
        100_000_000,
        250_000_000,
        500_000_000,
        1_000_000_000,
        2_500_000_000,
        10_000_000_000,
        30_000_000_000,
    ],
    per_unit: 1e9,
};

/// 1 to 32,768 of something.
pub(crate) static NUMBERS: Scale = Scale {
    bounds: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768],
    per_unit: 1.0,
};

/// Adds to a number that only one task at a time writes: a plain load and store, at a fifth of an atomic addition's cost.
pub(crate) fn add_alone(cell: &AtomicU64, number: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(number), Relaxed);
}

/// Counts values into buckets. No lock, no allocation: two relaxed additions a value, so that a reader may see one of
/// them before the other. The buckets of small values stand next to the sum: there may be thousands of histograms, and each
/// line of the cache counts.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Histogram {
    sum: AtomicU64,
    buckets: [AtomicU64; BOUNDS + 1],
}

/// The values of one histogram, or of several of one scale together, as they were when somebody asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    counts: [u64; BOUNDS + 1],
    sum: u64,
}

/// A distribution as it is told: everything in the scale's unit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) sum: f64,
    pub(crate) count: u64,
    /// Upper bound and number of values, not cumulative; the last bound is `f64::MAX` and means all that is beyond.
    pub(crate) buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// Something took this long ([`SECONDS`]).
    pub(crate) fn took(&self, time: Duration) {
        self.observe(&SECONDS, nanos(time));
    }

    /// The same, where only one task at a time counts here.
    pub(crate) fn took_alone(&self, time: Duration) {
        let nanos = nanos(time);
        add_alone(self.bucket(&SECONDS, nanos), 1);
        add_alone(&self.sum, nanos);
    }

    /// There were this many ([`NUMBERS`]).
    pub(crate) fn numbered(&self, number: usize) {
        self.observe(&NUMBERS, number as u64);
    }

    fn observe(&self, scale: &Scale, value: u64) {
        self.bucket(scale, value).fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// Most values are small: the first bound that holds one is found soonest from below.
    fn bucket(&self, scale: &Scale, value: u64) -> &AtomicU64 {
        let bucket = scale.bounds.iter().position(|bound| value <= *bound).unwrap_or(BOUNDS);
        &self.buckets[bucket]
    }

    /// Everything so far.
    pub(crate) fn distribution(&self) -> Distribution {
        let counts = std::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed));
        Distribution { counts, sum: self.sum.load(Relaxed) }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Distribution {
    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    #[expect(clippy::cast_precision_loss, reason = "a float is what is told: 15 digits are enough")]
    pub(crate) fn told(&self, scale: &Scale) -> Told {
        let bounds = scale.bounds.iter().map(|bound| *bound as f64 / scale.per_unit);
        let buckets = bounds.chain([f64::MAX]).zip(self.counts).collect();
        Told { sum: self.sum as f64 / scale.per_unit, count: self.count(), buckets }
    }
}

impl AddAssign<&Self> for Distribution {
    fn add_assign(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_whose_bound_holds_it() {
        let histogram = Histogram::default();
        for micros in [0, 100, 101] {
            histogram.took(Duration::from_micros(micros));
        }
        for micros in [30_000_000, 30_000_001] {
            histogram.took_alone(Duration::from_micros(micros));
        }
        let told = histogram.distribution().told(&SECONDS);
        let full: Vec<_> = told.buckets.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(full, [&(0.0001, 2), &(0.00025, 1), &(30.0, 1), &(f64::MAX, 1)]);
        assert_eq!(told.count, 5);
        assert!((told.sum - 60.000_202).abs() < 1e-9, "{}", told.sum);
    }

    #[test]
    fn distributions_of_several_lanes_are_summed_bucket_by_bucket() {
        let mut sum = Distribution::default();
        for rows in [1, 500, 100_000] {
            let histogram = Histogram::default();
            histogram.numbered(rows);
            sum += &histogram.distribution();
        }
        let told = sum.told(&NUMBERS);
        let full: Vec<_> = told.buckets.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(full, [&(1.0, 1), &(512.0, 1), &(f64::MAX, 1)]);
        assert_eq!((told.count, told.sum), (3, 100_501.0));
    }

    #[test]
    fn bounds_ascend() {
        for scale in [&SECONDS, &NUMBERS] {
            assert!(scale.bounds.is_sorted(), "{scale:?}");
        }
    }
}
