//! Compares the books. A pure function: what it finds depends on what was seen, and on nothing else.

mod order;
mod repeats;

use std::{collections::HashMap, time::Duration};

use crate::{
    facts::Facts,
    journal::{State, index, value},
    moment::Moment,
};

pub(crate) use repeats::Repeats;

/// A broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// Accepted by the broker, and without its effect.
    Lost,
    /// An effect that nobody sent.
    Stowaway,
    /// An effect that is not what was sent.
    Altered,
    /// Acknowledged before its effect was committed, or an acknowledgement of nothing.
    WrongAcknowledgement,
    /// Handled more often than its deliveries and faults explain.
    Repeated,
    /// Messages of one key, sent to one worker in one order, and handled in another.
    Order,
    /// Sessions or messages that stay on the broker.
    Leftover,
    /// A process that did not end as it should.
    Exit,
    /// Not well again in time.
    Recovery,
    /// Less was published than a run needs to show anything.
    Load,
}

/// A broken promise and where it shows.
#[derive(Clone, Debug)]
pub(crate) struct Counterexample {
    pub(crate) promise: Promise,
    /// The message, where it is about one.
    pub(crate) id: Option<u64>,
    pub(crate) what: String,
    /// The time that matters, for the timeline.
    pub(crate) at: Option<Moment>,
}

/// What the books say.
#[derive(Clone, Debug)]
pub(crate) struct Judgement {
    pub(crate) counterexamples: Vec<Counterexample>,
    pub(crate) repeats: Repeats,
    pub(crate) order_checked: usize,
}

impl Counterexample {
    pub(super) fn of(promise: Promise, id: u64, what: impl Into<String>) -> Self {
        Self { promise, id: Some(id), what: what.into(), at: None }
    }

    fn general(promise: Promise, at: Option<Moment>, what: String) -> Self {
        Self { promise, id: None, what, at }
    }
}

/// Compares; recovery may take `slack` times as long as is promised.
pub(crate) fn judge(facts: &Facts, slack: f64) -> Judgement {
    let times = facts.times_handled();
    let (repeats, repeated) = repeats::judge(facts, &times);
    let (order_checked, disorder) = order::judge(facts, &times);
    let mut all = lost(facts);
    all.extend(strangers(facts, &times));
    all.extend(wrong_acknowledgements(facts));
    all.extend(repeated);
    all.extend(disorder);
    all.extend(leftovers(facts));
    all.extend(exits(facts));
    all.extend(recoveries(facts, slack));
    Judgement { counterexamples: all, repeats, order_checked }
}

fn lost(facts: &Facts) -> Vec<Counterexample> {
    let entries = facts.entries.iter().enumerate();
    let accepted = entries.filter(|(_, entry)| matches!(entry.state, State::Accepted(_)));
    let lost = accepted.map(|(id, _)| id as u64).filter(|id| !facts.effects.contains_key(id));
    // What no worker was ever sent, no worker can have lost.
    let ours = lost.filter(|id| !facts.broker_loses || !facts.deliveries(*id).is_empty());
    ours.map(|id| {
        let what = match facts.deliveries(id) {
            [] => "accepted by the broker, and never sent to a worker",
            sent if sent.iter().any(|it| it.acknowledged.is_some()) => {
                "acknowledged by a worker, and without a row"
            }
            _ => "sent to a worker, and neither a row nor acknowledged",
        };
        Counterexample::of(Promise::Lost, id, what)
    })
    .collect()
}

/// Rows that nobody sent, or not so.
fn strangers(facts: &Facts, times: &HashMap<u64, usize>) -> Vec<Counterexample> {
    let unsent = |id: &u64| usize::try_from(*id).is_ok_and(|id| id >= facts.entries.len());
    let mut ids: Vec<u64> = facts.effects.keys().chain(times.keys()).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let stowaways = ids
        .iter()
        .filter(|id| unsent(id))
        .map(|id| Counterexample::of(Promise::Stowaway, *id, "has a row, and was never published"));
    let sent = facts.effects.iter().filter(|(id, _)| !unsent(id));
    let altered = sent.filter(|(id, it)| **it != value(**id)).map(|(id, it)| {
        let what = format!("its row holds {it}, it carried {}", value(*id));
        Counterexample::of(Promise::Altered, *id, what)
    });
    stowaways.chain(altered).collect()
}

