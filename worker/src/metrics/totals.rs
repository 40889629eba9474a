//! What workers did with messages, summed over lanes.

use std::{collections::BTreeMap, fmt, ops::AddAssign, sync::Arc};

use super::histogram::Distribution;
use crate::outcome::Reason;

/// Messages by the class of their failure.
pub type Classes = BTreeMap<Reason, u64>;

/// One route's messages, by how they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTotals {
    /// Handed to a lane.
    pub received: u64,
    /// Attempts beyond the first, of any handler.
    pub retries: u64,
    /// Every handler did its work.
    pub done: u64,
    /// A rule says that nothing is to be done.
    pub dropped: u64,
    /// Not welcome.
    pub rejected: u64,
    /// In the dead letter topic.
    pub dead_lettered: u64,
    /// Given up without a dead letter topic.
    pub discarded: u64,
    /// What was dead-lettered, by class.
    pub dead_letters: Classes,
    /// What was discarded, by class.
    pub discards: Classes,
    /// How long messages took, from the socket to the outcome after which the acknowledgement goes out.
    pub delivery: Distribution,
    /// How long attempts took, by handler.
    pub handlers: BTreeMap<Arc<str>, Distribution>,
}

/// What one worker, or several together, did with messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// By route name.
    pub routes: BTreeMap<Arc<str>, RouteTotals>,
    /// Copies acknowledged without work, because another copy of the message is handled.
    pub overlap: u64,
    /// Acknowledged: no route matches.
    pub unmatched: u64,
    /// QoS 0 messages dropped because too much was waiting.
    pub overflow: u64,
    /// QoS 1 and 2 messages taken and not finished (yet); after a stop: left to the broker.
    pub unfinished: u64,
    /// QoS 1 and 2 messages given back unstarted after a lost connection: the broker sent them again.
    pub returned: u64,
}

impl RouteTotals {
    /// Messages whose outcome is final.
    pub fn handled(&self) -> u64 {
        self.done + self.dropped + self.rejected + self.dead_lettered + self.discarded
    }
}

impl Totals {
    /// All routes together.
    pub fn all_routes(&self) -> RouteTotals {
        let mut sum = RouteTotals::default();
        for route in self.routes.values() {
            sum += route;
        }
        sum
    }

    /// Messages whose outcome is final, over all routes.
    pub fn handled(&self) -> u64 {
        self.routes.values().map(RouteTotals::handled).sum()
    }
}

impl AddAssign<&Self> for RouteTotals {
    fn add_assign(&mut self, other: &Self) {
        self.received += other.received;
        self.retries += other.retries;
        self.done += other.done;
        self.dropped += other.dropped;
        self.rejected += other.rejected;
        self.dead_lettered += other.dead_lettered;
        self.discarded += other.discarded;
        add(&mut self.dead_letters, &other.dead_letters);
        add(&mut self.discards, &other.discards);
        self.delivery += &other.delivery;
        for (name, distribution) in &other.handlers {
            *self.handlers.entry(Arc::clone(name)).or_default() += distribution;
        }
    }
}

fn add(sum: &mut Classes, other: &Classes) {
    for (class, count) in other {
        *sum.entry(class).or_default() += count;
    }
}

impl AddAssign<&Self> for Totals {
    fn add_assign(&mut self, other: &Self) {
        for (name, route) in &other.routes {
            *self.routes.entry(Arc::clone(name)).or_default() += route;
        }
        self.overlap += other.overlap;
        self.unmatched += other.unmatched;
        self.overflow += other.overflow;
        self.unfinished += other.unfinished;
        self.returned += other.returned;
    }
}

/// One line for people: `1204 done, 3 rejected, 1 dead-lettered; 2 left to the broker`.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all_routes();
        write!(f, "{} done", all.done)?;
        let rest = [
            (all.dropped, "dropped"),
            (all.rejected, "rejected"),
            (all.dead_lettered, "dead-lettered"),
            (all.discarded, "discarded"),
            (self.overlap, "overlap"),
            (self.unmatched, "unmatched"),
            (self.overflow, "dropped at QoS 0 for want of room"),
        ];
        for (count, word) in rest.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {word}")?;
        }
        if self.unfinished > 0 {
            write!(f, "; {} left to the broker", self.unfinished)?;
        }
        Ok(())
    }
}
