//! How a line behaves that is worse than loopback.

use std::time::Duration;

/// What TCP waits at least before it sends a lost segment again (Linux: 200 ms).
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// A line under TCP: late and uneven, but nothing is missing or out of order. A lost segment shows itself as what
/// TCP makes of it: it and all behind it come one retransmission later.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line {
    /// One way.
    pub delay: Duration,
    /// More or less than `delay`, at most.
    pub jitter: Duration,
    /// The share of reads that are lost at first, 0 to 1.
    pub loss: f64,
}

impl Line {
    /// How long what was read now is on the way.
    pub(super) fn takes(&self) -> Duration {
        let shortest = self.delay.saturating_sub(self.jitter);
        let longest = self.delay + self.jitter;
        let uneven = longest.saturating_sub(shortest).mul_f64(fastrand::f64());
        let lost = fastrand::f64() < self.loss;
        let again = if lost { RETRANSMISSION + 2 * self.delay } else { Duration::ZERO };
        shortest + uneven + again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(line: Line) -> Vec<u128> {
        (0..1000).map(|_| line.takes().as_millis()).collect()
    }

    #[test]
    fn a_line_is_as_late_as_its_delay_and_jitter_allow() {
        let (delay, jitter) = (Duration::from_millis(200), Duration::from_millis(100));
        let times = milliseconds(Line { delay, jitter, loss: 0.0 });
        assert!(times.iter().all(|time| (100..=300).contains(time)));
        assert!(times.iter().any(|time| *time < 150) && times.iter().any(|time| *time > 250));
    }

    #[test]
    fn what_is_lost_comes_a_retransmission_later() {
        let line = Line { delay: Duration::from_millis(50), jitter: Duration::ZERO, loss: 0.05 };
        let times = milliseconds(line);
        let late = times.iter().filter(|time| **time == 350).count();
        assert!((10..150).contains(&late), "{late} of 1000 late");
        assert!(times.iter().all(|time| *time == 50 || *time == 350));
    }
}
