//! Which filters a session should hold, and what the broker has said about each.
//!
//! Pure: it turns a wish, acknowledgements and barriers into requests and states. Packet identifiers
//! and bytes are the session's business.

mod difference;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

pub(crate) use self::difference::{Difference, sorted};
use crate::{FilterState, FilterStates, QoS, Subscription, reason};

/// What to ask the broker for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Subscribe(Subscription),
    Unsubscribe(Arc<str>),
}

/// What the broker offers, as CONNACK said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offers {
    pub(crate) shared: bool,
    pub(crate) wildcards: bool,
    pub(crate) identifiers: bool,
}

/// Requests that wait for their answers at most: far fewer than there are packet identifiers, and a broker need not hold
/// answers without a bound.
const MOST_ASKED: usize = 1000;
/// While answers come in, states are told so often at most, and more seldom where there are many: each telling goes
/// through all of them.
const TELL_EACH: Duration = Duration::from_millis(100);
const TELL_EACH_FILTER: Duration = Duration::from_micros(10);

/// The filters of one session.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    entries: BTreeMap<Arc<str>, Entry>,
    /// `None` while there is no connection.
    offers: Option<Offers>,
    queue: VecDeque<Request>,
    asked: HashMap<u16, Request>,
    /// Entries whose mark is [`Mark::Answered`].
    answered: usize,
    changed: Change,
    told: Option<Instant>,
    /// Counts changes that concern which filters are settled.
    settlements: u64,
    /// How often it was said that something else is wanted.
    number: u64,
}

/// What has changed since states were last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    #[default]
    None,
    /// Answers, which may wait for others.
    Answers,
    /// Something that is told at once.
    Urgent,
}

#[derive(Debug)]
struct Entry {
    /// `None`: the filter is leaving.
    wanted: Option<Subscription>,
    state: FilterState,
    mark: Mark,
}

/// How far the barrier has come that settles this filter, or lets it go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// Not answered yet, or settled.
    None,
    /// Answered: the next barrier counts.
    Answered,
    /// Barrier number so and so was sent after the answer.
    Covered(u64),
}

impl Subscriptions {
    /// What changes about the filters to hold. New ones are asked for before gone ones are left, so that no message falls between two
    /// filters that overlap.
    pub(crate) fn change(&mut self, Difference { join, leave }: Difference) {
        if join.is_empty() && leave.is_empty() && self.number > 0 {
            return;
        }
        self.number += 1;
        for wish in join {
            self.join(wish);
        }
        for filter in leave {
            self.leave(&filter);
        }
        self.settle_anew();
    }

    /// Which filters are settled is no longer what it was.
    fn settle_anew(&mut self) {
        self.changed = Change::Urgent;
        self.settlements += 1;
    }

    /// Counts such changes: while it stands still, the same filters are settled.
    pub(crate) fn settlements(&self) -> u64 {
        self.settlements
    }

    fn answers_changed(&mut self) {
        self.changed = self.changed.max(Change::Answers);
    }

    /// Filters that the session may hold, though this run never asked for them: those that it does not want either are left.
    pub(crate) fn leave_behind(&mut self, filters: Vec<String>) {
        for filter in filters {
            if self.entries.contains_key(filter.as_str()) {
                continue;
            }
            let filter: Arc<str> = filter.into();
            let entry = Entry { wanted: None, state: FilterState::Leaving, mark: Mark::None };
            self.entries.insert(Arc::clone(&filter), entry);
            if self.offers.is_some() {
                self.queue.push_back(Request::Unsubscribe(filter));
            }
        }
        self.settle_anew();
    }

    fn join(&mut self, wish: Subscription) {
        let held = self.entries.get(&wish.filter);
        if held.is_some_and(|entry| entry.wanted.as_ref() == Some(&wish)) {
            return;
        }
        let entry =
            Entry { wanted: Some(wish.clone()), state: FilterState::Pending, mark: Mark::None };
        let before = self.entries.insert(Arc::clone(&wish.filter), entry);
        self.answered -= usize::from(before.is_some_and(|it| it.mark == Mark::Answered));
        self.ask(wish);
    }

