//! What is subscribed to: the distinct filters, their identifiers, and which overlap.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    patterns::Parsed,
    trie::{FilterTrie, Wanted},
};
use crate::{table::Filter, v1alpha1::MqttRouteSpec};

/// MQTT 5, 3.8.2.1.2.
const MAX_IDENTIFIER: u32 = 268_435_455;

pub(super) struct Filters {
    list: Vec<Filter>,
    by_text: HashMap<String, usize>,
}

impl Filters {
    pub(super) fn index(&self, filter: &str) -> usize {
        self.by_text.get(filter).copied().unwrap_or_default()
    }

    pub(super) fn list(&self) -> &[Filter] {
        &self.list
    }

    pub(super) fn into_list(self) -> Vec<Filter> {
        self.list
    }
}

pub(super) fn of(spec: &MqttRouteSpec, patterns: &[Parsed]) -> Filters {
    let mut highest: BTreeMap<String, u8> = BTreeMap::new();
    for (route, parsed) in spec.routes.iter().zip(patterns) {
        let Some(pattern) = parsed.pattern() else { continue };
        let qos = route.qos.and_then(|qos| u8::try_from(qos).ok()).unwrap_or(1);
        let highest = highest.entry(pattern.filter()).or_default();
        *highest = qos.max(*highest);
    }
    let overlapping = overlapping(&highest);
    let mut taken = HashSet::new();
    let list: Vec<Filter> = highest
        .into_iter()
        .zip(overlapping)
        .map(|((filter, qos), overlaps)| {
            let identifier = free_identifier(&filter, &mut taken);
            Filter { filter, identifier, qos, overlaps }
        })
        .collect();
    let by_text = list.iter().enumerate().map(|(i, f)| (f.filter.clone(), i)).collect();
    Filters { list, by_text }
}

fn overlapping(filters: &BTreeMap<String, u8>) -> Vec<bool> {
    let trie = FilterTrie::new(filters.keys().map(String::as_str));
    let shares = |(index, filter): (usize, &String)| {
        let mut shares = false;
        trie.find(&Wanted::of_filter(filter), &mut |other| {
            shares |= other != index;
            shares
        });
        shares
    };
    filters.keys().enumerate().map(shares).collect()
}

/// The filter's own identifier, or the next that no earlier filter of the table has.
fn free_identifier(filter: &str, taken: &mut HashSet<u32>) -> u32 {
    let mut identifier = own_identifier(filter);
    while !taken.insert(identifier) {
        identifier = identifier % MAX_IDENTIFIER + 1;
    }
    identifier
}

/// FNV-1a, 64 bits, folded into 1 to 268,435,455. Never changes: a durable session carries it on.
fn own_identifier(filter: &str) -> u32 {
    let hash = filter.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let folded = (hash ^ (hash >> 28) ^ (hash >> 56)) & u64::from(MAX_IDENTIFIER);
    u32::try_from(folded).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_depends_on_the_filter_alone_and_is_pinned() {
        assert_eq!(own_identifier("devices/+/status"), PINNED);
        let mut taken = HashSet::new();
        assert_eq!(free_identifier("devices/+/status", &mut taken), PINNED);
        assert_eq!(free_identifier("devices/+/status", &mut taken), PINNED + 1);
    }

    #[test]
    fn a_collision_at_the_largest_identifier_goes_on_from_one() {
        let mut taken = HashSet::from([own_identifier("x")]);
        taken.extend(own_identifier("x")..=MAX_IDENTIFIER.min(own_identifier("x") + 10));
        assert_eq!(free_identifier("x", &mut taken), own_identifier("x") + 11);
        assert_eq!(MAX_IDENTIFIER % MAX_IDENTIFIER + 1, 1);
    }

    // Computed by another implementation of FNV-1a.
    const PINNED: u32 = 43_720_029;
}
