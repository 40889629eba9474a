//! When something was seen.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// Microseconds since the start of the run, on one clock for all witnesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// The clock of the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// It begins now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// What it shows.
    pub(crate) fn now(&self) -> Moment {
        Moment(
            u64::try_from(self.0.elapsed().as_micros()).expect("a run ends within 500,000 years"),
        )
    }
}

impl Moment {
    /// So many seconds after the start.
    #[cfg(test)]
    pub(crate) fn seconds(seconds: u64) -> Self {
        Self(seconds * 1_000_000)
    }

    /// The time from `earlier` to this one; zero where it is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// So much earlier, at most to the start.
    pub(crate) fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    /// So much later.
    pub(crate) fn plus(self, span: Duration) -> Self {
        Self(self.0 + u64::try_from(span.as_micros()).unwrap_or(u64::MAX / 2))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8}.{:03} s", self.0 / 1_000_000, self.0 / 1000 % 1000)
    }
}