    fn leave(&mut self, name: &str) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        if entry.wanted.is_none() {
            return;
        }
        if matches!(entry.state, FilterState::Refused { .. }) {
            self.entries.remove(name);
            return;
        }
        entry.wanted = None;
        entry.state = FilterState::Leaving;
        entry.set_mark(Mark::None, &mut self.answered);
        if self.offers.is_some() {
            self.queue.push_back(Request::Unsubscribe(name.into()));
        }
    }

    /// Queues a SUBSCRIBE, or refuses it here where the broker has said that it cannot.
    fn ask(&mut self, wish: Subscription) {
        let Some(offers) = self.offers else { return };
        match missing(&wish.filter, offers) {
            Some(code) => self.refuse(&wish.filter, code),
            None => self.queue.push_back(Request::Subscribe(wish)),
        }
    }

    fn refuse(&mut self, filter: &str, code: u8) {
        if let Some(entry) = self.entries.get_mut(filter) {
            entry.state = FilterState::Refused { code, reason: reason::words(code) };
            self.answers_changed();
        }
    }

    /// A connection: everything is asked for again. A lost session has forgotten what was leaving.
    pub(crate) fn connected(&mut self, session_present: bool, offers: Offers) {
        self.offers = Some(offers);
        if !session_present {
            self.entries.retain(|_, entry| entry.wanted.is_some());
        }
        let wishes: Vec<Subscription> =
            self.entries.values().filter_map(|entry| entry.wanted.clone()).collect();
        for wish in wishes {
            self.ask(wish);
        }
        let leaving = self.entries.iter().filter(|(_, entry)| entry.wanted.is_none());
        self.queue.extend(leaving.map(|(name, _)| Request::Unsubscribe(name.clone())));
        self.settle_anew();
    }

    /// The connection is gone, and with it every answer.
    pub(crate) fn disconnected(&mut self) {
        self.offers = None;
        self.queue.clear();
        self.asked.clear();
        for entry in self.entries.values_mut() {
            entry.mark = Mark::None;
            if entry.wanted.is_some() {
                entry.state = FilterState::Pending;
            }
        }
        self.answered = 0;
        self.settle_anew();
    }

    /// The filters that are wanted, sorted, and their number.
    pub(crate) fn wanted(&self) -> (u64, Vec<Arc<str>>) {
        let wanted = self.entries.iter().filter(|(_, entry)| entry.wanted.is_some());
        (self.number, wanted.map(|(name, _)| name.clone()).collect())
    }

    /// Another one whenever other filters may be wanted.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether there is something to ask for, and room for its answer.
    pub(crate) fn may_ask(&self) -> bool {
        !self.queue.is_empty() && self.asked.len() < MOST_ASKED
    }

    /// The next thing to ask for, where [`Self::may_ask`]; the caller sends it under `id`.
    pub(crate) fn next_request(&mut self, id: u16) -> Option<Request> {
        let request = self.may_ask().then(|| self.queue.pop_front())??;
        if self.queue.is_empty() {
            // There may have been tens of thousands.
            self.queue.shrink_to_fit();
        }
        self.asked.insert(id, request.clone());
        Some(request)
    }

    /// A request that cannot be written (a filter longer than MQTT allows).
    pub(crate) fn unwritable(&mut self, id: u16) {
        if let Some(Request::Subscribe(wish)) = self.asked.remove(&id) {
            self.refuse(&wish.filter, 0x8F);
        }
    }

    /// SUBACK. `false`: it answers nothing that was asked.
    pub(crate) fn suback(&mut self, id: u16, code: u8) -> bool {
        let Some(Request::Subscribe(wish)) = self.asked.remove(&id) else { return false };
        let entry = self.entries.get_mut(&wish.filter);
        // It may have been left, or asked for anew, since.
        let Some(entry) = entry.filter(|entry| entry.wanted.as_ref() == Some(&wish)) else {
            return true;
        };
        match granted(code) {
            Some(qos) => {
                entry.state = FilterState::Granted { qos, settled: false };
                entry.set_mark(Mark::Answered, &mut self.answered);
                self.answers_changed();
            }
            None => self.refuse(&wish.filter, code),
        }
        true
    }

    /// UNSUBACK. A refusal changes nothing: what still comes is acknowledged as unmatched.
    pub(crate) fn unsuback(&mut self, id: u16) -> bool {
        let Some(Request::Unsubscribe(filter)) = self.asked.remove(&id) else { return false };
        let entry = self.entries.get_mut(&filter);
        if let Some(entry) = entry.filter(|entry| entry.wanted.is_none()) {
            entry.set_mark(Mark::Answered, &mut self.answered);
        }
        true
    }

    /// Whether a request with this packet identifier waits for its answer.
    pub(crate) fn has_asked(&self, id: u16) -> bool {
        self.asked.contains_key(&id)
    }

    /// Whether every request is answered.
    pub(crate) fn all_answered(&self) -> bool {
        self.queue.is_empty() && self.asked.is_empty()
    }

    /// Whether there is anything to ask for, or to settle.
    pub(crate) fn wants_barrier(&self) -> bool {
        !self.all_answered() || self.answered > 0
    }

    /// Barrier `number` is sent: it counts for all that is answered now.
    pub(crate) fn cover(&mut self, number: u64) {
        for entry in self.entries.values_mut() {
            if entry.mark == Mark::Answered {
                entry.mark = Mark::Covered(number);
            }
        }
        self.answered = 0;
    }

    /// Barrier `number` came back. `proven` is false where only patience ran out: then nothing may be
    /// called settled, but what is leaving goes.
    pub(crate) fn passed(&mut self, number: u64, proven: bool) {
        self.entries.retain(|_, entry| {
            let covered = matches!(entry.mark, Mark::Covered(by) if by <= number);
            !(covered && entry.wanted.is_none())
        });
        for entry in self.entries.values_mut() {
            if matches!(entry.mark, Mark::Covered(by) if by <= number) {
                entry.mark = Mark::None;
                if let FilterState::Granted { settled, .. } = &mut entry.state {
                    *settled = proven;
                }
            }
        }
        self.settle_anew();
    }

    /// The states, if they changed since they were last told, and it is time to tell.
    pub(crate) fn take_changes(&mut self, now: Instant) -> Option<FilterStates> {
        let due = self.telling().is_some_and(|due| due <= now);
        if self.changed == Change::None || !(self.is_urgent() || due) {
            return None;
        }
        (self.changed, self.told) = (Change::None, Some(now));
        let entries = self.entries.iter();
        let states = entries.map(|(name, entry)| (Arc::clone(name), entry.state.clone()));
        Some(Arc::new(states.collect()))
    }

    /// When changes are told that may wait.
    pub(crate) fn telling(&self) -> Option<Instant> {
        if self.changed == Change::None {
            return None;
        }
        let filters = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let pause = TELL_EACH + TELL_EACH_FILTER.saturating_mul(filters);
        self.told.map(|told| told + pause)
    }

    /// Nothing more is to come, or somebody waits for it.
    fn is_urgent(&self) -> bool {
        self.changed == Change::Urgent || self.told.is_none() || self.all_answered()
    }
}

impl Entry {
    /// Keeps the count of those that are answered.
    fn set_mark(&mut self, mark: Mark, answered: &mut usize) {
        *answered -= usize::from(self.mark == Mark::Answered);
        *answered += usize::from(mark == Mark::Answered);
        self.mark = mark;
    }
}

fn granted(code: u8) -> Option<QoS> {
    match code {
        0 => Some(QoS::AtMostOnce),
        1 => Some(QoS::AtLeastOnce),
        2 => Some(QoS::ExactlyOnce),
        _ => None,
    }
}

/// The reason code of what the broker lacks for `filter`.
fn missing(filter: &str, offers: Offers) -> Option<u8> {
    if filter.starts_with("$share/") && !offers.shared {
        return Some(reason::SHARED_NOT_SUPPORTED);
    }
    (filter.contains(['+', '#']) && !offers.wildcards).then_some(reason::WILDCARDS_NOT_SUPPORTED)
}

#[cfg(test)]
mod tests;
