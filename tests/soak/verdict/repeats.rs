//! Messages that were handled more than once, and what explains it.
//!
//! A delivery explains one attempt, unless it was left unacknowledged by a connection that ended in good order: then the
//! worker had finished what it had begun, and this message was not. A fault of the database while the message was
//! under way explains more: a commit whose answer is lost is made again. So does a worker that stood still for as long as
//! an attempt may take: what it had committed is late when it goes on, and is tried again.

use std::{collections::HashMap, time::Duration};

use super::{Counterexample, Promise};
use crate::{facts::Facts, moment::Moment, schedule::Kind, witness::Delivery};

/// How long a message may be at work behind what was seen of it: a drain, and some time to write.
const BEHIND: Duration = Duration::from_secs(35);

/// The handler timeout of a spec that names none, less what of it had passed before the worker stood still.
const TIMED_OUT: Duration = Duration::from_secs(29);

/// Repeats, all in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repeats {
    /// Attempts beyond the first of each message.
    pub(crate) count: usize,
    /// Connections that broke, and worker processes in touch with a database that failed: each may repeat a window.
    pub(crate) breaks: usize,
    /// `breaks` times the receive maximum.
    pub(crate) allowed: usize,
}

/// Judges each message, and all of them together.
pub(super) fn judge(facts: &Facts, times: &HashMap<u64, usize>) -> (Repeats, Vec<Counterexample>) {
    let repeats = count(facts, times);
    let mut ids: Vec<(u64, usize)> =
        times.iter().filter(|(_, times)| **times > 1).map(|(id, times)| (*id, *times)).collect();
    ids.sort_unstable();
    let mut found: Vec<Counterexample> =
        ids.into_iter().filter_map(|(id, times)| unexplained(facts, id, times)).collect();
    if facts.broker_keeps_window && repeats.count > repeats.allowed {
        let what = format!(
            "{} repeats, more than {} breaks of {} messages allow",
            repeats.count, repeats.breaks, facts.receive_maximum
        );
        found.push(Counterexample::general(Promise::Repeated, None, what));
    }
    (repeats, found)
}

fn count(facts: &Facts, times: &HashMap<u64, usize>) -> Repeats {
    let connections = &facts.seen.connections;
    // The last connection of each slot is closed by the end of the run.
    let broken = connections.iter().filter(|it| it.subscribed.is_some() && it.closed.is_none());
    let outages = facts.incidents.iter().filter(|it| it.kind.loses_answers()).count();
    let breaks = broken.count() + outages * facts.workers as usize;
    Repeats {
        count: times.values().map(|times| times - 1).sum(),
        breaks,
        allowed: breaks * usize::from(facts.receive_maximum),
    }
}

fn unexplained(facts: &Facts, id: u64, times: usize) -> Option<Counterexample> {
    let deliveries = facts.deliveries(id);
    let first = deliveries.first()?.at;
    let last = deliveries.iter().map(|it| it.acknowledged.unwrap_or(it.at)).max()?;
    if facts.answers_lost(first, last) {
        return None;
    }
    let explained = deliveries.iter().filter(|delivery| explains(facts, delivery)).count();
    let explained = explained + deliveries.iter().filter(|it| stood_still(facts, it)).count();
    (times > explained.max(1)).then(|| {
        let what =
            format!("handled {times} times; {} deliveries explain {explained}", deliveries.len());
        Counterexample::of(Promise::Repeated, id, what)
    })
}

fn explains(facts: &Facts, delivery: &Delivery) -> bool {
    let Some(closed) = facts.connection(delivery.connection).closed else { return true };
    delivery.acknowledged.is_some() || disturbed(facts, delivery.at, closed)
}

/// Whether its worker did, for an attempt's time, while it had this message.
fn stood_still(facts: &Facts, delivery: &Delivery) -> bool {
    let connection = facts.connection(delivery.connection);
    let until = delivery.acknowledged.or(connection.closed);
    let freezes = facts.incidents.iter().filter(|it| it.kind == Kind::Freeze);
    freezes.into_iter().any(|it| {
        let Some(healed) = it.healed else { return false };
        it.slot == Some(connection.slot)
            && healed.since(it.began) >= TIMED_OUT
            && it.began >= delivery.at
            && until.is_none_or(|until| it.began <= until)
    })
}

/// Whether a stop could not finish what it had begun: some other fault was under way.
fn disturbed(facts: &Facts, from: Moment, closed: Moment) -> bool {
    use Kind::{Rollout, Scale, Terminate};
    let others =
        facts.incidents.iter().filter(|it| !matches!(it.kind, Terminate | Scale | Rollout));
    others.into_iter().any(|it| it.overlaps(from, closed.plus(BEHIND)))
}
