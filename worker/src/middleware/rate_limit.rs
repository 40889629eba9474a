//! Bounds messages per time and key: a token bucket each.

use std::{
    hash::BuildHasher as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use routemq_crds::{
    expression::Expression,
    v1alpha1::{RateLimitAction, RateLimitScope},
};
use tokio::time::Instant;

use super::Entered;
use crate::{
    clock,
    engine::{self, Shared},
    message::Message,
    outcome::{Failure, Outcome, class},
};

/// Keys that are remembered at most, by an expression. Beyond it those that are nearest to their full limit start afresh.
const MOST_KEYS: usize = 65_536;
/// The same for topics, of all routes that share the limit.
const MOST_TOPICS: usize = 1 << 20;
/// Each has its share of the keys.
const SHARDS: usize = 16;

/// The `rateLimit` middleware.
#[derive(Debug)]
pub(crate) struct RateLimit {
    rate: Rate,
    key: Option<Expression>,
    action: RateLimitAction,
    /// Seeded anew in each process, so that nobody can choose keys that collide.
    hasher: RandomState,
    /// What [`Ticks`] are counted from.
    start: Instant,
    /// Topics are dealt out as lanes are: two lanes do not meet in one shard.
    shards: Box<[Mutex<Buckets>; SHARDS]>,
}

/// 64ths of a nanosecond: a rate of millions a second is kept to a thousandth of a percent, for nine years.
type Ticks = u64;
const TICKS: Ticks = 64;

/// How fast a bucket fills.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// Until a message's worth is there again.
    interval: Ticks,
    /// Until an empty bucket is full.
    capacity: Ticks,
}

/// A bucket is known by when it will be full: less is not needed to tell how much is in it (the generic cell rate algorithm,
/// ITU-T I.371).
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// A hash already.
    key: u64,
    full: Ticks,
}

#[derive(Debug, Default)]
struct Buckets {
    by_key: HashTable<Bucket>,
}

impl RateLimit {
    pub(crate) fn new(
        limit: u32,
        per: Duration,
        burst: u32,
        key: Option<Expression>,
        action: RateLimitAction,
    ) -> Self {
        Self::of(Rate::new(limit, per, burst), key, action)
    }

    /// The same limit with full buckets.
    pub(crate) fn afresh(&self) -> Self {
        Self::of(self.rate, self.key.clone(), self.action)
    }

    fn of(rate: Rate, key: Option<Expression>, action: RateLimitAction) -> Self {
        Self {
            rate,
            key,
            action,
            hasher: RandomState::default(),
            start: Instant::now(),
            shards: Box::default(),
        }
    }

    pub(crate) fn enter(&self, message: &Message, shared: &Shared) -> Result<Entered, Failure> {
        let (place, key) = self.key(message, shared)?;
        let wait = self.take(place, key, clock::recent());
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

    /// What a key's shard is chosen by, and its hash.
    fn key(&self, message: &Message, shared: &Shared) -> Result<(u64, u64), Failure> {
        let Some(at) = &self.key else {
            let topic = message.topic_bytes();
            return Ok((engine::topic_hash(topic), self.hasher.hash_one(topic)));
        };
        let key = self.hasher.hash_one(shared.evaluator.text(at, message)?);
        Ok((key, key))
    }

    /// Takes a message's worth from the key's bucket; how long until it is there. With `Delay` the
    /// bucket goes into debt, so that those who wait leave one after the other.
    fn take(&self, place: u64, key: u64, now: Instant) -> Duration {
        let shard = &self.shards[(place >> 60) as usize % SHARDS];
        let now = ticks(now.saturating_duration_since(self.start));
        let most = if self.key.is_some() { MOST_KEYS } else { MOST_TOPICS } / SHARDS;
        let mut buckets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.bucket(key, now, most);
        let full = bucket.full.max(now).saturating_add(self.rate.interval);
        let wait = (full - now).saturating_sub(self.rate.capacity);
        if wait == 0 || self.action == RateLimitAction::Delay {
            bucket.full = full;
        }
        // Rounded up: after it, a message's worth is there.
        Duration::from_nanos(wait.div_ceil(TICKS))
    }
}

fn ticks(time: Duration) -> Ticks {
    Ticks::try_from(time.as_nanos() * u128::from(TICKS)).unwrap_or(Ticks::MAX)
}

impl Rate {
    fn new(limit: u32, per: Duration, burst: u32) -> Self {
        // Rounded up: never more than what is allowed.
        let interval = (per.as_nanos() * u128::from(TICKS)).div_ceil(u128::from(limit.max(1)));
        let interval = Ticks::try_from(interval).unwrap_or(Ticks::MAX).max(1);
        Self { interval, capacity: interval.saturating_mul(burst.max(1).into()) }
    }
}

impl Buckets {
    fn bucket(&mut self, key: u64, now: Ticks, most: usize) -> &mut Bucket {
        if self.by_key.len() >= most && self.by_key.find(key, |it| it.key == key).is_none() {
            self.make_room(now, most);
        }
        let entry = self.by_key.entry(key, |it| it.key == key, |it| it.key);
        entry.or_insert(Bucket { key, full: now }).into_mut()
    }

    /// A full bucket is as good as none. Where all are in use, the eighth that is nearest to be full goes.
    fn make_room(&mut self, now: Ticks, most: usize) {
        self.by_key.retain(|bucket| bucket.full > now);
        if self.by_key.len() > most - most / 8 {
            let mut full: Vec<_> = self.by_key.iter().map(|bucket| bucket.full).collect();
            let (_, edge, _) = full.select_nth_unstable(most / 8);
            let edge = *edge;
            let mut room = most / 8;
            self.by_key.retain(|bucket| {
                let gone = bucket.full <= edge && room > 0;
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
        limiter.take(key, key, now).is_zero()
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
        let waits: Vec<_> = (0..4).map(|_| limiter.take(1, 1, now).as_millis()).collect();
        assert_eq!(waits, [0, 500, 1000, 1500]);
    }

    #[test]
    fn the_table_of_keys_is_bounded_and_the_newest_stay() {
        let mut buckets = Buckets::default();
        for key in 0..1000 {
            buckets.bucket(key, key, 64).full = 10_000 + key;
        }
        assert!((56..=64).contains(&buckets.by_key.len()), "{}", buckets.by_key.len());
        assert!((950..1000).all(|key| buckets.by_key.find(key, |it| it.key == key).is_some()));
        buckets.bucket(1000, 20_000, 64);
        assert!(buckets.by_key.len() <= 64);
    }

    #[test]
    fn a_bucket_that_was_full_again_is_forgotten_first() {
        let mut buckets = Buckets::default();
        buckets.bucket(1, 0, 2).full = 100;
        buckets.bucket(2, 0, 2).full = 10;
        buckets.bucket(3, 50, 2);
        let known = |key: u64| buckets.by_key.find(key, |it| it.key == key).is_some();
        assert_eq!([1, 2, 3].map(known), [true, false, true]);
    }

    #[test]
    fn a_route_scope_divides_the_limit_but_leaves_each_worker_one() {
        assert_eq!(share_of(100, RateLimitScope::Worker, 3), 100);
        assert_eq!(share_of(100, RateLimitScope::Route, 3), 33);
        assert_eq!(share_of(2, RateLimitScope::Route, 3), 1);
        assert_eq!(share_of(2, RateLimitScope::Route, 0), 2);
    }
}
