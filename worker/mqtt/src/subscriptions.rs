//! Which filters a session should hold, and what the broker has said about each.
//!
//! Pure: it turns a wish, acknowledgements and barriers into requests and states. Packet identifiers
//! and bytes are the session's business.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::{FilterState, QoS, Subscription, reason};

/// What to ask the broker for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Subscribe(Subscription),
    Unsubscribe(String),
}

/// What the broker offers, as CONNACK said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offers {
    pub(crate) shared: bool,
    pub(crate) wildcards: bool,
    pub(crate) identifiers: bool,
}

/// The filters of one session.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    entries: BTreeMap<String, Entry>,
    /// `None` while there is no connection.
    offers: Option<Offers>,
    queue: VecDeque<Request>,
    asked: HashMap<u16, Request>,
    changed: bool,
    /// How often it was said what is wanted.
    number: u64,
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
    /// The filters to hold from now on. New ones are asked for before gone ones are left, so that no
    /// message falls between two filters that overlap.
    pub(crate) fn want(&mut self, wanted: Vec<Subscription>) {
        self.number += 1;
        let names: Vec<String> = wanted.iter().map(|wish| wish.filter.clone()).collect();
        for wish in wanted {
            self.join(wish);
        }
        let gone: Vec<String> = self
            .entries
            .iter()
            .filter(|(name, entry)| entry.wanted.is_some() && !names.contains(name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.leave(&name);
        }
        self.changed = true;
    }

    /// Filters that the session may hold, though this run never asked for them: those that it does not want either are left.
    pub(crate) fn leave_behind(&mut self, filters: Vec<String>) {
        for filter in filters {
            if self.entries.contains_key(&filter) {
                continue;
            }
            let entry = Entry { wanted: None, state: FilterState::Leaving, mark: Mark::None };
            self.entries.insert(filter.clone(), entry);
            if self.offers.is_some() {
                self.queue.push_back(Request::Unsubscribe(filter));
            }
        }
        self.changed = true;
    }

    fn join(&mut self, wish: Subscription) {
        let held = self.entries.get(&wish.filter);
        if held.is_some_and(|entry| entry.wanted.as_ref() == Some(&wish)) {
            return;
        }
        let entry =
            Entry { wanted: Some(wish.clone()), state: FilterState::Pending, mark: Mark::None };
        self.entries.insert(wish.filter.clone(), entry);
        self.ask(wish);
    }

    fn leave(&mut self, name: &str) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        if matches!(entry.state, FilterState::Refused { .. }) {
            self.entries.remove(name);
            return;
        }
        entry.wanted = None;
        entry.state = FilterState::Leaving;
        entry.mark = Mark::None;
        if self.offers.is_some() {
            self.queue.push_back(Request::Unsubscribe(name.to_owned()));
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
            self.changed = true;
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
        self.changed = true;
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
        self.changed = true;
    }

    /// The filters that are wanted, sorted, and their number.
    pub(crate) fn wanted(&self) -> (u64, Vec<String>) {
        let wanted = self.entries.iter().filter(|(_, entry)| entry.wanted.is_some());
        (self.number, wanted.map(|(name, _)| name.clone()).collect())
    }

    /// Another one whenever other filters may be wanted.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The next thing to ask for; the caller sends it under `id`.
    pub(crate) fn next_request(&mut self, id: impl FnOnce() -> u16) -> Option<(u16, Request)> {
        let request = self.queue.pop_front()?;
        let id = id();
        self.asked.insert(id, request.clone());
        Some((id, request))
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
                entry.mark = Mark::Answered;
                self.changed = true;
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
            entry.mark = Mark::Answered;
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
        !self.all_answered() || self.entries.values().any(|entry| entry.mark == Mark::Answered)
    }

    /// Barrier `number` is sent: it counts for all that is answered now.
    pub(crate) fn cover(&mut self, number: u64) {
        for entry in self.entries.values_mut() {
            if entry.mark == Mark::Answered {
                entry.mark = Mark::Covered(number);
            }
        }
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
        self.changed = true;
    }

    /// The states, if they changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Option<BTreeMap<String, FilterState>> {
        std::mem::take(&mut self.changed).then(|| {
            self.entries.iter().map(|(name, entry)| (name.clone(), entry.state.clone())).collect()
        })
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
