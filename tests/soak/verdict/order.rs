//! Order: messages of one key that one connection delivered are handled in that order.
//!
//! Only messages that were delivered once and handled once are looked at: of others nobody can tell which attempt
//! belongs to which delivery.

use std::collections::HashMap;

use super::{Counterexample, Promise};
use crate::{facts::Facts, journal::index};

/// How many pairs were compared, and those that were the wrong way round.
pub(super) fn judge(facts: &Facts, times: &HashMap<u64, usize>) -> (usize, Vec<Counterexample>) {
    let place: HashMap<u64, usize> =
        facts.attempts.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    let mut checked = 0;
    let mut found = Vec::new();
    for ids in lines(facts, times).into_values() {
        for pair in ids.windows(2) {
            checked += 1;
            if place[&pair[0]] > place[&pair[1]] {
                let what = format!("handled after {}, and delivered before it", pair[1]);
                found.push(Counterexample::of(Promise::Order, pair[0], what));
            }
        }
    }
    (checked, found)
}

/// By connection and key: the messages in the order of their delivery.
fn lines(facts: &Facts, times: &HashMap<u64, usize>) -> HashMap<(usize, u16), Vec<u64>> {
    let mut single: Vec<(usize, u64)> = Vec::new();
    for id in 0..facts.seen.deliveries.len() as u64 {
        if let ([delivery], Some(1)) = (facts.deliveries(id), times.get(&id)) {
            single.push((delivery.connection, id));
        }
    }
    single.sort_by_key(|(_, id)| facts.deliveries(*id)[0].number);
    let mut lines: HashMap<(usize, u16), Vec<u64>> = HashMap::new();
    for (connection, id) in single {
        let Some(entry) = facts.entries.get(index(id)) else { continue };
        lines.entry((connection, entry.key)).or_default().push(id);
    }
    lines
}
