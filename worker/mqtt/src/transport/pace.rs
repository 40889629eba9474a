//! Whether messages come so small and so fast that it pays to read them by the handful.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;

/// The mark at which every byte is told at once.
pub(super) const SINGLE: usize = 1;
/// Reads that are looked at together: so many in [`BRISK`] are worth to be fewer.
const READS: u32 = 16;
const BRISK: Duration = Duration::from_millis(2);
/// Mean bytes of a read that holds a message or two. Larger ones are few, or have been gathered by the sender.
const SMALL: usize = 1024;
/// Messages to wait for, at most: brokers have as few as ten under way.
const HANDFUL: usize = 8;
/// What is waited for comes in this time, as fast as it comes now.
const PATIENCE: Duration = Duration::from_micros(500);
/// How long nothing is gathered after nothing came: twice as long each time.
const LEAST_REST: Duration = Duration::from_millis(100);
const MOST_REST: Duration = Duration::from_secs(10);

/// What was read lately, and what follows from it.
#[derive(Debug)]
pub(super) struct Pace {
    reads: u32,
    bytes: usize,
    since: Instant,
    mark: usize,
    rests: Backoff,
    rests_until: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        let rests = Backoff::between(LEAST_REST, MOST_REST);
        Self { reads: 0, bytes: 0, since: now, mark: SINGLE, rests, rests_until: now }
    }

    /// How many bytes are waited for: then [`Self::tick`] is called each millisecond or two.
    pub(super) fn waits_for(&self) -> Option<usize> {
        (self.mark > SINGLE).then_some(self.mark)
    }

    /// Something was read. Answers how many bytes to wait for from now on, if that changes.
    pub(super) fn read(&mut self, bytes: usize, now: impl FnOnce() -> Instant) -> Option<usize> {
        self.reads += 1;
        self.bytes += bytes;
        if self.waits_for().is_some() || self.reads < READS {
            return None;
        }
        let now = now();
        let (reads, bytes, took) = self.begin(now);
        let mean = bytes / reads.max(1) as usize;
        if took > BRISK || mean > SMALL || now < self.rests_until {
            return None;
        }
        let in_time = scale(bytes, PATIENCE, took);
        self.mark = (HANDFUL * mean).min(in_time).max(SINGLE);
        self.waits_for()
    }

    /// A while has passed. Answers [`SINGLE`] where it does not pay any more to wait: less came than was waited for
    /// twice. Where nothing came at all, whoever sends may wait for us, as one does that has few messages under way.
    pub(super) fn tick(&mut self, now: Instant) -> Option<usize> {
        let (reads, bytes, _) = self.begin(now);
        if reads == 0 {
            self.rests_until = now + self.rests.next(1.0);
        } else {
            self.rests.reset();
        }
        (bytes < 2 * self.mark).then(|| self.give_up())
    }

    /// Every byte is told at once from now on.
    pub(super) fn give_up(&mut self) -> usize {
        self.mark = SINGLE;
        self.mark
    }

    /// What was read since the last time, and how long that is ago.
    fn begin(&mut self, now: Instant) -> (u32, usize, Duration) {
        let so_far = (self.reads, self.bytes, now - self.since);
        (self.reads, self.bytes, self.since) = (0, 0, now);
        so_far
    }
}

/// `bytes` came in `took`: how many come in `time`?
fn scale(bytes: usize, time: Duration, took: Duration) -> usize {
    let nanos = |it: Duration| usize::try_from(it.as_nanos()).unwrap_or(usize::MAX);
    bytes.saturating_mul(nanos(time)) / nanos(took).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sixteen reads of so many bytes, so long after one another.
    fn reads(pace: &mut Pace, now: &mut Instant, bytes: usize, apart: Duration) -> Option<usize> {
        (0..READS).fold(None, |_, _| {
            *now += apart;
            pace.read(bytes, || *now)
        })
    }

    fn micros(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    #[test]
    fn small_messages_that_come_fast_are_gathered_and_no_others() {
        for (reason, bytes, apart, mark) in [
            ("a fast flow: a handful", 150, micros(25), Some(8 * 150)),
            ("a brisk flow: what comes in half a millisecond", 150, micros(125), Some(4 * 150)),
            ("answers of a few bytes", 4, micros(25), Some(32)),
            ("a flow too slow to wait for", 150, micros(130), None),
            ("reads that hold many messages already", 64 * 1024, micros(25), None),
        ] {
            let mut now = Instant::now();
            let mut pace = Pace::new(now);
            assert_eq!(reads(&mut pace, &mut now, bytes, apart), mark, "{reason}");
            assert_eq!(pace.waits_for(), mark, "{reason}");
        }
    }

    #[test]
    fn what_comes_as_fast_as_before_goes_on_being_gathered() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(reads(&mut pace, &mut now, 150, micros(25)), Some(1200));
        for _ in 0..100 {
            assert_eq!((pace.read(1200, || now), pace.read(1350, || now)), (None, None));
            now += micros(1000);
            assert_eq!(pace.tick(now), None);
        }
    }

    #[test]
    fn a_flow_that_slows_down_is_not_waited_for_but_may_be_again_at_once() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(reads(&mut pace, &mut now, 150, micros(25)), Some(1200));
        assert_eq!(pace.read(1200, || now), None);
        assert_eq!(pace.tick(now), Some(SINGLE));
        assert_eq!(reads(&mut pace, &mut now, 150, micros(25)), Some(1200));
    }

    #[test]
    fn a_sender_that_waits_for_us_is_held_up_ever_more_seldom() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let mut vain = Vec::new();
        let started = now;
        while now - started < Duration::from_mins(1) {
            if reads(&mut pace, &mut now, 150, micros(40)).is_some() {
                now += micros(1500);
                assert_eq!(pace.tick(now), Some(SINGLE));
                vain.push(now);
            }
        }
        let apart: Vec<_> = vain.windows(2).map(|it| (it[1] - it[0]).as_millis() / 100).collect();
        assert_eq!(apart, [1, 2, 4, 8, 16, 32, 64, 100, 100, 100, 100], "tenths of seconds");
    }
}