fn wrong_acknowledgements(facts: &Facts) -> Vec<Counterexample> {
    let unfounded = facts.checked.unfounded.iter().map(|it| {
        let what = format!(
            "acknowledged at {}, and no row when the database was asked at {}",
            it.acknowledged, it.asked
        );
        Counterexample::of(Promise::WrongAcknowledgement, it.id, what)
    });
    let strays = facts.seen.strays.iter().map(|it| {
        let connection = facts.connection(it.connection);
        let what = format!(
            "worker {} acknowledged packet {} on connection {}, which stands for no message",
            connection.slot, it.packet, it.connection
        );
        Counterexample::general(Promise::WrongAcknowledgement, Some(it.at), what)
    });
    unfounded.chain(strays).chain(impossible(facts)).collect()
}

/// Delivered for the first time and acknowledged while nothing could be committed.
fn impossible(facts: &Facts) -> impl Iterator<Item = Counterexample> + '_ {
    (0..facts.seen.deliveries.len() as u64).filter_map(|id| {
        let first = facts.deliveries(id).first()?;
        let acknowledged = first.acknowledged?;
        facts.without_commits(first.at, acknowledged).then(|| {
            let what = format!("acknowledged at {acknowledged}, while nothing could be committed");
            Counterexample::of(Promise::WrongAcknowledgement, id, what)
        })
    })
}

fn leftovers(facts: &Facts) -> Vec<Counterexample> {
    let left = &facts.leftovers;
    let sessions = (left.sessions != left.slots).then(|| {
        let what = format!("{} sessions on the broker for {} slots", left.sessions, left.slots);
        Counterexample::general(Promise::Leftover, None, what)
    });
    let queued = left.queued.iter().map(|(client_id, messages)| {
        let what = format!("{messages} messages are still queued for {client_id}");
        Counterexample::general(Promise::Leftover, None, what)
    });
    sessions.into_iter().chain(queued).collect()
}

fn exits(facts: &Facts) -> impl Iterator<Item = Counterexample> + '_ {
    facts.bad_exits.iter().map(|exit| {
        let what = format!("worker {} {}", exit.slot, exit.what);
        Counterexample::general(Promise::Exit, Some(exit.at), what)
    })
}

/// Only faults that no other one disturbed: what two at once take is not promised.
fn recoveries(facts: &Facts, slack: f64) -> Vec<Counterexample> {
    let mut late = Vec::new();
    for (place, incident) in facts.incidents.iter().enumerate() {
        let Some(healed) = incident.healed.filter(|_| !incident.recovered.is_empty()) else {
            continue;
        };
        let limit = incident.kind.habits().recovers.mul_f64(slack);
        let until = healed.plus(limit.max(incident.took().unwrap_or(Duration::ZERO)));
        let disturbed = facts
            .incidents
            .iter()
            .enumerate()
            .any(|(other, it)| other != place && it.overlaps(incident.began, until));
        if !disturbed && incident.took().is_none_or(|took| took > limit) {
            let what = format!("{incident}; promised are {} s", limit.as_secs());
            late.push(Counterexample::general(Promise::Recovery, Some(healed), what));
        }
    }
    late
}

/// Fewer messages accepted than `least` a second.
pub(crate) fn too_little(facts: &Facts, loaded: Duration, least: f64) -> Option<Counterexample> {
    let accepted = facts.entries.iter().filter(|it| matches!(it.state, State::Accepted(_))).count();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let per_second = accepted as f64 / loaded.as_secs_f64().max(0.001);
    (per_second < least).then(|| {
        let what =
            format!("{per_second:.0} messages a second were accepted, {least:.0} are needed");
        Counterexample::general(Promise::Load, None, what)
    })
}

impl Promise {
    /// In the words of the summary.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Stowaway => "stowaways",
            Self::Altered => "altered",
            Self::WrongAcknowledgement => "wrong acknowledgements",
            Self::Repeated => "repeated without reason",
            Self::Order => "out of order",
            Self::Leftover => "left on the broker",
            Self::Exit => "bad exits",
            Self::Recovery => "late recoveries",
            Self::Load => "too small a load",
        }
    }

    /// All of them, in the order of the summary.
    pub(crate) const ALL: [Self; 10] = [
        Self::Lost,
        Self::Stowaway,
        Self::Altered,
        Self::WrongAcknowledgement,
        Self::Repeated,
        Self::Order,
        Self::Leftover,
        Self::Exit,
        Self::Recovery,
        Self::Load,
    ];
}

impl Judgement {
    /// How often a promise was broken.
    pub(crate) fn broken(&self, promise: Promise) -> usize {
        self.counterexamples.iter().filter(|it| it.promise == promise).count()
    }
}

/// The last moment that a message was seen.
pub(crate) fn last_seen(facts: &Facts, id: u64) -> Option<Moment> {
    let sent = facts.entries.get(index(id)).map(|entry| entry.sent);
    let deliveries = facts.deliveries(id).iter().map(|it| it.acknowledged.unwrap_or(it.at));
    sent.into_iter().chain(deliveries).max()
}

#[cfg(test)]
mod tests;
