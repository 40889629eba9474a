//! Bounds messages per time and key: a token bucket each.

use std::{
    hash::BuildHasher as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use foldhash::{HashMap, quality::RandomState};

use routemq_crds::{
    expression::Expression,
    v1alpha1::{RateLimitAction, RateLimitScope},
};
use tokio::time::Instant;

use super::Entered;
use crate::{
    engine::Shared,
    message::Message,
    outcome::{Failure, Outcome, class},
};

/// Keys that are remembered at most. Beyond it the keys unseen for longest start afresh.
const MAX_KEYS: usize = 65_536;

/// The `rateLimit` middleware.
#[derive(Debug)]
pub(crate) struct RateLimit {
    rate: Rate,
    key: Option<Expression>,
    action: RateLimitAction,
    hasher: RandomState,
    buckets: Mutex<Buckets>,
}

/// How fast a bucket fills, in whole numbers: a nanosecond adds `limit` parts, a message costs `per` parts.
#[derive(Clone, Copy, Debug)]
struct Rate {
    limit: i128,
    per: i128,
    capacity: i128,
}

#[derive(Debug, Default)]
struct Buckets {
    /// The keys are hashes already, seeded anew in each process.
    by_key: HashMap<u64, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    parts: i128,
    seen: Instant,
}

impl RateLimit {
    pub(crate) fn new(
        limit: u32,
        per: Duration,
        burst: u32,
        key: Option<Expression>,
        action: RateLimitAction,
    ) -> Self {
        let rate = Rate::new(limit, per, burst);
        Self { rate, key, action, hasher: RandomState::default(), buckets: Mutex::default() }
    }

    /// The same limit with full buckets.
    pub(crate) fn afresh(&self) -> Self {
        Self {
            rate: self.rate,
            key: self.key.clone(),
            action: self.action,
            hasher: RandomState::default(),
            buckets: Mutex::default(),
        }
    }

    pub(crate) fn enter(&self, message: &Message, shared: &Shared) -> Result<Entered, Failure> {
        let key = self.key(message, shared)?;
        let wait = self.take(key, Instant::now());
        match (wait, self.action) {
            (Duration::ZERO, _) => Ok(Entered::Continue),
            (wait, RateLimitAction::Delay) => Ok(Entered::Wait(wait)),
            (_, RateLimitAction::Drop) => Ok(Entered::End(Outcome::Dropped(class::RATE_LIMITED))),
            (_, RateLimitAction::Reject) => {
                Ok(Entered::End(Outcome::Rejected(class::RATE_LIMITED)))
            }
            (_, RateLimitAction::DeadLetter) => {
                Err(Failure::permanent(class::RATE_LIMITED, "the rate limit is used up"))
            }
        }
    }

    /// The key's hash, seeded anew in each process so that nobody can choose keys that collide.
    fn key(&self, message: &Message, shared: &Shared) -> Result<u64, Failure> {
        Ok(match &self.key {
            Some(at) => self.hasher.hash_one(shared.evaluator.text(at, message)?),
            None => self.hasher.hash_one(message.topic()),
        })
    }

    /// Takes a message's worth from the key's bucket; how long until it is there. With `Delay` the
    /// bucket goes into debt, so that those who wait leave one after the other.
    fn take(&self, key: u64, now: Instant) -> Duration {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.filled(key, now, self.rate);
        let left = bucket.parts - self.rate.per;
        if left >= 0 || self.action == RateLimitAction::Delay {
            bucket.parts = left;
        }
        self.rate.time_for(-left)
    }
}

impl Rate {
    fn new(limit: u32, per: Duration, burst: u32) -> Self {
        let nanos = i128::try_from(per.as_nanos()).unwrap_or(i128::MAX >> 64).max(1);
        let capacity = i128::from(burst.max(1)) * nanos;
        Self { limit: i128::from(limit.max(1)), per: nanos, capacity }
    }

    /// Rounded up: after it, the parts are there.
    fn time_for(&self, parts: i128) -> Duration {
        if parts <= 0 {
            // The usual case is spared a division of 128 bits.
            return Duration::ZERO;
        }
        let nanos = (parts + self.limit - 1) / self.limit;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn fill(&self, bucket: Bucket, now: Instant) -> i128 {
        let elapsed = now.saturating_duration_since(bucket.seen).as_nanos();
        let added = i128::try_from(elapsed).unwrap_or(i128::MAX >> 64).saturating_mul(self.limit);
        bucket.parts.saturating_add(added).min(self.capacity)
    }
}

impl Buckets {
    fn filled(&mut self, key: u64, now: Instant, rate: Rate) -> &mut Bucket {
        if self.by_key.len() >= MAX_KEYS && !self.by_key.contains_key(&key) {
            self.make_room(now, rate);
        }
        let full = Bucket { parts: rate.capacity, seen: now };
        let bucket = self.by_key.entry(key).or_insert(full);
        *bucket = Bucket { parts: rate.fill(*bucket, now), seen: now };
        bucket
    }

    /// A full bucket is as good as none. Where all are in use, the eighth that was seen longest ago goes.
    fn make_room(&mut self, now: Instant, rate: Rate) {
        self.by_key.retain(|_, bucket| rate.fill(*bucket, now) < rate.capacity);
        if self.by_key.len() > MAX_KEYS - MAX_KEYS / 8 {
            let mut seen: Vec<_> = self.by_key.values().map(|bucket| bucket.seen).collect();
            let (_, edge, _) = seen.select_nth_unstable(MAX_KEYS / 8);
            let edge = *edge;
            let mut room = MAX_KEYS / 8;
            self.by_key.retain(|_, bucket| {
                let gone = bucket.seen <= edge && room > 0;
                room -= usize::from(gone);
                !gone
            });
        }
    }
}

/// The limit of one worker.
pub(crate) fn share_of(limit: u32, scope: RateLimitScope, workers: u32) -> u32 {
    match scope {
        RateLimitScope::Worker => limit,
        RateLimitScope::Route => (limit / workers.max(1)).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(limit: u32, per: u64, burst: u32, action: RateLimitAction) -> RateLimit {
        RateLimit::new(limit, Duration::from_secs(per), burst, None, action)
    }

    fn passes(limiter: &RateLimit, key: u64, now: Instant) -> bool {
        limiter.take(key, now).is_zero()
    }

    #[test]
    fn a_burst_passes_and_the_next_waits_for_its_token() {
        let limiter = limiter(7, 1, 3, RateLimitAction::Drop);
        let start = Instant::now();
        assert!((0..3).all(|_| passes(&limiter, 1, start)));
        assert!(!passes(&limiter, 1, start));
        let token = Duration::from_nanos(142_857_143);
        assert!(!passes(&limiter, 1, start + token - Duration::from_nanos(1)));
        assert!(passes(&limiter, 1, start + token));
    }

    #[test]
    fn no_span_ever_sees_more_than_the_burst_and_what_was_filled() {
        let limiter = limiter(10, 1, 10, RateLimitAction::Drop);
        let start = Instant::now();
        let passed = (0..10_000_u64)
            .filter(|i| passes(&limiter, 1, start + Duration::from_millis(*i)))
            .count();
        assert_eq!(passed, 10 + 99, "ten at once, then one each 100 ms until 9.999 s");
    }

    #[test]
    fn keys_have_buckets_of_their_own() {
        let limiter = limiter(1, 60, 1, RateLimitAction::Drop);
        let now = Instant::now();
        assert!(passes(&limiter, 1, now));
        assert!(passes(&limiter, 2, now));
        assert!(!passes(&limiter, 1, now));
    }

    #[test]
    fn delayed_messages_leave_one_after_the_other() {
        let limiter = limiter(2, 1, 1, RateLimitAction::Delay);
        let now = Instant::now();
        let waits: Vec<_> = (0..4).map(|_| limiter.take(1, now).as_millis()).collect();
        assert_eq!(waits, [0, 500, 1000, 1500]);
    }

    #[test]
    fn the_table_of_keys_is_bounded() {
        let limiter = limiter(1, 3600, 1, RateLimitAction::Drop);
        let start = Instant::now();
        for key in 0..2 * MAX_KEYS as u64 {
            limiter.take(key, start + Duration::from_nanos(key));
        }
        let buckets = limiter.buckets.lock().unwrap();
        assert!(buckets.by_key.len() <= MAX_KEYS);
        assert!(buckets.by_key.contains_key(&(2 * MAX_KEYS as u64 - 1)), "the newest stays");
    }

    #[test]
    fn a_route_scope_divides_the_limit_but_leaves_each_worker_one() {
        assert_eq!(share_of(100, RateLimitScope::Worker, 3), 100);
        assert_eq!(share_of(100, RateLimitScope::Route, 3), 33);
        assert_eq!(share_of(2, RateLimitScope::Route, 3), 1);
        assert_eq!(share_of(2, RateLimitScope::Route, 0), 2);
    }
}
